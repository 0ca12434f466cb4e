//! `pipeline inspect MODEL [--format text|json]`
use crate::Format;
use crate::ending::CommandResult;
use crate::print::{print, print_json};
use nodes::tool::inspect::inspect;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The model's folder or checkpoint
    model: PathBuf,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

impl Arguments {
    /// Prints the architecture and the size of the model.
    pub(crate) fn run(self) -> CommandResult {
        let inspected = inspect(&self.model)?;
        match self.format {
            Format::Text => print(&format!("{inspected}\n")),
            Format::Json => print_json(&inspected),
        }
    }
}
