//! A run that is compared: what its folder says of it.
use crate::ending::WithPath;
use nodes::KINDS;
use nodes::data::printable::printable_path;
use nodes::model::{UnknownKeys, read_architecture};
use nodes::node::SummaryMetric;
use pipeline::graph::spec::cache::CACHE_KEYS;
use pipeline::report::measured::Measured;
use pipeline::report::models::ModelSize;
use pipeline::report::recorded::{RecordedPhase, recorded_phases};
use pipeline::report::summary::{Summary, metrics};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// A run as `--format json` prints it.
#[derive(Serialize)]
pub(super) struct ComparedRun {
    /// The run's folder, as typed.
    pub(super) run: String,
    /// The graph's name.
    pub(super) graph: String,
    pub(super) finished: bool,
    /// Peak memory of the process that finished the run.
    pub(super) peak_bytes: Option<u64>,
    /// The graph's name, as `graph`.
    pub(super) name: String,
    /// Of the student that the last phase wrote.
    pub(super) parameters: Option<u64>,
    pub(super) macs: Option<u64>,
    /// Parameters of the student and of the heads beside it.
    pub(super) with_heads: Option<u64>,
    /// Seconds that the student computes for a second of audio.
    pub(super) real_time_factor: Option<f64>,
    /// The same of its teacher.
    pub(super) teacher_real_time_factor: Option<f64>,
    /// Of the last phase's first teacher, once the run is finished.
    pub(super) teacher_parameters: Option<u64>,
    /// From the first line of each phase's metrics to its last, dev passes and pauses included.
    pub(super) seconds: f64,
    /// Of all phases.
    pub(super) updates: u64,
    pub(super) audio_hours: Option<f64>,
    /// Median seconds of an update of the last phase.
    pub(super) step_seconds: Option<f64>,
    /// The last dev loss of the last phase.
    pub(super) dev: Option<f64>,
    /// Share of the frames whose phone the student's best layer predicts.
    pub(super) probe: Option<f64>,
    /// The table of phones or labels that the student was probed on.
    pub(super) probe_labels: Option<String>,
    /// Share of the teacher's gain over log-mel frames that the student keeps.
    pub(super) gain_kept: Option<f64>,
    /// Sizes by node, of the model that the last phase wrote.
    pub(super) models: BTreeMap<String, ModelSize>,
    pub(super) phases: Vec<Summary>,
    /// What the table contains, or where it is if that is not known.
    #[serde(skip)]
    pub(super) probe_table: Option<String>,
    /// Warnings for the reader of the comparison.
    #[serde(skip)]
    pub(super) warnings: Vec<String>,
}

