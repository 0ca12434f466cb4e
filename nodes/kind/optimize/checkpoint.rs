//! The state of a run in one file, written atomically: weights and moments of every parameter, and
//! the update they belong to, and the weights of the best dev pass. Nothing else has a state (see
//! [`compute::random`]).
use super::best::{BEST, BestPass};
use crate::Result;
use crate::data::error::PathContext;
use crate::data::file::{self, TensorError, Verified};
use crate::node::step::Step;
use compute::adamw::Moments;
use compute::tensor::{len, param, read};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// What a checkpoint has of each parameter.
const KINDS: [&str; 3] = ["weight", "m", "v"];

/// What a checkpoint holds beside weights.
#[derive(Default)]
pub(super) struct State {
    /// By `node.parameter`.
    pub(super) moments: BTreeMap<String, Moments>,
    pub(super) best: Option<BestPass>,
}

impl State {
    /// Returns the moments of all parameters by name. Those of the parameters in `lengths`, the
    /// numbers that each has, begin as zeros.
    pub(super) fn moments_of_all<'a>(
        &mut self,
        lengths: impl Iterator<Item = (&'a String, usize)>,
    ) -> HashMap<&str, &mut Moments> {
        for (name, len) in lengths {
            let zeros = || Moments::zeros(len);
            self.moments.entry(name.clone()).or_insert_with(zeros);
        }
        let moments = self.moments.iter_mut();
        moments
            .map(|(name, moments)| (name.as_str(), moments))
            .collect()
    }
}

/// Returns `<folder>/<phase>-<update, 8 digits>.safetensors`.
fn path(folder: &Path, phase: &str, update: u64) -> PathBuf {
    folder.join(format!("{phase}-{update:08}.safetensors"))
}

/// Writes the checkpoint after update `update` into `folder`.
pub(super) fn write(folder: &Path, update: u64, state: &State, step: &mut Step) -> Result<()> {
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
    let of_best = state.best.iter().flat_map(BestPass::metadata);
    let metadata = metadata
        .into_iter()
        .chain(of_best)
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
        let [m, v] = match state.moments.get(&name) {
            Some(moments) => moments.read(),
            None => [(); 2].map(|_| Cow::from(&zeros[..weight.len()])),
        };
        for (kind, values) in KINDS.into_iter().zip([weight, m, v]) {
            let shape = parameter.shape.clone();
            tensors.push((format!("{kind}.{name}"), shape, values));
        }
    }
    tensors.extend(state.best.iter().flat_map(BestPass::tensors));
    file::save(&path, &tensors, metadata)
}

/// Restores the weights from a checkpoint and returns the rest of it.
///
/// # Errors
/// The file cannot be read, or a parameter's tensor is missing or has another shape.
pub(super) fn restore(path: &Path, step: &mut Step) -> Result<State> {
    let mut tensors = file::Tensors::read(path)?;
    let best = BestPass::take(&mut tensors, step)?;
    let mut moments = BTreeMap::new();
    for (node, parameter) in step.parameters() {
        let name = format!("{node}.{}", parameter.name);
        let mut take = |kind: &str| tensors.take(&format!("{kind}.{name}"), &parameter.shape);
        let weight = take("weight")?;
        let m = take("m")?;
        let v = take("v")?;
        *parameter.weight = param(weight);
        moments.insert(name, Moments::new(m, v));
    }
    Ok(State { moments, best })
}

/// What [`check`] finds in a checkpoint.
pub enum Condition {
    /// Its bytes are those that were written.
    Right,
    /// It has no checksum: an earlier version wrote it.
    Unchecked,
    /// Its bytes are others; says which.
    Damaged(String),
}

/// Reads the checkpoint after update `update` of `phase` to its end and compares it with its
/// checksum.
///
/// # Errors
/// The file cannot be read; it may be right.
pub fn check(path: &Path, phase: &str, update: u64) -> Result<Condition> {
    let verified = match file::verify(path) {
        Ok(verified) => verified,
        Err(TensorError::Damaged(reason)) => return Ok(Condition::Damaged(reason)),
        Err(TensorError::Io(error)) => return Err(error).at(path),
    };
    let differs = |key: &str, value: &str| verified.metadata.get(key).is_some_and(|v| v != value);
    if differs("phase", phase) || differs("update", &update.to_string()) {
        let reason = "its metadata are of another update than its name";
        return Ok(Condition::Damaged(reason.to_owned()));
    }
    if let Some(name) = unpaired(&verified) {
        return Ok(Condition::Damaged(format!(
            "`{name}` lacks its weight or its moments"
        )));
    }
    Ok(if verified.has_checksum {
        Condition::Right
    } else {
        Condition::Unchecked
    })
}

/// Returns a tensor without its counterparts: each parameter has a weight and two moments of one
/// shape, and may have a best weight. The checksum does not cover names.
fn unpaired(verified: &Verified) -> Option<&str> {
    let shapes = &verified.shapes;
    let is_paired = |name: &str, shape: &Vec<usize>| {
        let Some((kind, parameter)) = name.split_once('.') else {
            return false;
        };
        (KINDS.contains(&kind) || kind == BEST)
            && KINDS
                .iter()
                .all(|kind| shapes.get(&format!("{kind}.{parameter}")) == Some(shape))
    };
    let mut unpaired = shapes
        .iter()
        .filter(|(name, shape)| !is_paired(name, shape));
    unpaired.next().map(|(name, _)| name.as_str())
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
    for path in files(folder) {
        if let Some((phase, update)) = path.to_str().and_then(phase_and_update) {
            checkpoints.push((phase, update, path));
        }
    }
    checkpoints
}

/// Returns the damaged checkpoints of a folder that were set aside.
pub fn found_damaged(folder: &Path) -> Vec<PathBuf> {
    let is_damaged = |path: &PathBuf| {
        let name = path.to_str().and_then(|path| path.strip_suffix(".damaged"));
        name.and_then(phase_and_update).is_some()
    };
    files(folder).filter(is_damaged).collect()
}

/// Whether a file of this name is a checkpoint.
pub fn is_name(name: &str) -> bool {
    phase_and_update(name).is_some()
}

fn files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

fn phase_and_update(path: &str) -> Option<(String, u64)> {
    let name = Path::new(path).file_name()?.to_str()?;
    let (phase, update) = name.strip_suffix(".safetensors")?.rsplit_once('-')?;
    Some((phase.to_owned(), update.parse().ok()?))
}
