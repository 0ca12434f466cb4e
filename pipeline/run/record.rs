//! run.json: what a run was begun with, and how it ended.
use crate::graph::plan::Plan;
use crate::run::growth::{Growth, RunState, compare_steps};
use crate::run::named_files::{Hashes, named_files};
use crate::run::settings;
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
    /// Threads of each rank.
    pub threads: usize,
    /// Processes that share the run.
    #[serde(default = "one")]
    pub ranks: usize,
    pub device: String,
    /// The instructions of products on the CPU; `None` in the record of an earlier version.
    #[serde(default)]
    pub instructions: Option<String>,
    /// BLAKE3 of what each manifest lists.
    pub data: Hashes,
    /// BLAKE3 of each model, and of each other file that a node names; `None` in the record of an
    /// earlier version, whose `data` are hashes of other things.
    #[serde(default)]
    pub models: Option<Hashes>,
    /// Unix seconds.
    pub started: u64,
    pub finished: Option<u64>,
    pub peak_bytes: Option<u64>,
    pub summary: Option<Value>,
}

fn one() -> usize {
    1
}

/// How the settings of a resumed run compare with those it was begun with.
pub struct Comparison {
    /// Whether the newest phase begun gets more updates.
    pub grows: bool,
    /// The settings that differ and that a resumed run must keep.
    pub differences: Vec<String>,
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

    /// Returns the hash of the contents at a path of the graph, if it is known.
    fn hash(&self, path: &str) -> Option<&str> {
        let models = self.models.as_ref()?;
        let hash = self.data.get(path).or_else(|| models.get(path))?;
        hash.as_deref()
    }

    /// Returns BLAKE3 of what a resumed run must keep of the graph.
    pub fn identity(&self) -> String {
        let models = self.models.iter();
        let hashes: Vec<&Hashes> = models.chain([&self.data]).collect();
        settings::identity(&self.graph, &hashes)
    }

    /// Compares the settings with those of an earlier record.
    pub fn compare(&self, earlier: &RunRecord, plan: &Plan, state: &RunState) -> Comparison {
        let mut graph = self.graph.clone();
        let other_contents = self.use_earlier_paths(&mut graph, earlier);
        let Growth { grows, refused } = compare_steps(&mut graph, &earlier.graph, plan, state);
        let mut differences = vec![];
        for option in settings::differences(&earlier.graph, &graph) {
            let reason = refused.get(&option).or_else(|| other_contents.get(&option));
            differences.push(match reason {
                Some(reason) => format!("{option} ({reason})"),
                None => option,
            });
        }
        if earlier.arguments["steps"] != self.arguments["steps"] {
            differences.push("--steps".to_owned());
        }
        if earlier.arguments["shard"] != self.arguments["shard"] {
            differences.push("--shard".to_owned());
        }
        differences.extend(self.changed_contents(earlier));
        Comparison { grows, differences }
    }

    /// Replaces paths of `graph` by those of the earlier graph, if they have the same contents.
    /// Returns what is to be said of the others, by their option.
    fn use_earlier_paths(
        &self,
        graph: &mut Value,
        earlier: &RunRecord,
    ) -> BTreeMap<String, String> {
        let mut reasons = BTreeMap::new();
        for file in named_files(graph) {
            let before = earlier.graph.pointer(&file.pointer).and_then(Value::as_str);
            let Some(before) = before.filter(|before| *before != file.path) else {
                continue;
            };
            let Some(old_hash) = earlier.hash(before) else {
                continue;
            };
            let path = &file.path;
            match self.hash(path) {
                Some(hash) if hash == old_hash => {
                    if let Some(value) = graph.pointer_mut(&file.pointer) {
                        *value = before.into();
                    }
                }
                Some(_) => {
                    let reason = format!("`{path}` has other contents than `{before}`");
                    reasons.insert(file.option, reason);
                }
                None => {
                    let reason = format!("`{path}` cannot be read");
                    reasons.insert(file.option, reason);
                }
            }
        }
        reasons
    }

    /// Says which paths have other contents than in the earlier record.
    fn changed_contents(&self, earlier: &RunRecord) -> Vec<String> {
        let mut changed = vec![];
        let models = self.models.iter().flatten();
        let named = self.data.iter().map(|(path, hash)| ("data", path, hash));
        let named = named.chain(models.map(|(path, hash)| ("files", path, hash)));
        for (what, path, hash) in named {
            let old = earlier.hash(path);
            if old.is_some_and(|old| hash.as_ref().is_some_and(|new| new != old)) {
                changed.push(format!("the {what} in {path}"));
            }
        }
        changed
    }

    /// Says if the earlier record has no hashes that can be compared.
    pub fn warn_of_unknown_contents(&self, earlier: &RunRecord, report: &dyn Report) {
        if earlier.models.is_none() {
            report.say(
                "warning: an earlier version began this run, so its data and models are compared \
                 by their paths alone",
            );
        }
    }

    /// Warns of what may differ, but changes speed or the last digits of numbers.
    pub fn warn_of_other_machine(&self, earlier: &RunRecord, report: &dyn Report) {
        let warn = |what: &str, was: &str, is: &str, effect: &str| {
            if was != is {
                report.say(&format!(
                    "warning: the run began with {what} {was}, now it is {is}: {effect}"
                ));
            }
        };
        let digits = "numbers may differ in the last digits";
        let threads = [earlier, self].map(|record| record.threads.to_string());
        warn(
            "threads",
            &threads[0],
            &threads[1],
            "only its speed changes",
        );
        if compute::tensor::ON_GPU {
            // On the CPU the numbers are those of one process.
            let ranks = [earlier, self].map(|record| record.ranks.to_string());
            warn("ranks", &ranks[0], &ranks[1], digits);
        }
        warn("device", &earlier.device, &self.device, digits);
        if let (Some(was), Some(is)) = (&earlier.instructions, &self.instructions) {
            warn("instructions", was, is, digits);
        }
    }
}
