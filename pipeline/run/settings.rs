//! Which settings of a resolved graph differ from another's, and which of them a resumed run must
//! keep.
use crate::run::named_files::{Hashes, named_files};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Lists the paths, in the form of `--set`, at which two resolved graphs differ, except for options
/// that a resumed run may change.
pub fn differences(before: &Value, now: &Value) -> Vec<String> {
    let mut paths = vec![];
    compare("", &header(before), &header(now), &mut paths);
    compare("", &fixed_options(before), &fixed_options(now), &mut paths);
    paths
}

/// Returns the top-level keys without the nodes, and the names of the phases in order.
fn header(graph: &Value) -> Value {
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
fn fixed_options(graph: &Value) -> Value {
    let mut fixed = fixed_options_of(&graph["nodes"]);
    for phase in graph["phases"].as_array().into_iter().flatten() {
        if let Some(name) = phase["name"].as_str() {
            fixed.insert(name.to_owned(), fixed_options_of(&phase["nodes"]).into());
        }
    }
    fixed.into()
}

fn fixed_options_of(nodes: &Value) -> Map<String, Value> {
    const CHANGEABLE: [&str; 6] = [
        "cache",
        "budget",
        "checkpoint_every",
        "keep",
        "dev_every",
        "bad_files",
    ];
    let mut nodes = nodes.as_object().cloned().unwrap_or_default();
    nodes.retain(|_, node| node["kind"] != "log");
    // Which dev pass is the best depends on when there are any.
    let best_of_dev = nodes.values().any(|node| node["best"].is_object());
    for node in nodes.values_mut().filter_map(Value::as_object_mut) {
        node.retain(|key, _| {
            !CHANGEABLE.contains(&key.as_str()) || best_of_dev && key == "dev_every"
        });
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

/// Returns BLAKE3 of what a resumed run must keep of a resolved graph, with `hashes` in place of the
/// paths whose contents are known.
pub fn identity(graph: &Value, hashes: &[&Hashes]) -> String {
    let mut graph = graph.clone();
    for file in named_files(&graph) {
        let hash = hashes
            .iter()
            .find_map(|hashes| hashes.get(&file.path)?.as_ref());
        if let (Some(hash), Some(path)) = (hash, graph.pointer_mut(&file.pointer)) {
            *path = hash.as_str().into();
        }
    }
    let kept = Value::from(vec![header(&graph), fixed_options(&graph)]);
    blake3::hash(kept.to_string().as_bytes())
        .to_hex()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::{differences, identity};
    use serde_json::json;

    #[test]
    fn only_fixed_options_are_differences() {
        let graph = |layers: Vec<u64>, cache: Option<&str>, log: u64| {
            let student = json!({ "kind": "student", "layers": layers });
            let teacher = json!({ "kind": "teacher", "cache": cache });
            let log = json!({ "kind": "log", "every": log });
            let nodes = json!({ "student": student, "teacher": teacher, "log": log });
            let phase = json!({ "name": "prune", "nodes": nodes });
            json!({ "name": "x", "about": log["every"], "phases": [phase] })
        };
        assert!(differences(&graph(vec![1], None, 1), &graph(vec![1], Some("c"), 2)).is_empty());
        assert_eq!(
            differences(&graph(vec![1], None, 1), &graph(vec![2], None, 1)),
            ["prune.student.layers"]
        );
        let with_node = json!({ "nodes": { "a": { "kind": "k" } } });
        let with_seed = json!({ "nodes": {}, "seed": 1 });
        assert_eq!(differences(&with_node, &with_seed), ["seed", "a"]);
        // A node may have the name of a key of the file.
        let seed_node = json!({ "seed": { "kind": "decode" } });
        let first = json!({ "seed": 1, "nodes": seed_node });
        let second = json!({ "seed": 2, "nodes": seed_node });
        assert_eq!(differences(&first, &second), ["seed"]);
    }

    #[test]
    fn contents_stand_for_paths_in_the_identity() {
        let graph = |manifest: &str, cache: &str| {
            let speech = json!({ "kind": "decode", "manifest": manifest });
            let teacher = json!({ "kind": "teacher", "cache": cache });
            json!({ "name": "x", "nodes": { "speech": speech, "teacher": teacher } })
        };
        let hashes = [("a", "1"), ("b", "1"), ("c", "2")];
        let hashes = hashes.map(|(path, hash)| (path.to_owned(), Some(hash.to_owned())));
        let hashes = hashes.into_iter().collect();
        let of = |manifest: &str, cache: &str| identity(&graph(manifest, cache), &[&hashes]);
        assert_eq!(of("a", "x"), of("b", "y"));
        assert_ne!(of("a", "x"), of("c", "x"));
        assert_ne!(of("unknown", "x"), of("unread", "x"));
    }
}
