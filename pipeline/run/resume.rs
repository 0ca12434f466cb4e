//! Where a run resumes, and whether it is resumed with the graph it was begun with.
use crate::graph::plan::Plan;
use crate::run::error::RunError;
use nodes::data::file::set_aside;
use nodes::kind::optimize::checkpoint::{self, Condition};
use nodes::node::report::Report;
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

/// Finds the newest checkpoint of a run whose bytes are right, by phase and update in its name.
///
/// Newer ones that are damaged are renamed to `*.damaged` and reported. Returns `None` if the run
/// has written no checkpoint.
///
/// # Errors
/// A checkpoint cannot be read, or there are checkpoints and all of them are damaged.
pub fn newest(
    run: &Path,
    plan: &Plan,
    report: &dyn Report,
) -> Result<Option<ResumePoint>, RunError> {
    let folder = run.join("checkpoint");
    let mut damaged = vec![];
    for point in points(&folder, plan).into_iter().rev() {
        let phase = &plan.phases[point.phase].name;
        match checkpoint::check(&point.path, phase, point.update)? {
            Condition::Damaged(reason) => {
                let path = point.path.display();
                let new_name = set_aside(&point.path)?;
                let new_name = new_name.file_name().unwrap_or_default().display();
                damaged.push(format!(
                    "{path} is damaged: {reason}; it is now called {new_name}"
                ));
            }
            condition => {
                let path = point.path.display();
                for line in damaged {
                    report.say(&format!("{line}, and {path} is used instead"));
                }
                if matches!(condition, Condition::Unchecked) {
                    report.say(&format!(
                        "{path} has no checksum: an earlier version of the program wrote it; it \
                         is read as it is"
                    ));
                }
                return Ok(Some(point));
            }
        }
    }
    if damaged.is_empty() {
        for path in checkpoint::found_damaged(&folder) {
            damaged.push(format!("{} is damaged", path.display()));
        }
    }
    if damaged.is_empty() {
        return Ok(None);
    }
    let folder = folder.display();
    damaged.push(format!(
        "no checkpoint in {folder} is left to go on from; to begin anew, name another folder with \
         `--out`, or remove {folder} and call `--resume` again"
    ));
    Err(RunError::Failed(damaged.join("\n")))
}

/// Returns all checkpoints of the plan's phases, oldest first.
fn points(folder: &Path, plan: &Plan) -> Vec<ResumePoint> {
    let mut points = vec![];
    for (phase, update, path) in checkpoint::found(folder) {
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
}

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
    const CHANGEABLE: [&str; 4] = ["cache", "checkpoint_every", "keep", "dev_every"];
    let mut nodes = nodes.as_object().cloned().unwrap_or_default();
    nodes.retain(|_, node| node["kind"] != "log");
    for node in nodes.values_mut().filter_map(Value::as_object_mut) {
        node.retain(|key, _| !CHANGEABLE.contains(&key.as_str()));
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
}
