//! Applies the arguments of `--set`: `seed=value`, `node.option=value`, which in a file with phases
//! changes every phase that has the node, or `phase.node.option=value`.
//!
//! An argument may add an option, but no node and no edge.
use crate::graph::json::{Content, Json, parse_argument};
use crate::graph::problem::{Location, Problems};
use nodes::data::suggestion::suggestion;

/// Applies one argument to the graph file.
pub(super) fn apply(file: &mut Json, argument: &str, problems: &mut Problems) {
    let location = Location::Set(argument.into());
    let Some((path, text)) = argument.split_once('=') else {
        return problems.add(&location, "write it as node.option=value");
    };
    let Some(value) = parse_argument(text, &location, problems) else {
        return;
    };
    let path: Vec<String> = path.split('.').map(str::to_owned).collect();
    let targets = match target_paths(file, &path) {
        Ok(targets) => targets,
        Err(message) => return problems.add(&location, message),
    };
    for target in targets {
        if let Err(step) = file.set(&target, value.clone()) {
            return problems.add(&location, format!(
                    "nothing stands at `{step}`: items of a list go by their numbers from 0, and none \
                     is added"
                ));
        }
    }
}

/// The nodes of one phase of the file.
struct PhaseNodes<'a> {
    /// The phase's name; `None` in a file without phases.
    phase: Option<&'a str>,
    /// The path in the file.
    path: Vec<String>,
    nodes: &'a Json,
}

/// Returns the paths in the file that the path of an argument names, or a message.
fn target_paths(file: &Json, path: &[String]) -> Result<Vec<Vec<String>>, String> {
    if path == ["seed"] {
        return Ok(vec![path.to_vec()]);
    }
    let mut phases = phases(file);
    let first = Some(path[0].as_str());
    let mut node_path = path;
    if phases.iter().any(|nodes| nodes.phase == first) {
        phases.retain(|nodes| nodes.phase == first);
        node_path = &path[1..];
    }
    let Some((node, option)) = node_path.split_first() else {
        return Err("write it as phase.node.option=value".into());
    };
    let entries = phases.iter().flat_map(|phase| phase.nodes.entries());
    let known: Vec<&str> = entries.map(|entry| entry.key.as_str()).collect();
    if !known.contains(&node.as_str()) {
        let suggestion = suggestion(node, known);
        return Err(format!("there is no node `{node}`{suggestion}"));
    }
    match option.first().map(String::as_str) {
        None => Err(format!("`{node}` is a node; name one of its options")),
        Some(key @ ("kind" | "inputs")) => Err(format!(
            "`{key}` is no option: nodes and edges stand in the file"
        )),
        Some(_) => {
            phases.retain(|phase| phase.nodes.get(node).is_some());
            let paths = phases.iter().map(|phase| [&phase.path, node_path].concat());
            Ok(paths.collect())
        }
    }
}

/// Lists the phases of the file that have a name and nodes.
fn phases(file: &Json) -> Vec<PhaseNodes<'_>> {
    let mut phases = vec![];
    if let Some(Content::Array(items)) = file.get("phases").map(|json| &json.content) {
        for (i, item) in items.iter().enumerate() {
            let name = item.get("name").and_then(Json::text);
            if let (Some(name), Some(nodes)) = (name, item.get("nodes")) {
                phases.push(PhaseNodes {
                    phase: Some(name),
                    path: vec!["phases".into(), i.to_string(), "nodes".into()],
                    nodes,
                });
            }
        }
    } else if let Some(nodes) = file.get("nodes") {
        phases.push(PhaseNodes {
            phase: None,
            path: vec!["nodes".into()],
            nodes,
        });
    }
    phases
}
