//! The graph as written: who is there, of which kind, fed by whom, with which options. Every problem of form is found here.
use crate::graph::json;
use crate::graph::json::argument;
use crate::graph::json::{Json, Kind};
use crate::graph::options;
use crate::graph::problem::{At, Problems};
use nodes::KINDS;
use nodes::data::suggestion::suggestion;
use nodes::node::Config;
use serde_json::Value;
use std::sync::Arc;

pub struct Graph {
    pub name: String,
    pub seed: u64,
    /// The file has phases, so their names are folders of a run.
    pub phased: bool,
    pub phases: Vec<Phase>,
    /// The file after `--set`.
    pub resolved: Value,
}

pub struct Phase {
    pub name: String,
    pub at: At,
    pub nodes: Vec<Spec>,
}

pub struct Spec {
    pub name: String,
    /// Where the name stands.
    pub at: At,
    /// As written.
    pub kind: String,
    pub known_kind: Option<&'static nodes::node::Kind>,
    /// All that stands under the name, as if it stood at the name.
    pub json: Json,
    /// None where something is wrong with the options.
    pub config: Option<Arc<dyn Config>>,
    /// The form is wrong, so neighbours do not complain about this node.
    pub broken: bool,
    pub cache: Option<String>,
    pub inputs: Vec<Input>,
}

/// `from`, written `node.port`, feeds the input `port`.
pub struct Input {
    pub port: String,
    pub from: String,
    pub at: At,
}

/// Reads a graph with the values of `--set` put in.
pub fn read(text: &str, sets: &[String], problems: &mut Problems) -> Option<Graph> {
    let mut file = json::parse(text, problems)?;
    if !matches!(file.kind, Kind::Map(_)) {
        problems.add(&file.at, "a graph is an object");
        return None;
    }
    sets.iter()
        .for_each(|argument| set(&mut file, argument, problems));
    unknown_keys(
        &file,
        &["$schema", "name", "about", "seed", "nodes", "phases"],
        problems,
    );
    for key in ["$schema", "about"] {
        if file.get(key).is_some_and(|v| v.text().is_none()) {
            problems.add(&file.place(&[key.into()]), format!("`{key}` is text"));
        }
    }
    let name = name_of(&file, "a graph", problems);
    let seed = file.get("seed").map_or(Some(0), |s| s.value().as_u64());
    if seed.is_none() {
        problems.add(
            &file.place(&["seed".into()]),
            "`seed` is a whole number from 0",
        );
    }
    let phases = match (file.get("nodes"), file.get("phases")) {
        (Some(nodes), None) => vec![phase(
            "main",
            &file.place(&["nodes".into()]),
            nodes,
            problems,
        )],
        (
            None,
            Some(Json {
                kind: Kind::List(list),
                ..
            }),
        ) if !list.is_empty() => list.iter().map(|p| named_phase(p, problems)).collect(),
        (None, Some(_)) => {
            problems.add(
                &file.place(&["phases".into()]),
                "`phases` is a list with at least one phase",
            );
            return None;
        }
        _ => {
            problems.add(&file.at, "a graph has either `nodes` or `phases`");
            return None;
        }
    };
    let phased = file.get("phases").is_some();
    if phased {
        phases_apart(&phases, problems);
    } else if let Some(node) = phases[0].nodes.iter().find(|n| n.name == "checkpoint") {
        problems.add(
            &node.at,
            "no node is called `checkpoint`: a run keeps its checkpoints in a folder of this name",
        );
    }
    Some(Graph {
        name,
        seed: seed.unwrap_or(0),
        phased,
        phases,
        resolved: file.value(),
    })
}

/// Names of phases are folders of a run and first words of `--set`, beside those of nodes.
fn phases_apart(phases: &[Phase], problems: &mut Problems) {
    for (i, phase) in phases.iter().enumerate() {
        let name = &phase.name;
        if phases[..i].iter().any(|p| p.name == *name) && !name.is_empty() {
            problems.add(&phase.at, format!("two phases are called `{name}`"));
        }
        if name == "checkpoint" {
            problems.add(
                &phase.at,
                "no phase is called `checkpoint`: a run keeps its checkpoints in a folder of this name",
            );
        }
        if phases
            .iter()
            .any(|p| p.nodes.iter().any(|n| n.name == *name))
        {
            problems.add(
                &phase.at,
                format!("a phase and a node are both called `{name}`"),
            );
        }
    }
}