/// Reads a run's folder. A phase that has not started has 0 updates.
pub(super) fn read_run(folder: &Path) -> nodes::Result<ComparedRun> {
    let file = folder.join("run.json");
    if !file.exists() {
        let folder = printable_path(folder);
        return Err(format!("{folder}: holds no run: there is no run.json").into());
    }
    let text = std::fs::read_to_string(&file).with_path(&file)?;
    let record = serde_json::from_str(&text).map_err(|error| format!("is damaged: {error}"));
    let record: Value = record.with_path(&file)?;
    let graph = record.get("graph").filter(|graph| graph.is_object());
    let graph = graph.ok_or("has no `graph`").with_path(&file)?;
    let metrics = metrics(folder);
    let phases = recorded_phases(graph, folder);
    let mut models = BTreeMap::new();
    for phase in &phases {
        let nodes = phase.nodes.as_object().into_iter().flatten();
        for (node, _) in nodes {
            if let Some(size) = model_size(&phase.folder.join(node))? {
                models.insert(node.clone(), size);
            }
        }
    }
    let summaries: Vec<Summary> = phases
        .iter()
        .map(|phase| {
            let distance = declared_distance(phase.nodes);
            let written = recorded_summary(&record, phase.name);
            Summary {
                written_sparsity: written["written_sparsity"].as_f64(),
                teacher_parameters: written["teacher_parameters"].as_u64(),
                ..Summary::new(phase.name, &metrics, BTreeMap::new(), distance)
            }
        })
        .collect();
    let student = phases.last().and_then(|phase| student_of(phase.nodes));
    let size = student.and_then(|student| models.get(student));
    let measured = match phases.last().zip(student) {
        Some((phase, student)) => {
            let student = phase.folder.join(student);
            Measured::read(folder, student.strip_prefix(folder).unwrap_or(&student))?
        }
        None => None,
    };
    let mut warnings = vec![];
    if record["finished"].is_null() {
        warnings.push("is not finished: this is what it has so far".to_owned());
    }
    if let Some(student) = student.filter(|_| size.is_none() && !record["finished"].is_null()) {
        warnings.push(format!("has lost its student `{student}`"));
    }
    let is_outdated = measured
        .as_ref()
        .is_some_and(|measured| measured.is_outdated(folder));
    if is_outdated {
        let message = "was probed before its student was trained on, so its probe is left out: probe it again";
        warnings.push(message.to_owned());
    }
    let measured = measured.filter(|_| !is_outdated);
    let measured = measured.as_ref();
    let last = summaries.last();
    let name = graph["name"].as_str().unwrap_or_default();
    Ok(ComparedRun {
        run: folder.display().to_string(),
        graph: name.to_owned(),
        name: name.to_owned(),
        finished: !record["finished"].is_null(),
        peak_bytes: record["peak_bytes"].as_u64(),
        parameters: size.map(|size| size.parameters),
        macs: size.map(|size| size.macs),
        with_heads: match (size, phases.last()) {
            (Some(size), Some(phase)) => Some(size.parameters + head_parameters(phase)?),
            _ => None,
        },
        real_time_factor: measured.map(|measured| measured.real_time_factor),
        teacher_real_time_factor: measured.and_then(|measured| measured.teacher_real_time_factor),
        teacher_parameters: last.and_then(|summary| summary.teacher_parameters),
        seconds: summaries.iter().map(|summary| summary.seconds).sum(),
        updates: summaries.iter().map(|summary| summary.updates).sum(),
        audio_hours: summaries.iter().map(|summary| summary.audio_hours).sum(),
        step_seconds: last.and_then(|summary| summary.step_seconds),
        dev: last.and_then(|summary| Some(summary.dev_loss?[1])),
        probe: measured.and_then(|measured| measured.student_probe.best()),
        probe_table: measured.map(|measured| match &measured.labels_hash {
            Some(hash) => hash.clone(),
            None => measured.labels.display().to_string(),
        }),
        probe_labels: measured.map(|measured| measured.labels.display().to_string()),
        gain_kept: measured.and_then(Measured::gain_kept),
        warnings,
        models,
        phases: summaries,
    })
}

/// Returns what run.json says of a phase that has ended; null of others.
fn recorded_summary<'a>(record: &'a Value, phase: &str) -> &'a Value {
    let mut phases = record["summary"].as_array().into_iter().flatten();
    let of_phase = phases.find(|summary| summary["phase"] == phase);
    of_phase.unwrap_or(&Value::Null)
}

/// Returns the name of the first student of a phase.
fn student_of(nodes: &Value) -> Option<&str> {
    let mut nodes = nodes.as_object()?.iter();
    nodes
        .find(|(_, node)| node["kind"] == "student")
        .map(|(name, _)| name.as_str())
}

/// Counts the parameters of the heads that a phase has written.
fn head_parameters(phase: &RecordedPhase) -> nodes::Result<u64> {
    let mut parameters = 0;
    for (node, _) in phase.nodes.as_object().into_iter().flatten() {
        let file = phase.folder.join(node).join("heads.safetensors");
        if file.exists() {
            let tensors = nodes::data::file::load(&file)?;
            let counts = tensors.values().map(|(_, values)| values.len() as u64);
            parameters += counts.sum::<u64>();
        }
    }
    Ok(parameters)
}

/// Returns the summary metric that a node of the phase declares; its options passed every check
/// when the run began.
fn declared_distance(nodes: &Value) -> Option<SummaryMetric> {
    for node in nodes.as_object()?.values() {
        let mut options = node.as_object()?.clone();
        for key in ["kind", "inputs"].iter().chain(&CACHE_KEYS) {
            options.remove(*key);
        }
        let kind = KINDS.iter().find(|kind| node["kind"] == kind.name)?;
        let config = (kind.parse)(options.into()).ok()?;
        if let Some(metric) = config.summary() {
            return Some(metric);
        }
    }
    None
}

/// Returns the size of the model in `folder`; `None` if the folder holds no model.
fn model_size(folder: &Path) -> nodes::Result<Option<ModelSize>> {
    if !folder.join("config.json").exists() {
        return Ok(None);
    }
    let architecture = read_architecture(folder, UnknownKeys::Allow)?;
    Ok(Some(ModelSize::new(&architecture)))
}
