//! The phases of a run, as its run.json describes them.
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A phase of the graph in run.json.
pub struct RecordedPhase<'a> {
    pub name: &'a str,
    /// The phase's nodes by name.
    pub nodes: &'a Value,
    /// The folder that holds a folder for each node.
    pub folder: PathBuf,
}

/// Returns the phases of the graph in run.json of the run in `folder`; a graph without phases is one,
/// called `main`.
pub fn recorded_phases<'a>(graph: &'a Value, folder: &Path) -> Vec<RecordedPhase<'a>> {
    let Some(phases) = graph["phases"].as_array() else {
        return vec![RecordedPhase {
            name: "main",
            nodes: &graph["nodes"],
            folder: folder.to_owned(),
        }];
    };
    let mut recorded = vec![];
    for phase in phases {
        if let Some(name) = phase["name"].as_str() {
            recorded.push(RecordedPhase {
                name,
                nodes: &phase["nodes"],
                folder: folder.join(name),
            });
        }
    }
    recorded
}
