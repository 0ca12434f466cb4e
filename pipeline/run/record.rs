//! run.json: what a run was begun with, and how it ended.
use crate::run::resume;
use nodes::node::report::Report;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// The contents of run.json.
#[derive(Clone, Serialize, Deserialize)]
pub struct RunRecord {
    /// The resolved graph, after `--set`.
    pub graph: Value,
    /// The command line.
    pub arguments: Value,
    pub version: String,
    pub seed: u64,
    pub threads: usize,
    pub device: String,
    /// BLAKE3 of each manifest; `None` where it could not be read.
    pub data: BTreeMap<String, Option<String>>,
    /// Unix seconds.
    pub started: u64,
    pub finished: Option<u64>,
    pub peak_bytes: Option<u64>,
    pub summary: Option<Value>,
}

impl RunRecord {
    /// Reads the record of a run.
    pub fn read(file: &Path) -> nodes::Result<RunRecord> {
        let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
        serde_json::from_str(&text).map_err(|error| {
            let file = file.display();
            format!(
                "{file} is damaged: {error}; without it (remove it) `--resume` goes on from the \
                 newest checkpoint if the graph is the same"
            )
            .into()
        })
    }

    /// Writes the record, whole or not at all.
    pub fn write(&self, file: &Path) -> nodes::Result<()> {
        let text = format!("{:#}\n", serde_json::to_value(self)?);
        nodes::data::file::write_atomic(file, text.as_bytes())
    }

    /// Lists the settings that differ from an earlier record and that a resumed run must keep.
    pub fn differences(&self, earlier: &RunRecord) -> Vec<String> {
        let mut differences = resume::differences(&earlier.graph, &self.graph);
        if earlier.arguments["steps"] != self.arguments["steps"] {
            differences.push("--steps".to_owned());
        }
        for (path, hash) in &self.data {
            match earlier.data.get(path) {
                Some(Some(old)) if hash.as_ref().is_some_and(|new| new != old) => {
                    differences.push(format!("the data in {path}"));
                }
                _ => {}
            }
        }
        differences
    }

    /// Warns of settings that may differ, but move the last digits of numbers.
    pub fn warn_of_other_machine(&self, earlier: &RunRecord, report: &dyn Report) {
        let warn = |setting: &str, was: String, is: String| {
            if was != is {
                report.say(&format!(
                    "warning: the run began with {setting} {was}, now it is {is}: numbers may \
                     differ in the last digits"
                ));
            }
        };
        warn(
            "threads",
            earlier.threads.to_string(),
            self.threads.to_string(),
        );
        warn(
            "device",
            format!("{:?}", earlier.device),
            format!("{:?}", self.device),
        );
    }
}
