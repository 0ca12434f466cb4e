//! A run of several processes: what the first rank tells the others at the start of the run and at
//! the end of a phase. All ranks see the same file system.
//!
//! The first rank alone reads and writes the run's folder, apart from checkpoints, which all ranks
//! read, and caches. It also runs phases without an optimizer alone.
use crate::graph::plan::Phase;
use crate::run::error::{PhaseEnd, RunError, RunOutcome};
use crate::run::resume::ResumePoint;
use crate::run::{Run, missing};
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering;

/// Where a run begins.
#[derive(Serialize, Deserialize)]
pub(super) enum Start {
    /// The folder holds a finished run.
    AlreadyFinished,
    /// After a checkpoint, or with the first phase.
    After(Option<ResumePoint>),
}

/// How the first rank leaves a phase.
const STOPPED: &[u8] = b"stopped";

impl Run<'_> {
    /// Tells the other ranks where the run begins. Returns whether a signal has come to any rank.
    pub(super) fn announce(&self, start: &Start) -> Result<bool, RunError> {
        let message = serde_json::to_vec(start).map_err(nodes::Error::from)?;
        Ok(self.exchange("the start of the run", &message)?.stop)
    }

    /// Runs all phases as a rank that writes no files of the run.
    pub(super) fn follow(&self) -> Result<RunOutcome, RunError> {
        let missing = missing(self.plan.phases.iter());
        if !missing.is_empty() {
            return Err(RunError::Failed(missing.join("\n")));
        }
        let exchange = self.exchange("the start of the run", &[])?;
        let start = serde_json::from_slice(&exchange.messages[0]).map_err(nodes::Error::from)?;
        let Start::After(point) = start else {
            return Ok(RunOutcome::AlreadyFinished);
        };
        Ok(
            match self.run_phases(None, point.as_ref(), exchange.stop)? {
                PhaseEnd::Finished => RunOutcome::Finished,
                PhaseEnd::Stopped => RunOutcome::Stopped,
            },
        )
    }

    /// Returns whether this rank runs a phase: one without an optimizer has nothing to share out.
    pub(super) fn takes_part(&self, phase: &Phase) -> bool {
        self.ranks.is_first() || phase.optimizer.is_some()
    }

    /// Waits until all ranks have ended a phase, and returns how the first one has ended it, and
    /// whether a signal has come to any rank.
    pub(super) fn end_together(
        &self,
        phase: &Phase,
        end: PhaseEnd,
    ) -> Result<(PhaseEnd, bool), RunError> {
        let message = match end {
            PhaseEnd::Stopped => STOPPED,
            PhaseEnd::Finished => &[],
        };
        let moment = format!("the end of phase `{}`", phase.name);
        let exchange = self.exchange(&moment, message)?;
        let end = match exchange.messages[0] == STOPPED {
            true => PhaseEnd::Stopped,
            false => PhaseEnd::Finished,
        };
        Ok((end, exchange.stop))
    }

    fn exchange(
        &self,
        moment: &str,
        message: &[u8],
    ) -> Result<compute::ranks::Exchange, nodes::Error> {
        let stop = self.stop.load(Ordering::Relaxed);
        self.ranks.exchange_patiently(moment, message, stop)
    }
}
