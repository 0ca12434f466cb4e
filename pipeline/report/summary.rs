//! What a run did, phase by phase, from its plan, its metrics and the models that it wrote.
use super::distance::distance_ends;
use super::models::{gated_architecture, teacher, written_teacher};
use super::values::{ends, finite_values};
use super::written::written_models;
use crate::graph::plan::Plan;
use nodes::chart::curves;
use nodes::node::SummaryMetric;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// What a phase did, as run.json records it.
#[derive(Clone, Serialize)]
pub struct Summary {
    pub phase: String,
    pub updates: u64,
    pub seconds: f64,
    /// Loss of the dev set, before the first and after the last update; NaN (in JSON null) where it
    /// was not finite.
    pub dev_loss: Option<[f64; 2]>,
    /// The distance from the target that the loss declares, of the dev set before the first and
    /// after the last update: 0 at best. Only a loss of L1 - cosine declares one, L1 + 1 - cosine.
    pub l1_and_cosine_distance: Option<[f64; 2]>,
    /// What the loss calls that distance.
    #[serde(skip)]
    pub distance_label: Option<&'static str>,
    /// Expected and target sparsity after the last update.
    pub sparsity: Option<[f64; 2]>,
    /// The share of parameters that the model with gates has lost, as it was written.
    pub written_sparsity: Option<f64>,
    /// Parameters of the phase's first teacher.
    pub teacher_parameters: Option<u64>,
    /// Hours of audio trained on; a batch that was used twice counts twice.
    pub audio_hours: Option<f64>,
    /// Median seconds of an update.
    pub step_seconds: Option<f64>,
    /// Losses of the dev set after the last update, by their names in metrics.jsonl without
    /// `dev/`.
    pub dev_losses: BTreeMap<String, f64>,
    /// Parameters before and after, of each node that wrote a model.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, [Option<u64>; 2]>,
}

/// Returns the summary of each phase of a run.
pub fn read(plan: &Plan, run: &Path, metrics: &[curves::PhaseCurves]) -> Vec<Summary> {
    let models = written_models(plan, run, |folder| {
        element_count(&folder.join("model.safetensors"))
    });
    let mut summaries = vec![];
    for (phase, models) in plan.phases.iter().zip(models) {
        let mut parameters = BTreeMap::new();
        let mut written_sparsity = None;
        for model in models {
            let before = model.earlier.or(model.node.info.parameters);
            if let (Some(before), Some(after)) = (before, model.after)
                && gated_architecture(model.node).is_some()
            {
                written_sparsity = Some(1.0 - after as f64 / before as f64);
            }
            parameters.insert(model.node.name().to_owned(), [before, model.after]);
        }
        let distance = phase.nodes.iter().find_map(|node| node.config.summary());
        summaries.push(Summary {
            written_sparsity,
            teacher_parameters: written_teacher(plan, phase, run)
                .and_then(|folder| element_count(&folder.join("model.safetensors")))
                .or_else(|| teacher(phase)?.info.parameters),
            ..Summary::new(&phase.name, metrics, parameters, distance)
        });
    }
    summaries
}

/// Reads the metrics.jsonl of a run, phase by phase; empty if the file is missing.
pub fn metrics(run: &Path) -> Vec<curves::PhaseCurves> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl"));
    curves::read(&text.unwrap_or_default())
}

impl Summary {
    /// Sums up the phase called `name`, which may have no metrics yet. `distance` is what its loss
    /// declares.
    pub fn new(
        name: &str,
        metrics: &[curves::PhaseCurves],
        parameters: BTreeMap<String, [Option<u64>; 2]>,
        distance: Option<SummaryMetric>,
    ) -> Summary {
        let empty = curves::PhaseCurves::default();
        let phase = metrics.iter().find(|phase| phase.name == name);
        let phase = phase.unwrap_or(&empty);
        let updates = phase.curves.values().flatten().map(|(update, _)| *update);
        let last_value = |name: &str| finite_values(phase, name).last().copied();
        let expected_sparsity = last_value("sparsity_expected");
        let target_sparsity = last_value("sparsity_target");
        let audio_seconds = finite_values(phase, "audio_seconds");
        let audio_hours = audio_seconds.iter().sum::<f64>() / 3600.0;
        Summary {
            phase: name.into(),
            updates: updates.max().unwrap_or(0),
            seconds: phase.times[1] - phase.times[0],
            dev_loss: ends(phase, "dev/loss"),
            l1_and_cosine_distance: distance.as_ref().and_then(|d| distance_ends(d, phase)),
            distance_label: distance.map(|d| d.label),
            sparsity: expected_sparsity
                .zip(target_sparsity)
                .map(|(expected, target)| [expected, target]),
            audio_hours: (!audio_seconds.is_empty()).then_some(audio_hours),
            step_seconds: median(&step_seconds(phase)),
            dev_losses: last_dev_losses(phase),
            written_sparsity: None,
            teacher_parameters: None,
            parameters,
        }
    }
}

/// Returns the seconds of each update, sorted.
fn step_seconds(phase: &curves::PhaseCurves) -> Vec<f64> {
    let audio_seconds = finite_values(phase, "audio_seconds");
    let audio_per_second = finite_values(phase, "audio_per_second");
    let mut seconds: Vec<f64> = audio_seconds
        .iter()
        .zip(&audio_per_second)
        .map(|(seconds, speed)| seconds / speed)
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds
}

fn last_dev_losses(phase: &curves::PhaseCurves) -> BTreeMap<String, f64> {
    let mut losses = BTreeMap::new();
    for metric in phase.curves.keys() {
        let Some(name) = metric.strip_prefix("dev/") else {
            continue;
        };
        if name.contains("loss")
            && let Some([_, last]) = ends(phase, metric)
        {
            losses.insert(name.to_owned(), last);
        }
    }
    losses
}

/// Returns the median of sorted numbers; `None` of an empty slice.
pub fn median(sorted: &[f64]) -> Option<f64> {
    let count = sorted.len();
    if count == 0 {
        return None;
    }
    Some((sorted[(count - 1) / 2] + sorted[count / 2]) / 2.0)
}

/// Counts the elements of a safetensors file from its header: 8 bytes of length, then JSON.
fn element_count(path: &Path) -> Option<u64> {
    let mut file = std::fs::File::open(path).ok()?;
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let mut header = vec![];
    let mut rest = file.take(u64::from_le_bytes(length));
    rest.read_to_end(&mut header).ok()?;
    let header: serde_json::Map<String, Value> = serde_json::from_slice(&header).ok()?;
    let mut count = 0;
    for tensor in header.values() {
        if let Some(shape) = tensor["shape"].as_array() {
            count += shape.iter().filter_map(Value::as_u64).product::<u64>();
        }
    }
    Some(count)
}