fn unknown_keys(json: &Json, known: &[&str], problems: &mut Problems) {
    for (key, at, _) in json
        .entries()
        .iter()
        .filter(|(k, _, _)| !known.contains(&k.as_str()))
    {
        problems.add(
            at,
            format!(
                "unknown key `{key}`{}",
                suggestion(key, known.iter().copied())
            ),
        );
    }
}

fn well_named(name: &str) -> bool {
    let small = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 100
        && name.bytes().next().is_some_and(small)
        && name.bytes().all(|c| small(c) || c == b'_' || c == b'-')
}

const NAMES: &str = "a name is made of a-z, 0-9, `_` and `-`, begins with a letter or a digit, and is at most 100 long";

fn name_of(json: &Json, what: &str, problems: &mut Problems) -> String {
    let name = json.get("name").and_then(Json::text).unwrap_or_default();
    match json.get("name") {
        None => problems.add(&json.at, format!("{what} needs a `name`")),
        Some(value) if !well_named(name) => problems.add(&value.at, NAMES),
        Some(_) => {}
    }
    name.to_owned()
}

fn named_phase(json: &Json, problems: &mut Problems) -> Phase {
    if !matches!(json.kind, Kind::Map(_)) {
        problems.add(&json.at, "a phase is an object with `name` and `nodes`");
        return Phase {
            name: String::new(),
            at: json.at.clone(),
            nodes: vec![],
        };
    }
    unknown_keys(json, &["name", "nodes"], problems);
    let name = name_of(json, "a phase", problems);
    let at = json.get("name").map_or(&json.at, |n| &n.at);
    let Some(nodes) = json.get("nodes") else {
        problems.add(&json.at, "a phase needs `nodes`");
        return Phase {
            name,
            at: at.clone(),
            nodes: vec![],
        };
    };
    phase(&name, at, nodes, problems)
}

fn phase(name: &str, at: &At, nodes: &Json, problems: &mut Problems) -> Phase {
    if nodes.entries().is_empty() {
        problems.add(&nodes.at, "`nodes` is an object with at least one node");
    }
    let nodes = nodes
        .entries()
        .iter()
        .map(|(name, at, json)| node(name, at, json, problems))
        .collect();
    Phase {
        name: name.into(),
        at: at.clone(),
        nodes,
    }
}

fn node(name: &str, at: &At, json: &Json, problems: &mut Problems) -> Spec {
    let before = problems.0.len();
    let json = &Json {
        at: at.clone(),
        kind: json.kind.clone(),
    };
    if !well_named(name) {
        problems.add(at, NAMES);
    }
    let kind = json.get("kind").and_then(Json::text).unwrap_or_default();
    let known_kind = KINDS.iter().find(|k| k.name == kind);
    let config = match known_kind {
        Some(known) => {
            let mut options = json.clone();
            for key in ["kind", "inputs", "cache"] {
                options.remove(&[key.into()]);
            }
            options::parse(name, &options, known, problems)
        }
        None => {
            let (at, says) = match json.get("kind") {
                Some(at) if at.text().is_some() => (
                    &at.at,
                    format!(
                        "no kind `{kind}`{}",
                        suggestion(kind, KINDS.iter().map(|k| k.name))
                    ),
                ),
                Some(other) => (&other.at, "`kind` is text".into()),
                None if !matches!(json.kind, Kind::Map(_)) => (at, "a node is an object".into()),
                None => (at, "needs a `kind`".into()),
            };
            problems.add(at, format!("node `{name}`: {says}"));
            None
        }
    };
    let cache = json.get("cache").filter(|c| !c.is_null());
    let mut wrong = |at: &At, says: String| problems.add(at, format!("node `{name}`: {says}"));
    if let Some(cache) = cache {
        if cache.text().is_none_or(str::is_empty) {
            wrong(&cache.at, "`cache` is a path or null".into());
        } else if known_kind.is_some_and(|kind| !kind.cacheable) {
            wrong(
                &json.place(&["cache".into()]),
                format!("a `{kind}` cannot be cached: its output is no function of its rows"),
            );
        }
    }
    let inputs = json.get("inputs").map_or(vec![], |inputs| {
        if !matches!(inputs.kind, Kind::Map(_)) {
            wrong(
                &inputs.at,
                "`inputs` is an object: the input port, and the `node.port` that feeds it".into(),
            );
        }
        inputs
            .entries()
            .iter()
            .flat_map(|(port, at, from)| feeds(port, at, from, &mut wrong))
            .collect()
    });
    let cache = cache.and_then(Json::text).map(str::to_owned);
    let broken = problems.0.len() > before;
    Spec {
        name: name.into(),
        at: at.clone(),
        kind: kind.into(),
        known_kind,
        json: json.clone(),
        config: config.map(Arc::from),
        broken,
        cache,
        inputs,
    }
}

