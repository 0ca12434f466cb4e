//! `pipeline inspect MODEL [--format text|json]`
use crate::{Format, Outcome, print};
use nodes::tool::inspect::inspect;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Arguments {
    /// The model's folder
    model: PathBuf,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

impl Arguments {
    pub fn run(self) -> Outcome {
        let found = inspect(&self.model)?;
        print(&match self.format {
            Format::Text => format!("{found}\n"),
            Format::Json => format!("{}\n", serde_json::to_string_pretty(&found)?),
        })
    }
}
