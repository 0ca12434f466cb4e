//! `pipeline probe MODEL --labels FILE [--layers all|0,4] [--format text|json]`: how well each
//! layer of a model predicts phones.
use crate::ending::CommandResult;
use crate::print::{print, print_json};
use crate::table::columns;
use crate::{Format, device};
use nodes::tool::probe::{ProbeResult, probe};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The model's folder
    model: PathBuf,
    /// A table of utterances, speakers, splits and phones
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    labels: PathBuf,
    /// Layers, by number: 0,4,8; or all
    #[arg(long, default_value = "all", value_parser = parse_layers)]
    layers: ProbedLayers,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Keys of config.json that change no hidden state, though this version does not know them
    #[arg(long, value_delimiter = ',', value_name = "KEY,KEY")]
    ignore_keys: Vec<String>,
    #[command(flatten)]
    device: device::Arguments,
}

/// The layers to probe; `None` means all. (A plain `Option` would make the argument optional.)
#[derive(Clone)]
struct ProbedLayers(Option<Vec<usize>>);

fn parse_layers(text: &str) -> Result<ProbedLayers, String> {
    if text == "all" {
        return Ok(ProbedLayers(None));
    }
    let mut layers = vec![];
    for number in text.split(',') {
        let layer = number.parse();
        layers.push(layer.map_err(|_| format!("`{number}` is not the number of a layer"))?);
    }
    Ok(ProbedLayers(Some(layers)))
}

impl Arguments {
    /// Trains and measures a classifier on each layer.
    pub(crate) fn run(self) -> CommandResult {
        self.device.choose()?;
        let found = probe(&self.model, &self.ignore_keys, &self.labels, self.layers.0)?;
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
