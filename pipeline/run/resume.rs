//! Where a run resumes, and whether it is resumed with the graph it was begun with.
use crate::graph::plan::Plan;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The checkpoint to resume from: after `update` of the phase with this index.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct ResumePoint {
    pub phase: usize,
    pub update: u64,
    pub path: PathBuf,
}

/// Returns the newest readable checkpoint of a run, by phase and update in its name.
pub fn newest(run: &Path, plan: &Plan) -> Option<ResumePoint> {
    let mut points = vec![];
    for (phase, update, path) in nodes::kind::optimize::checkpoint::found(&run.join("checkpoint")) {
        if let Some(phase) = plan.phases.iter().position(|p| p.name == phase) {
            points.push(ResumePoint {
                phase,
                update,
                path,
            });
        }
    }
    points.sort();
    points
        .into_iter()
        .rev()
        .find(|p| nodes::data::file::metadata(&p.path).is_ok())
}

/// Names, as `--set` does, where two resolved graphs differ, except for options that a resumed run
/// may change.
pub fn differences(before: &Value, now: &Value) -> Vec<String> {
    let mut paths = vec![];
    for part in [surroundings, bound_options] {
        compare("", &part(before), &part(now), &mut paths);
    }
    paths
}

/// Returns what stands beside the nodes, and the order of phases.
fn surroundings(graph: &Value) -> Value {
    let mut top = graph.as_object().cloned().unwrap_or_default();
    top.retain(|key, _| !["$schema", "about", "nodes"].contains(&key.as_str()));
    if let Some(Value::Array(phases)) = top.get_mut("phases") {
        for phase in phases {
            *phase = phase["name"].take();
        }
    }
    Value::Object(top)
}

/// Returns the nodes, below the names of their phases, without options that may change.
fn bound_options(graph: &Value) -> Value {
    let mut bound = bound_nodes(&graph["nodes"]);
    for phase in graph["phases"].as_array().into_iter().flatten() {
        if let Some(name) = phase["name"].as_str() {
            bound.insert(name.to_owned(), bound_nodes(&phase["nodes"]).into());
        }
    }
    bound.into()
}

fn bound_nodes(nodes: &Value) -> Map<String, Value> {
    const FREE: [&str; 4] = ["cache", "checkpoint_every", "keep", "dev_every"];
    let mut nodes = nodes.as_object().cloned().unwrap_or_default();
    nodes.retain(|_, node| node["kind"] != "log");
    for node in nodes.values_mut().filter_map(Value::as_object_mut) {
        node.retain(|key, _| !FREE.contains(&key.as_str()));
    }
    nodes
}

/// Adds the paths below `path` at which two values differ.
fn compare(path: &str, before: &Value, now: &Value, paths: &mut Vec<String>) {
    let (Value::Object(a), Value::Object(b)) = (before, now) else {
        if before != now {
            paths.push(path.to_owned());
        }
        return;
    };
    for key in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        match (a.get(key), b.get(key)) {
            (Some(a), Some(b)) => compare(&path, a, b, paths),
            _ => paths.push(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::differences;
    use serde_json::json;

    #[test]
    fn what_is_free_may_differ_and_what_is_bound_is_named() {
        let graph = |layers: Vec<u64>, cache: Option<&str>, log: u64| {
            let student = json!({ "kind": "student", "layers": layers });
            let teacher = json!({ "kind": "teacher", "cache": cache });
            let log = json!({ "kind": "log", "every": log });
            let nodes = json!({ "student": student, "teacher": teacher, "log": log });
            json!({ "name": "x", "about": log["every"], "phases": [{ "name": "prune", "nodes": nodes }] })
        };
        assert!(differences(&graph(vec![1], None, 1), &graph(vec![1], Some("c"), 2)).is_empty());
        assert_eq!(
            differences(&graph(vec![1], None, 1), &graph(vec![2], None, 1)),
            ["prune.student.layers"]
        );
        let (one, other) = (
            json!({ "nodes": { "a": { "kind": "k" } } }),
            json!({ "nodes": {}, "seed": 1 }),
        );
        assert_eq!(differences(&one, &other), ["seed", "a"]);
        // A node may be called as a key of the file.
        let called = |seed: u64| json!({ "seed": seed, "nodes": { "seed": { "kind": "decode" } } });
        assert_eq!(differences(&called(1), &called(2)), ["seed"]);
    }
}
