//! The state of a run in one file, written atomically: weights and moments of every parameter, and
//! the update they belong to. Nothing else has a state (see [`compute::random`]).
use crate::Result;
use crate::data::error::error_at;
use crate::data::file;
use crate::node::step::Step;
use compute::adamw::Moments;
use compute::tensor::{len, param, read};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Returns `<folder>/<phase>-<update, 8 digits>.safetensors`.
fn path(folder: &Path, phase: &str, update: u64) -> PathBuf {
    folder.join(format!("{phase}-{update:08}.safetensors"))
}

/// Writes the checkpoint after update `update` into `folder`.
pub fn write(
    folder: &Path,
    update: u64,
    moments: &BTreeMap<String, Moments>,
    step: &mut Step,
) -> Result<()> {
    let info = step.info;
    let run = &step.context.run;
    let next_step = update * run.clock.accumulate;
    let metadata = [
        ("phase", run.phase.clone()),
        ("update", update.to_string()),
        ("next_step", next_step.to_string()),
        ("epoch", info.epoch.to_string()),
        ("batch", info.batch.to_string()),
        ("graph", run.graph.clone()),
    ];
    let metadata = metadata
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    let path = path(folder, &run.phase, update);
    let parameters = step.parameters();
    let lengths = parameters.iter().map(|(_, p)| len(&*p.weight));
    let zeros = vec![0.0; lengths.max().unwrap_or(0)];
    let mut tensors: Vec<file::Tensor> = vec![];
    for (node, parameter) in &parameters {
        let name = format!("{node}.{}", parameter.name);
        let weight = read(&*parameter.weight);
        let [m, v] = match moments.get(&name) {
            Some(moments) => moments.read(),
            None => [(); 2].map(|_| Cow::from(&zeros[..weight.len()])),
        };
        for (kind, values) in [("weight", weight), ("m", m), ("v", v)] {
            let shape = parameter.shape.clone();
            tensors.push((format!("{kind}.{name}"), shape, values));
        }
    }
    file::save(&path, &tensors, metadata)
}

/// Restores the weights from a checkpoint and returns the moments.
///
/// # Errors
/// The file cannot be read, or a parameter's tensor is missing or has another shape.
pub fn restore(path: &Path, step: &mut Step) -> Result<BTreeMap<String, Moments>> {
    let mut tensors = file::load(path)?;
    let mut moments = BTreeMap::new();
    for (node, parameter) in step.parameters() {
        let name = format!("{node}.{}", parameter.name);
        let mut take = |kind: &str| match tensors.remove(&format!("{kind}.{name}")) {
            Some((shape, values)) if shape == parameter.shape => Ok(values),
            Some((shape, _)) => {
                let expected = &parameter.shape;
                let message = format!("`{kind}.{name}` is {shape:?}, not {expected:?}");
                Err(error_at(path, message))
            }
            None => Err(error_at(path, format!("there is no `{kind}.{name}`"))),
        };
        let weight = take("weight")?;
        let m = take("m")?;
        let v = take("v")?;
        *parameter.weight = param(weight);
        moments.insert(name, Moments::new(m, v));
    }
    Ok(moments)
}

/// Removes all checkpoints except the newest `keep` of this phase and the last of every other.
pub fn remove_old(folder: &Path, phase: &str, keep: u64) {
    let mut checkpoints = found(folder);
    checkpoints.sort();
    for of_phase in checkpoints.chunk_by(|a, b| a.0 == b.0) {
        let keep = if of_phase[0].0 == phase {
            keep as usize
        } else {
            1
        };
        for (_, _, path) in of_phase.iter().rev().skip(keep) {
            let _ = std::fs::remove_file(path); // an old checkpoint does no harm
        }
    }
}

/// Returns phase, update and path of every checkpoint in a folder.
pub fn found(folder: &Path) -> Vec<(String, u64, PathBuf)> {
    let mut checkpoints = vec![];
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if let Some((phase, update)) = phase_and_update(&path) {
            checkpoints.push((phase, update, path));
        }
    }
    checkpoints
}

fn phase_and_update(path: &Path) -> Option<(String, u64)> {
    let name = path.file_name()?.to_str()?.strip_suffix(".safetensors")?;
    let (phase, update) = name.rsplit_once('-')?;
    Some((phase.to_owned(), update.parse().ok()?))
}
