//! Printing to stdout.
use crate::ending::CommandResult;
use serde::Serialize;
use std::io::{ErrorKind, Write};

/// Writes `text` to stdout. A reader that closes the pipe early is no error.
pub(crate) fn print(text: &str) -> CommandResult {
    let mut stdout = std::io::stdout();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Writes `value` to stdout as indented JSON, with a newline at the end.
pub(crate) fn print_json(value: &impl Serialize) -> CommandResult {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}
