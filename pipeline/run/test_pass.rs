//! The metrics of a test phase: one without an optimizer in which losses are measured once.
//!
//! Train batches are the test set's, since the phase trains nothing; their metrics are called
//! `test/`. If the phase has a dev set, its metrics are called `dev/`.
use crate::run::stage::Outputs;
use nodes::Result;
use nodes::data::metrics::MetricsFile;
use nodes::node::outcomes::{OUTCOMES_FILE, Outcomes, write_outcomes};
use nodes::node::pass_metrics::{BatchWeight, PassMetrics};
use nodes::node::port::Value;
use nodes::node::step::StepInfo;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Gathers the losses of a phase, by set and node.
#[derive(Default)]
pub(super) struct TestPass(Mutex<[BTreeMap<String, PassMetrics>; 2]>);

/// The sets in the order of [`TestPass`], as the metrics are called.
const SETS: [&str; 2] = ["test", "dev"];

impl TestPass {
    /// Adds the losses that a node sent in a step. Of penalties, which are no node's loss, only what
    /// became of rows is kept.
    pub(super) fn add(&self, node: &str, info: StepInfo, sent: &Outputs) {
        for value in sent.values() {
            let Value::Scalar(loss) = value else {
                continue;
            };
            let is_penalty = loss.node.is_empty();
            if is_penalty && loss.outcomes.is_empty() {
                continue;
            }
            let mut sets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let set = &mut sets[usize::from(info.dev)];
            let metrics = set.entry(node.to_owned()).or_default();
            if is_penalty {
                metrics.add_rows(&loss.outcomes);
            } else {
                metrics.add_batch(std::slice::from_ref(loss), BatchWeight::Frames);
            }
        }
    }

    /// Writes the metrics of the whole phase to metrics.jsonl in the run's folder `run`, and what
    /// became of each test row into the folders of its nodes below `folder`. Returns the metrics.
    ///
    /// # Errors
    /// They name the file.
    pub(super) fn write(
        self,
        run: &Path,
        folder: &Path,
        phase: &str,
    ) -> Result<Vec<(String, f32)>> {
        let sets = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut metrics = vec![];
        for (name, nodes) in SETS.into_iter().zip(sets) {
            if name == SETS[0] {
                write_rows(&nodes, folder)?;
            }
            metrics.extend(named(name, nodes));
        }
        if !metrics.is_empty() {
            let mut file = MetricsFile::open(run, phase, 0)?;
            file.write(phase, 0, 0, &metrics)?;
            file.sync()?;
        }
        Ok(metrics)
    }
}

fn write_rows(nodes: &BTreeMap<String, PassMetrics>, folder: &Path) -> Result<()> {
    for (node, metrics) in nodes {
        let outcomes: &[Outcomes] = metrics.outcomes();
        if !outcomes.is_empty() {
            let folder = folder.join(node);
            std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
            write_outcomes(&folder.join(OUTCOMES_FILE), outcomes)?;
        }
    }
    Ok(())
}

/// Names the metrics of a set as those of a dev pass: `<set>/loss` of all nodes together, then
/// those of each node, with its name if there are several.
fn named(set: &str, nodes: BTreeMap<String, PassMetrics>) -> Vec<(String, f32)> {
    const LOSS: &str = "loss";
    let several = nodes.len() > 1;
    let mut loss = None;
    let mut named = vec![];
    for (node, mut metrics) in nodes {
        for (name, value) in metrics.take() {
            if name == LOSS {
                loss = Some(loss.unwrap_or(0.0) + value);
            } else if several {
                named.push((format!("{set}/{node}/{name}"), value));
            } else {
                named.push((format!("{set}/{name}"), value));
            }
        }
    }
    let loss = loss.map(|loss| (format!("{set}/{LOSS}"), loss));
    loss.into_iter().chain(named).collect()
}
