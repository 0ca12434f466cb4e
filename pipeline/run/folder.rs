//! The folder of a run: whether this run may use it, and what it holds already.
use super::Run;
use crate::run::error::RunError;
use crate::run::growth::RunState;
use crate::run::record::{Comparison, RunRecord};
use crate::run::resume::ResumePoint;
use std::fs::{File, TryLockError};
use std::path::Path;

impl Run<'_> {
    /// Locks the folder while this process runs in it: two would undo each other's files.
    pub(super) fn lock(&self) -> Result<File, RunError> {
        let path = self.out.join(".lock");
        let failed = |e: std::io::Error| RunError::Failed(format!("{}: {e}", path.display()));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(RunError::Failed(format!(
                "another process runs in {}",
                self.out.display()
            ))),
            Err(TryLockError::Error(e)) => Err(failed(e)),
        }
    }

    /// Reads the record of the run that the folder holds, if it holds one that has computed anything.
    pub(super) fn earlier_record(&self, file: &Path) -> Result<Option<RunRecord>, RunError> {
        let out = self.out.display();
        let traces = ["run.json", "metrics.jsonl", "checkpoint"];
        if !self.resume && traces.iter().any(|name| self.out.join(name).exists()) {
            return Err(RunError::FolderInUse(format!(
                "{out} holds a run already; `--resume` goes on with it, `--out` names another \
                 folder"
            )));
        }
        if !file.exists() {
            return Ok(None);
        }
        let record = RunRecord::read(file)?;
        let may_be_anew = record.finished.is_none() && !self.has_computed();
        Ok((!may_be_anew).then_some(record))
    }

    /// Returns whether the folder has a metric, a checkpoint or what a phase wrote, or may have filled
    /// a cache. A run that failed before its first update has none, and begins anew whatever its
    /// settings are now.
    fn has_computed(&self) -> bool {
        if self.plan.phases[0].optimizer.is_none() {
            return true; // it may have filled a cache, which lies elsewhere
        }
        let metrics = std::fs::metadata(self.out.join("metrics.jsonl"));
        let folders = std::fs::read_dir(&self.out).into_iter().flatten();
        let mut folders = folders.map_while(Result::ok);
        metrics.is_ok_and(|file| file.len() > 0) || folders.any(|entry| entry.path().is_dir())
    }

    /// Checks that a checkpoint in a folder without run.json is of this graph.
    pub(super) fn check_graph(
        &self,
        point: &ResumePoint,
        record: &RunRecord,
    ) -> Result<(), RunError> {
        let metadata = nodes::data::file::metadata(&point.path)?;
        // Earlier versions hashed the whole graph, with its paths.
        let whole = blake3::hash(self.plan.resolved.to_string().as_bytes());
        let accepted = [record.identity(), whole.to_hex().to_string()];
        let is_accepted = |hash: &String| accepted.contains(hash);
        if metadata.get("graph").is_some_and(is_accepted) {
            return Ok(());
        }
        let out = self.out.display();
        Err(RunError::Failed(format!(
            "cannot resume {out}: its checkpoints are of another graph; name that graph, or begin \
             another run with `--out`"
        )))
    }

    /// Checks that the run is resumed with the settings it was begun with.
    pub(super) fn check_resume(
        &self,
        earlier: &RunRecord,
        record: &RunRecord,
    ) -> Result<Comparison, RunError> {
        let finished = earlier.finished.is_some();
        let state = RunState::read(&self.out, self.plan, finished, self.steps.is_some());
        let comparison = record.compare(earlier, self.plan, &state);
        if !comparison.differences.is_empty() {
            return Err(RunError::Failed(format!(
                "cannot resume {}: these settings differ from the run's: {}; undo the change, or \
                 begin another run with `--out`",
                self.out.display(),
                comparison.differences.join(", ")
            )));
        }
        record.warn_of_other_machine(earlier, &*self.report);
        record.warn_of_unknown_contents(earlier, &*self.report);
        Ok(comparison)
    }
}
