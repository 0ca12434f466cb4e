//! Where a run stands, and whether what it is asked to go on with is what it began with.
use crate::graph::plan::Plan;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The checkpoint to go on from: after `update` of the phase of this number.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    pub phase: usize,
    pub update: u64,
    pub path: PathBuf,
}

/// The newest checkpoint that reads is the truth; its name says phase and update.
pub fn newest(run: &Path, plan: &Plan) -> Option<Point> {
    let point = |(phase, update, path)| {
        let phase = plan.phases.iter().position(|p| p.name == phase)?;
        Some(Point {
            phase,
            update,
            path,
        })
    };
    let found = nodes::kind::optimize::checkpoint::found(&run.join("checkpoint"));
    let mut points: Vec<Point> = found.into_iter().filter_map(point).collect();
    points.sort();
    points
        .into_iter()
        .rev()
        .find(|p| nodes::data::file::metadata(&p.path).is_ok())
}

/// The ways (as of `--set`) at which two resolved graphs differ, but for what a run may change when it goes on.
pub fn differences(before: &Value, now: &Value) -> Vec<String> {
    let mut ways = vec![];
    for part in [head, body] {
        compare("", &part(before), &part(now), &mut ways);
    }
    ways
}

/// What stands beside the nodes, and the order of phases.
fn head(graph: &Value) -> Value {
    let mut top = graph.as_object().cloned().unwrap_or_default();
    top.retain(|key, _| !["$schema", "about", "nodes"].contains(&key.as_str()));
    if let Some(Value::Array(phases)) = top.get_mut("phases") {
        phases
            .iter_mut()
            .for_each(|phase| *phase = phase["name"].take());
    }
    Value::Object(top)
}

/// Nodes, or phases by name, without what is free.
fn body(graph: &Value) -> Value {
    let phases = graph["phases"].as_array().into_iter().flatten();
    let named = phases.filter_map(|p| {
        Some((
            p["name"].as_str()?.to_owned(),
            bound_nodes(&p["nodes"]).into(),
        ))
    });
    bound_nodes(&graph["nodes"])
        .into_iter()
        .chain(named)
        .collect::<Map<_, _>>()
        .into()
}

fn bound_nodes(nodes: &Value) -> Map<String, Value> {
    let mut nodes = nodes.as_object().cloned().unwrap_or_default();
    nodes.retain(|_, node| node["kind"] != "log");
    for node in nodes.values_mut().filter_map(Value::as_object_mut) {
        node.retain(|key, _| {
            !["cache", "checkpoint_every", "keep", "dev_every"].contains(&key.as_str())
        });
    }
    nodes
}

fn compare(way: &str, before: &Value, now: &Value, ways: &mut Vec<String>) {
    match (before, now) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
                let way = if way.is_empty() {
                    key.clone()
                } else {
                    format!("{way}.{key}")
                };
                match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) => compare(&way, a, b, ways),
                    _ => ways.push(way),
                }
            }
        }
        _ if before != now => ways.push(way.to_owned()),
        _ => {}
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
