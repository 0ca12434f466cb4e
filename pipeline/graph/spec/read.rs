//! Reads what a graph file says, but for the options of its nodes.
use super::names::{check_name, check_not_checkpoint};
use super::{GraphSpec, PhaseSpec, node, set};
use crate::graph::json;
use crate::graph::json::{Content, Json};
use crate::graph::problem::{Location, Problems};
use nodes::data::suggestion::option_hint;

/// Reads a graph file and applies the arguments of `--set`.
///
/// Returns `None`, after adding problems, if the file has no list of nodes to read.
pub fn read(text: &str, set_arguments: &[String], problems: &mut Problems) -> Option<GraphSpec> {
    let mut file = json::parse(text, problems)?;
    if !file.is_object() {
        problems.add(&file.location, "a graph is an object");
        return None;
    }
    for argument in set_arguments {
        set::apply(&mut file, argument, problems);
    }
    let known_keys = ["$schema", "name", "about", "seed", "nodes", "phases"];
    check_keys(&file, &known_keys, problems);
    for key in ["$schema", "about"] {
        if file.get(key).is_some_and(|value| value.text().is_none()) {
            problems.add(file.location_of(&[key]), format!("`{key}` is text"));
        }
    }
    let name = read_name(&file, "a graph", problems);
    let seed = read_seed(&file, problems);
    let phases = read_phases(&file, problems)?;
    let phased = file.get("phases").is_some();
    if phased {
        check_phase_names(&phases, problems);
    } else {
        for node in &phases[0].nodes {
            check_not_checkpoint("node", &node.name, &node.location, problems);
        }
    }
    Some(GraphSpec {
        name,
        seed,
        phased,
        phases,
        resolved: file.to_value(),
    })
}

fn read_seed(file: &Json, problems: &mut Problems) -> u64 {
    let Some(seed) = file.get("seed") else {
        return 0;
    };
    seed.to_value().as_u64().unwrap_or_else(|| {
        problems.add(
            file.location_of(&["seed"]),
            "`seed` is a whole number from 0",
        );
        0
    })
}

fn read_phases(file: &Json, problems: &mut Problems) -> Option<Vec<PhaseSpec>> {
    match (file.get("nodes"), file.get("phases")) {
        (Some(nodes), None) => {
            let location = file.location_of(&["nodes"]);
            Some(vec![read_nodes("main", location, nodes, problems)])
        }
        (None, Some(phases)) => match &phases.content {
            Content::Array(phases) if !phases.is_empty() => {
                Some(phases.iter().map(|p| read_phase(p, problems)).collect())
            }
            _ => {
                problems.add(
                    file.location_of(&["phases"]),
                    "`phases` is a list with at least one phase",
                );
                None
            }
        },
        _ => {
            problems.add(&file.location, "a graph has either `nodes` or `phases`");
            None
        }
    }
}

/// Reads an item of `phases`.
fn read_phase(json: &Json, problems: &mut Problems) -> PhaseSpec {
    if !json.is_object() {
        problems.add(
            &json.location,
            "a phase is an object with `name` and `nodes`",
        );
        return PhaseSpec {
            name: String::new(),
            location: json.location.clone(),
            nodes: vec![],
        };
    }
    check_keys(json, &["name", "nodes"], problems);
    let name = read_name(json, "a phase", problems);
    let location = &json.get("name").unwrap_or(json).location;
    match json.get("nodes") {
        Some(nodes) => read_nodes(&name, location, nodes, problems),
        None => {
            problems.add(&json.location, "a phase needs `nodes`");
            PhaseSpec {
                name,
                location: location.clone(),
                nodes: vec![],
            }
        }
    }
}

/// Reads the nodes of a phase with this name.
fn read_nodes(name: &str, location: &Location, nodes: &Json, problems: &mut Problems) -> PhaseSpec {
    if nodes.entries().is_empty() {
        problems.add(
            &nodes.location,
            "`nodes` is an object with at least one node",
        );
    }
    let nodes = nodes.entries().iter();
    PhaseSpec {
        name: name.into(),
        location: location.clone(),
        nodes: nodes.map(|entry| node::read(entry, problems)).collect(),
    }
}

/// Reads the name of a graph or phase; empty if it is no text.
fn read_name(json: &Json, what: &str, problems: &mut Problems) -> String {
    let Some(value) = json.get("name") else {
        problems.add(&json.location, format!("{what} needs a `name`"));
        return String::new();
    };
    let name = value.text().unwrap_or_default();
    check_name(name, &value.location, problems);
    name.to_owned()
}

/// Checks that names of phases differ from each other, as they are folders of a run, and from
/// those of nodes, as both begin arguments of `--set`.
fn check_phase_names(phases: &[PhaseSpec], problems: &mut Problems) {
    for (i, phase) in phases.iter().enumerate() {
        let name = &phase.name;
        if !name.is_empty() && phases[..i].iter().any(|earlier| earlier.name == *name) {
            problems.add(&phase.location, format!("two phases are called `{name}`"));
        }
        check_not_checkpoint("phase", name, &phase.location, problems);
        let mut nodes = phases.iter().flat_map(|phase| &phase.nodes);
        if nodes.any(|node| node.name == *name) {
            problems.add(
                &phase.location,
                format!("a phase and a node are both called `{name}`"),
            );
        }
    }
}

/// Checks that an object has no other keys.
fn check_keys(object: &Json, known: &[&str], problems: &mut Problems) {
    for entry in object.entries() {
        let key = entry.key.as_str();
        if !known.contains(&key) {
            let hint = option_hint(key, known.iter().copied());
            problems.add(&entry.key_location, format!("unknown key `{key}`{hint}"));
        }
    }
}
