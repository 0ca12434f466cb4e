//! `pipeline compare RUN... [--format text|json|markdown]`: runs side by side, one column each.
mod run;
mod table;

use crate::ending::CommandResult;
use crate::print::{print, print_json};
use crate::table::{columns, markdown};
use nodes::data::printable::printable;
use run::read_run;
use std::collections::BTreeSet;
use std::path::PathBuf;
use table::table;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Folders of runs
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    format: ComparisonFormat,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum ComparisonFormat {
    Text,
    Json,
    Markdown,
}

impl Arguments {
    /// Reads every run and prints the comparison; reports all folders that hold no run.
    pub(crate) fn run(self) -> CommandResult {
        let mut runs = vec![];
        let mut errors = vec![];
        for folder in &self.runs {
            match read_run(folder) {
                Ok(run) => runs.push(run),
                Err(error) => errors.push(error.to_string()),
            }
        }
        if !errors.is_empty() {
            return Err(errors.join("\n").into());
        }
        for run in &runs {
            for warning in &run.warnings {
                eprintln!("warning: {} {warning}", run.run);
            }
        }
        let tables: BTreeSet<&String> = runs.iter().flat_map(|run| &run.probe_table).collect();
        if tables.len() > 1 {
            let paths: BTreeSet<&String> = runs.iter().flat_map(|run| &run.probe_labels).collect();
            let tables: Vec<_> = paths.into_iter().map(|path| printable(path)).collect();
            eprintln!(
                "warning: the runs were probed on different tables, so their probes do not compare: {}",
                tables.join(", ")
            );
        }
        match self.format {
            ComparisonFormat::Text => print(&columns(&table(&runs))),
            ComparisonFormat::Json => print_json(&runs),
            ComparisonFormat::Markdown => print(&markdown(&table(&runs))),
        }
    }
}
