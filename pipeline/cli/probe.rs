//! `pipeline probe MODEL|fbank --labels FILE [--layers all|0,4] [--format text|json]`: how well each
//! layer of a model, or log-mel frames, predict phones, or a label an utterance.
//!
//! Of a student in a run's folder it also measures teacher, log-mel frames and speed, and keeps the
//! numbers in the run's measured.json, which `compare` reads.
use crate::ending::CommandResult;
use crate::print::{print, print_json};
use crate::table::columns;
use crate::{Format, device, model_options, terminal};
use nodes::model::{UnknownKeys, read_architecture};
use nodes::node::contents::Contents;
use nodes::tool::layers::LayerChoice;
use nodes::tool::probe::{ProbeResult, probe, probe_fbank, real_time_factor};
use pipeline::report::measured::{Measured, StudentOfRun, student_of_run};
use serde_json::to_value;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A model's folder or checkpoint, a run's student (DIR/student, DIR/PHASE/student), or fbank: log-mel frames
    model: PathBuf,
    /// A table of utterances, speakers, splits, and phones or labels
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    labels: PathBuf,
    /// Layers: 0,4,8 or 0-4 or -1 (the last) or all
    #[arg(long, default_value = "all", allow_hyphen_values = true)]
    layers: LayerChoice,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    model_options: model_options::Arguments,
    #[command(flatten)]
    device: device::Arguments,
}

impl Arguments {
    /// Trains and measures a classifier on each layer.
    pub(crate) fn run(self) -> CommandResult {
        self.device.choose()?;
        if self.model == Path::new("fbank") {
            return self.show(&probe_fbank(&self.labels)?);
        }
        match student_of_run(&self.model) {
            // What a run keeps is of its student as its files say.
            Some(student) if !self.model_options.overrules() => self.measure(student),
            _ => self.show(&self.probe(&self.model)?),
        }
    }

    fn probe(&self, model: &Path) -> nodes::Result<ProbeResult> {
        probe(
            model,
            &self.model_options.options(),
            &self.labels,
            &self.layers,
            terminal::print_line,
        )
    }

    fn show(&self, found: &ProbeResult) -> CommandResult {
        match self.format {
            Format::Text => print(&text(found)),
            Format::Json => print_json(found),
        }
    }

    /// Measures a run's student beside its teacher and log-mel frames, and keeps the numbers.
    fn measure(&self, of_run: StudentOfRun) -> CommandResult {
        let student_probe = self.probe(&self.model)?;
        if self.layers.leaves_out(deepest_layer(&self.model)?) {
            // The best of some layers is not the student's best.
            terminal::print_line(
                "only some layers are probed, so the student is measured alone, and nothing is kept",
            );
            return self.show(&student_probe);
        }
        if !of_run.teacher.exists() {
            let teacher = of_run.teacher.display();
            terminal::print_line(&format!(
                "warning: {teacher} is not there, so the student is measured alone"
            ));
            return self.show(&student_probe);
        }
        let mut teacher_options = of_run.teacher_options;
        let own = self.model_options.options();
        teacher_options.ignore_keys.extend(own.ignore_keys.clone());
        let measured = Measured {
            student_hash: Some(Contents::Files.hash(&self.model)?),
            labels_hash: Some(Contents::Files.hash(&self.labels)?),
            labels: self.labels.clone(),
            student_probe,
            teacher_probe: probe(
                &of_run.teacher,
                &teacher_options,
                &self.labels,
                &LayerChoice::all(),
                terminal::print_line,
            )?,
            fbank_probe: probe_fbank(&self.labels)?,
            real_time_factor: real_time_factor(&self.model, &own, &self.labels)?,
            teacher_real_time_factor: Some(real_time_factor(
                &of_run.teacher,
                &teacher_options,
                &self.labels,
            )?),
            student: of_run.student,
            teacher: of_run.teacher,
        };
        measured.write(&of_run.run)?;
        match self.format {
            Format::Text => {
                print(&text(&measured.student_probe))?;
                print(&comparison(&measured))
            }
            Format::Json => {
                let mut json = to_value(&measured.student_probe).map_err(nodes::Error::from)?;
                json["teacher"] = to_value(&measured.teacher_probe).map_err(nodes::Error::from)?;
                json["fbank"] = to_value(&measured.fbank_probe).map_err(nodes::Error::from)?;
                json["gain_kept"] = measured.gain_kept().into();
                json["real_time_factor"] = measured.real_time_factor.into();
                json["teacher_real_time_factor"] = measured.teacher_real_time_factor.into();
                print_json(&json)
            }
        }
    }
}

/// Returns the number of a model's last layer.
fn deepest_layer(model: &Path) -> nodes::Result<usize> {
    let architecture = read_architecture(model, UnknownKeys::Allow)?;
    Ok(architecture.num_hidden_layers)
}

/// Says in a sentence how the student stands between log-mel frames and its teacher.
fn comparison(measured: &Measured) -> String {
    let percent = |share: Option<f64>| match share {
        Some(share) => format!("{:.1}", 100.0 * share),
        None => "-".into(),
    };
    let teacher = measured.teacher_real_time_factor;
    let teacher = teacher.map_or(String::new(), |factor| {
        format!(", the teacher {factor:.4} s")
    });
    format!(
        "best layer: student {}, teacher {}, log-mel frames {}: {} % of the teacher's gain are kept; \
         {:.4} s of computation for a second of audio{teacher}\n",
        percent(measured.student_probe.best()),
        percent(measured.teacher_probe.best()),
        percent(measured.fbank_probe.best()),
        percent(measured.gain_kept()),
        measured.real_time_factor
    )
}

/// Formats the accuracies in per cent, a row for each layer and a column for each split.
///
/// The row `constant` is what a classifier without input reaches.
fn text(found: &ProbeResult) -> String {
    let measured = found.counts.measured();
    let row = |name: &str, cell: &dyn Fn(&str) -> String| -> Vec<String> {
        let mut row = vec![name.to_owned()];
        row.extend(measured.keys().map(|split| cell(split)));
        row
    };
    let percent = |share: f64| format!("{:.1}", 100.0 * share);
    let mut rows = vec![
        row("layer", &str::to_owned),
        row(found.counts.unit(), &|split| measured[split].to_string()),
        row("constant", &|split| percent(found.constant[split])),
    ];
    for layer in &found.layers {
        let name = layer.layer.to_string();
        rows.push(row(&name, &|split| percent(layer.accuracy[split])));
    }
    columns(&rows)
}
