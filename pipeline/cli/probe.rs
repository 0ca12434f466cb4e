//! `pipeline probe MODEL --labels FILE [--layers all|0,4] [--format text|json]`: how well each
//! layer of a model predicts phones.
use crate::ending::CommandResult;
use crate::print::{print, print_json};
use crate::table::columns;
use crate::{Format, device};
use nodes::tool::layers::LayerChoice;
use nodes::tool::probe::{ProbeResult, probe};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The model's folder
    model: PathBuf,
    /// A table of utterances, speakers, splits and phones
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    labels: PathBuf,
    /// Layers: 0,4,8 or 0-4 or -1 (the last) or all
    #[arg(long, default_value = "all", allow_hyphen_values = true)]
    layers: LayerChoice,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Keys of config.json that change no hidden state, though this version does not know them
    #[arg(long, value_delimiter = ',', value_name = "KEY,KEY")]
    ignore_keys: Vec<String>,
    #[command(flatten)]
    device: device::Arguments,
}

impl Arguments {
    /// Trains and measures a classifier on each layer.
    pub(crate) fn run(self) -> CommandResult {
        self.device.choose()?;
        let found = probe(&self.model, &self.ignore_keys, &self.labels, &self.layers)?;
        match self.format {
            Format::Text => print(&text(&found)),
            Format::Json => print_json(&found),
        }
    }
}

/// Formats the accuracies in per cent of frames, a row for each layer and a column for each split.
///
/// The row `constant` is what a classifier without input reaches.
fn text(found: &ProbeResult) -> String {
    let row = |name: String, cell: &dyn Fn(&str) -> String| -> Vec<String> {
        let mut row = vec![name];
        row.extend(found.frames.keys().map(|split| cell(split)));
        row
    };
    let percent = |share: f64| format!("{:.1}", 100.0 * share);
    let mut rows = vec![
        row("layer".into(), &str::to_owned),
        row("frames".into(), &|split| found.frames[split].to_string()),
        row("constant".into(), &|split| percent(found.constant[split])),
    ];
    for layer in &found.layers {
        let name = layer.layer.to_string();
        rows.push(row(name, &|split| percent(layer.accuracy[split])));
    }
    columns(&rows)
}
