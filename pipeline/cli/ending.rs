//! How a command ends: one error type, which decides the message on stderr and the exit code.
use nodes::data::printable::printable_path;
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::path::Path;

/// Exit code of a command that failed.
pub(crate) const FAILED: i32 = 1;
/// Exit code after Ctrl-C.
pub(crate) const INTERRUPTED: i32 = 130;
/// Exit code after a scheduler's signal: the job can be queued again.
pub(crate) const REQUEUE: i32 = 75;

/// Why a command did not succeed.
pub(crate) enum CommandError {
    /// The command line asks for something impossible.
    Usage(String),
    /// The graph has problems, one a line.
    InvalidGraph(String),
    /// The command failed while it ran.
    Failed(String),
    /// The command found damaged files and has printed their names.
    Damaged,
    /// A signal ended the command; the exit code is that of the signal.
    Interrupted { exit_code: i32 },
}

/// What every subcommand returns.
pub(crate) type CommandResult = Result<(), CommandError>;

/// How the process ends: its exit code, and a message for stderr, empty if there is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ending {
    pub(crate) exit_code: i32,
    pub(crate) message: String,
}

impl Ending {
    /// Returns how the process ends after the result of a command.
    pub(crate) fn of(result: &CommandResult) -> Ending {
        match result {
            Ok(()) => Ending::default(),
            Err(error) => Ending {
                exit_code: error.exit_code(),
                message: error.message().trim_end().to_owned(),
            },
        }
    }

    /// Returns whether the command failed; a signal is no failure.
    pub(crate) fn has_failed(&self) -> bool {
        ![0, REQUEUE, INTERRUPTED].contains(&self.exit_code)
    }
}

/// Refuses to write a file where a folder is.
pub(crate) fn refuse_folder(out: &Path) -> CommandResult {
    if out.is_dir() {
        let out = printable_path(out);
        return Err(CommandError::Usage(format!("{out} is a folder")));
    }
    Ok(())
}

impl CommandError {
    /// Returns the exit code of the process.
    pub(crate) fn exit_code(&self) -> i32 {
        match self {
            CommandError::Failed(_) | CommandError::Damaged => FAILED,
            CommandError::Usage(_) => 2,
            CommandError::InvalidGraph(_) => 78,
            CommandError::Interrupted { exit_code } => *exit_code,
        }
    }

    /// Returns the text for stderr; empty if everything has been printed already.
    pub(crate) fn message(&self) -> &str {
        match self {
            CommandError::Usage(message)
            | CommandError::InvalidGraph(message)
            | CommandError::Failed(message) => message,
            CommandError::Damaged | CommandError::Interrupted { .. } => "",
        }
    }
}

impl<E: Display> From<E> for CommandError {
    fn from(error: E) -> CommandError {
        CommandError::Failed(error.to_string())
    }
}

/// Adds the path of a file or folder to an error.
pub(crate) trait WithPath<T> {
    /// Turns an error `E` into `PATH: E`.
    fn with_path(self, path: &Path) -> Result<T, String>;
}

impl<T, E: Display> WithPath<T> for Result<T, E> {
    fn with_path(self, path: &Path) -> Result<T, String> {
        self.map_err(|error| format!("{}: {error}", printable_path(path)))
    }
}