/// What feeds one port: `node.port`, or a list of them.
fn feeds(port: &str, at: &At, from: &Json, wrong: &mut impl FnMut(&At, String)) -> Vec<Input> {
    let sources = if let Kind::List(l) = &from.kind {
        l.iter().collect()
    } else {
        vec![from]
    };
    if sources.is_empty() {
        wrong(at, format!("input `{port}` is an empty list"));
    }
    let mut inputs = vec![];
    for source in sources {
        match source.text() {
            Some(text) if text.split_once('.').is_some() => {
                inputs.push(Input {
                    port: port.into(),
                    from: text.into(),
                    at: source.at.clone(),
                });
            }
            _ => wrong(&source.at, format!("input `{port}` must name `node.port`")),
        }
    }
    inputs
}

/// `way=value`, way: `seed`, `node.option...` (in a file with phases: in every phase that has the node), or
/// `phase.node.option...`. May add an option, never a node or an edge.
fn set(file: &mut Json, argument_text: &str, problems: &mut Problems) {
    let at = At::Set(argument_text.into());
    let Some((way, text)) = argument_text.split_once('=') else {
        return problems.add(&at, "write it as node.option=value");
    };
    let Some(value) = argument(text, &at, problems) else {
        return;
    };
    let way: Vec<String> = way.split('.').map(str::to_owned).collect();
    match targets(file, &way) {
        Err(says) => problems.add(&at, says),
        Ok(ways) => {
            for way in ways {
                if let Err(step) = file.put(&way, value.clone()) {
                    return problems.add(&at, format!("nothing stands at `{step}`"));
                }
            }
        }
    }
}

/// The paths in the file that a way of `--set` means.
fn targets(file: &Json, way: &[String]) -> Result<Vec<Vec<String>>, String> {
    if way == ["seed"] {
        return Ok(vec![way.to_vec()]);
    }
    let step = |s: &str| s.to_owned();
    let groups: Vec<(Option<&str>, Vec<String>, &Json)> = match file.get("phases") {
        Some(Json {
            kind: Kind::List(phases),
            ..
        }) => {
            let nodes = phases
                .iter()
                .enumerate()
                .filter_map(|(i, p)| Some((i, p.get("name")?.text()?, p.get("nodes")?)));
            nodes
                .map(|(i, name, nodes)| {
                    (
                        Some(name),
                        vec![step("phases"), i.to_string(), step("nodes")],
                        nodes,
                    )
                })
                .collect()
        }
        _ => file
            .get("nodes")
            .map(|nodes| (None, vec![step("nodes")], nodes))
            .into_iter()
            .collect(),
    };
    let phase = groups.iter().any(|(name, ..)| *name == Some(&way[0]));
    let (only, rest) = if phase {
        (Some(way[0].as_str()), &way[1..])
    } else {
        (None, way)
    };
    let groups: Vec<_> = groups
        .into_iter()
        .filter(|(name, ..)| only.is_none() || *name == only)
        .collect();
    let Some((node, option)) = rest.split_first() else {
        return Err("write it as phase.node.option=value".into());
    };
    let known: Vec<&str> = groups
        .iter()
        .flat_map(|(_, _, nodes)| nodes.entries())
        .map(|(name, ..)| name.as_str())
        .collect();
    match option.first().map(String::as_str) {
        _ if !known.contains(&node.as_str()) => Err(format!(
            "there is no node `{node}`{}",
            suggestion(node, known)
        )),
        None => Err(format!("`{node}` is a node; name one of its options")),
        Some(fixed @ ("kind" | "inputs")) => Err(format!(
            "`{fixed}` is no option: nodes and edges stand in the file"
        )),
        Some(_) => {
            let here = groups
                .into_iter()
                .filter(|(_, _, nodes)| nodes.get(node).is_some());
            Ok(here
                .map(|(_, prefix, _)| [&prefix, rest].concat())
                .collect())
        }
    }
}
