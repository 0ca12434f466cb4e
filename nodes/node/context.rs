//! Where a node runs: its run, its phase, its name, its seed.
use crate::data::printable::printable_lines;
use crate::node::artifact::{PhaseOutputs, path_in_run};
use crate::node::bad_files::BadFiles;
use crate::node::clock::Clock;
use crate::node::port::Shapes;
use crate::node::report::Report;
use crate::node::row_counts::RowCounts;
use crate::node::shard::Shard;
use crate::node::shared_models::SharedModels;
use compute::random::Key;
use compute::ranks::Ranks;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

/// What all nodes of a phase share.
#[derive(Clone)]
pub struct RunContext {
    pub phase: String,
    /// Whether the graph file has phases, so that their names are folders of the run.
    pub phased: bool,
    /// The run's folder, `$OUT`.
    pub folder: PathBuf,
    /// BLAKE3 of what a resumed run must keep of the resolved graph.
    pub graph: String,
    pub seed: u64,
    pub clock: Clock,
    /// Whether an optimizer changes weights in the phase. Without one, losses are only measured.
    pub has_optimizer: bool,
    /// Whether the phase is only timed: models that earlier phases have not written are built at
    /// their target size, and nothing is kept.
    pub bench: bool,
    /// The share of the rows that this process computes; `None` is all.
    pub shard: Option<Shard>,
    /// Noise in place of a manifest.
    pub synthetic: Option<Synthetic>,
    /// What earlier phases write, as planned: `bench` builds on it what they have not written.
    pub phase_outputs: Arc<PhaseOutputs>,
    pub report: Arc<dyn Report>,
    /// The rows of the phase, each view by itself; set by the source before the first step if they
    /// are known then. `None` if no node has a cache.
    pub rows: Option<Arc<OnceLock<RowCounts>>>,
    /// The samples of all rows of a phase without an optimizer, each view by itself; set by the
    /// source before the first step if the phase sends all of them.
    pub samples: Arc<OnceLock<u64>>,
    /// The files that could not be used, of all ranks.
    pub bad_files: Arc<BadFiles>,
    /// A node and its output port that is read though no edge leaves it.
    pub tapped: Option<(String, &'static str)>,
    /// Frozen models that nodes of the phase have opened.
    pub models: Arc<SharedModels>,
    /// Set by a signal: finish the running update, write a checkpoint, end.
    pub stop: Arc<AtomicBool>,
    /// The processes that share out the batches of the phase.
    pub ranks: Arc<Ranks>,
    /// Whether they share out the batches of dev passes too.
    pub shares_dev: bool,
}

impl RunContext {
    /// Builds the context of the one phase of a graph, `main`, which trains nothing and knows no
    /// other process: what benchmarks and tests of a node begin with.
    pub fn alone(report: Arc<dyn Report>) -> RunContext {
        RunContext {
            phase: "main".into(),
            phased: false,
            folder: PathBuf::new(),
            graph: String::new(),
            seed: 0,
            clock: Clock {
                updates: None,
                accumulate: 1,
                checkpoint_every: 0,
                from: 0,
            },
            has_optimizer: false,
            bench: false,
            shard: None,
            synthetic: None,
            phase_outputs: Arc::default(),
            report,
            rows: None,
            samples: Arc::default(),
            bad_files: Arc::default(),
            tapped: None,
            models: Arc::default(),
            stop: Arc::default(),
            ranks: Arc::default(),
            shares_dev: true,
        }
    }
}

/// The size of batches of noise: rows, and samples of each.
#[derive(Clone, Copy, Debug)]
pub struct Synthetic {
    pub rows: usize,
    pub samples: usize,
}

/// What one node knows of its surroundings.
#[derive(Clone)]
pub struct NodeContext {
    pub node: String,
    /// Shapes of what comes in, as planned.
    pub inputs: Shapes,
    /// Output ports that some node reads.
    pub read_outputs: BTreeSet<&'static str>,
    pub run: Arc<RunContext>,
}

impl NodeContext {
    /// Returns the folder of this node in the run.
    pub fn folder(&self) -> PathBuf {
        let run = &self.run;
        if run.phased {
            run.folder.join(&run.phase).join(&self.node)
        } else {
            run.folder.join(&self.node)
        }
    }

    /// Resolves a path of the graph file: relative to the working directory, or below `$OUT/`.
    pub fn path(&self, text: &str) -> PathBuf {
        path_in_run(text, &self.run.folder)
    }

    /// Returns the key of the random draws of one purpose in this node.
    pub fn key(&self, purpose: &str) -> Key {
        Key::new(self.run.seed, &[&self.run.phase, &self.node, purpose])
    }

    /// Tells the person who watches the run one line about this node, as this rank has it; every rank
    /// tells its own.
    pub fn say(&self, text: impl Into<String>) {
        let text = text.into();
        let line = format!("node `{}`: {}", self.node, printable_lines(&text));
        self.run.report.say(&line);
    }

    /// Tells a line that every rank of the run has to tell: the first one does.
    pub fn say_once(&self, text: &str) {
        if self.run.ranks.is_first() {
            self.say(text);
        }
    }

    /// Warns, as [`NodeContext::say_once`], of something about this node.
    pub fn warn_once(&self, text: &str) {
        if self.run.ranks.is_first() {
            self.warn(text);
        }
    }

    /// Warns the person who watches the run of something about this node.
    pub fn warn(&self, text: &str) {
        let line = format!("warning: node `{}`: {}", self.node, printable_lines(text));
        self.run.report.say(&line);
    }
}

#[cfg(test)]
impl NodeContext {
    /// Places a node of a test in a phase `main`, changed by `change`.
    pub fn alone(
        node: &str,
        report: Arc<dyn Report>,
        change: impl FnOnce(&mut RunContext),
    ) -> NodeContext {
        let mut run = RunContext {
            has_optimizer: true,
            ..RunContext::alone(report)
        };
        run.clock.checkpoint_every = 100;
        change(&mut run);
        NodeContext {
            node: node.into(),
            inputs: Shapes::default(),
            read_outputs: BTreeSet::new(),
            run: Arc::new(run),
        }
    }
}
