//! `pipeline probe MODEL --labels FILE [--layers all|0,4] [--format text|json]`: how well each layer tells phones.
use crate::table::columns;
use crate::{Format, Outcome, device, print};
use nodes::tool::probe::{Found, probe};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Arguments {
    /// The model's folder
    model: PathBuf,
    /// A table of utterances, speakers, splits and phones
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    labels: PathBuf,
    /// Layers, by number: 0,4,8; or all
    #[arg(long, default_value = "all", value_parser = layers)]
    layers: Layers,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    device: device::Arguments,
}

/// None: all of them.
#[derive(Clone)]
struct Layers(Option<Vec<usize>>);

fn layers(text: &str) -> Result<Layers, String> {
    if text == "all" {
        return Ok(Layers(None));
    }
    let numbers = text.split(',').map(|n| {
        n.parse()
            .map_err(|_| format!("`{n}` is no number of a layer"))
    });
    numbers
        .collect::<Result<_, _>>()
        .map(|numbers| Layers(Some(numbers)))
}

impl Arguments {
    pub fn run(self) -> Outcome {
        self.device.choose()?;
        let found = probe(&self.model, &self.labels, self.layers.0)?;
        print(&match self.format {
            Format::Text => text(&found),
            Format::Json => format!("{}\n", serde_json::to_string_pretty(&found)?),
        })
    }
}

/// Per cent of frames, a row a layer; first what a classifier without input would reach.
fn text(found: &Found) -> String {
    let row = |name: String, of: &dyn Fn(&str) -> String| -> Vec<String> {
        std::iter::once(name)
            .chain(found.frames.keys().map(|split| of(split)))
            .collect()
    };
    let share = |x: f64| format!("{:.1}", 100.0 * x);
    let mut rows = vec![
        row("layer".into(), &str::to_owned),
        row("frames".into(), &|split| found.frames[split].to_string()),
        row("constant".into(), &|split| share(found.constant[split])),
    ];
    rows.extend(
        found
            .layers
            .iter()
            .map(|l| row(l.layer.to_string(), &|split| share(l.accuracy[split]))),
    );
    columns(&rows)
}
