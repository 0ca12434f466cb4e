//! A phase that runs for what can be seen of it and leaves nothing behind but what its caches gathered: `bench`, `tap`.
use crate::Failure;
use nodes::data::suggestion::suggestion;
use nodes::node::report::Report;
use nodes::node::{RunContext, Synthetic};
use pipeline::graph::plan::{Phase, Plan};
use pipeline::run::missing;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A folder that is gone when the rehearsal is.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(of: &str) -> Result<Scratch, Failure> {
        let folder = std::env::temp_dir().join(format!("pipeline-{of}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        Ok(Scratch(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The phase of this name, or the first.
pub fn chosen<'p>(plan: &'p Plan, name: Option<&str>) -> Result<&'p Phase, Failure> {
    let Some(name) = name else {
        return Ok(&plan.phases[0]);
    };
    let known = || plan.phases.iter().map(|p| p.name.as_str());
    let says = || Failure::Usage(format!("no phase `{name}`{}", suggestion(name, known())));
    plan.phases.iter().find(|p| p.name == name).ok_or_else(says)
}

/// `--set` for a node of a phase.
pub fn set(plan: &Plan, phase: &Phase, node: usize, option: &str) -> String {
    let prefix = if plan.phased {
        format!("{}.", phase.name)
    } else {
        String::new()
    };
    format!("{prefix}{}.{option}", phase.nodes[node].name())
}

/// Files that are missing are an error before the first step.
pub fn complete(phase: &Phase) -> Result<(), Failure> {
    let missing = missing([phase].into_iter());
    if missing.is_empty() {
        Ok(())
    } else {
        Err(missing.join("\n").into())
    }
}

/// Builds the context of a phase that ends after `steps` updates.
pub fn context(
    plan: &Plan,
    phase: &Phase,
    steps: u64,
    folder: &Path,
    synthetic: Option<Synthetic>,
    report: Arc<dyn Report>,
    stop: Arc<AtomicBool>,
) -> Arc<RunContext> {
    Arc::new(RunContext {
        phase: phase.name.clone(),
        phased: plan.phased,
        folder: folder.to_owned(),
        graph: String::new(),
        seed: plan.seed,
        clock: phase.clock(Some(steps), 0),
        bench: true,
        synthetic,
        phase_outputs: plan.phase_outputs.clone(),
        report,
        stop,
    })
}
