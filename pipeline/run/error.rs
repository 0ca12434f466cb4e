//! How a run, a phase and a step end, and why they fail.
use nodes::Error;
use thiserror::Error as ThisError;

/// How a run ended.
pub enum RunOutcome {
    Finished,
    /// The folder held a finished run.
    AlreadyFinished,
    /// A signal stopped it, after a checkpoint.
    Stopped,
}

/// Why a run failed.
#[derive(Debug, ThisError)]
pub enum RunError {
    /// The folder holds a run, and resuming was not asked for.
    #[error("{0}")]
    FolderInUse(String),
    #[error("{0}")]
    Failed(String),
}

impl From<Error> for RunError {
    fn from(error: Error) -> RunError {
        RunError::Failed(error.to_string())
    }
}

impl From<NodeError> for RunError {
    fn from(error: NodeError) -> RunError {
        RunError::Failed(error.to_string())
    }
}

/// How a phase ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaseEnd {
    /// After its last step.
    Finished,
    /// Before its last step: a signal came, or the watcher had seen enough.
    Stopped,
}

/// A node's failure, panics included.
#[derive(Debug, ThisError)]
#[error("node `{node}`: {error}")]
pub struct NodeError {
    pub node: String,
    pub error: Error,
}

/// Why a stage makes no further step.
pub enum StepError {
    /// A signal came, or a neighbouring stage is gone and reports why itself.
    Stopped,
    Failed(NodeError),
}

impl From<NodeError> for StepError {
    fn from(error: NodeError) -> StepError {
        StepError::Failed(error)
    }
}
