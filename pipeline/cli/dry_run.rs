//! Runs of one phase that leave nothing behind except rows in the caches of the graph: what
//! `bench` and `tap` have in common.
use crate::ending::CommandError;
use compute::ranks::Ranks;
use nodes::data::file::create_temporary_folder;
use nodes::data::suggestion::suggestion;
use nodes::node::report::Report;
use nodes::node::{RunContext, Synthetic};
use pipeline::graph::plan::{Phase, Plan};
use pipeline::run::missing;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A temporary folder, removed when this value is dropped.
pub(crate) struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    /// Creates the folder; `command` is part of its name.
    pub(crate) fn new(command: &str) -> Result<TemporaryFolder, CommandError> {
        let name = std::env::temp_dir().join(format!("pipeline-{command}"));
        Ok(TemporaryFolder(create_temporary_folder(&name)?))
    }

    /// Returns the path of the folder.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Returns the phase called `name`, or the first phase without a name.
pub(crate) fn find_phase<'a>(
    plan: &'a Plan,
    name: Option<&str>,
) -> Result<&'a Phase, CommandError> {
    let Some(name) = name else {
        return Ok(&plan.phases[0]);
    };
    let found = plan.phases.iter().find(|phase| phase.name == name);
    found.ok_or_else(|| {
        let names = plan.phases.iter().map(|phase| phase.name.as_str());
        CommandError::Usage(format!("no phase `{name}`{}", suggestion(name, names)))
    })
}

/// Returns the argument of `--set` that sets an option (`NAME=VALUE`) of a node of a phase.
pub(crate) fn setting(plan: &Plan, phase: &Phase, node: usize, option: &str) -> String {
    let node = phase.nodes[node].name();
    if plan.phased {
        format!("{}.{node}.{option}", phase.name)
    } else {
        format!("{node}.{option}")
    }
}

/// Returns the arguments of `--set` that leave dev passes out of a phase, and with them the choice of
/// the best.
pub(crate) fn without_dev_passes(plan: &Plan, phase: &Phase) -> Vec<String> {
    let mut settings = vec![setting(plan, phase, phase.source, "dev=null")];
    if let Some(optimizer) = phase.optimizer {
        settings.push(setting(plan, phase, optimizer, "best=null"));
    }
    settings
}

/// Fails if a file that the phase reads is missing.
pub(crate) fn check_files(phase: &Phase) -> Result<(), CommandError> {
    let missing = missing([phase].into_iter());
    if missing.is_empty() {
        Ok(())
    } else {
        Err(missing.join("\n").into())
    }
}

/// A run of one phase that writes no model and no checkpoint.
pub(crate) struct DryRun<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) phase: &'a Phase,
    /// The phase ends after this number of updates.
    pub(crate) updates: u64,
    /// The run's folder.
    pub(crate) folder: &'a Path,
    pub(crate) synthetic: Option<Synthetic>,
    /// A node and its output port that is read though no edge leaves it.
    pub(crate) tapped: Option<(String, &'static str)>,
    pub(crate) report: Arc<dyn Report>,
    /// Ends the phase early when set.
    pub(crate) stop: Arc<AtomicBool>,
    /// The processes that share out the batches.
    pub(crate) ranks: Arc<Ranks>,
}

impl DryRun<'_> {
    /// Returns what the phase's nodes share.
    pub(crate) fn context(self) -> Arc<RunContext> {
        Arc::new(RunContext {
            phase: self.phase.name.clone(),
            phased: self.plan.phased,
            folder: self.folder.to_owned(),
            graph: String::new(),
            seed: self.plan.seed,
            clock: self.phase.clock(Some(self.updates), 0),
            has_optimizer: self.phase.optimizer.is_some(),
            bench: true,
            shard: None,
            synthetic: self.synthetic,
            phase_outputs: self.plan.phase_outputs.clone(),
            report: self.report,
            rows: None,
            samples: Arc::default(),
            bad_files: Arc::default(),
            tapped: self.tapped,
            models: Arc::default(),
            stop: self.stop,
            ranks: self.ranks,
            shares_dev: self.phase.shares_dev(),
        })
    }
}
