//! The state of a run in one file, so that it is there whole or not at all: weights and moments of every parameter, and
//! which update they belong to. Nothing else has a state (see `random.rs`).
use super::Moments;
use crate::Result;
use crate::data::file;
use crate::node::step::Step;
use compute::tensor::{len, param, read};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// `<phase>-<update, 8 digits>.safetensors`
fn name(folder: &Path, phase: &str, update: u64) -> PathBuf {
    folder.join(format!("{phase}-{update:08}.safetensors"))
}

pub fn write(
    folder: &Path,
    update: u64,
    moments: &BTreeMap<String, Moments>,
    step: &mut Step,
) -> Result<()> {
    let (head, context) = (step.info, step.context);
    let next = update * context.run.clock.accumulate;
    let about = [
        ("phase", context.run.phase.clone()),
        ("update", update.to_string()),
        ("next_step", next.to_string()),
        ("epoch", head.epoch.to_string()),
        ("batch", head.batch.to_string()),
        ("graph", context.run.graph.clone()),
    ];
    let parameters = step.parameters();
    let mut tensors: Vec<file::Tensor> = vec![];
    let zeros = vec![
        0.0;
        parameters
            .iter()
            .map(|(_, p)| len(&*p.weight))
            .max()
            .unwrap_or(0)
    ];
    for (node, p) in &parameters {
        let (name, values) = (format!("{node}.{}", p.name), read(&*p.weight));
        // A parameter that has not moved has no moments yet.
        let none = || [(); 2].map(|_| Cow::from(&zeros[..values.len()]));
        let [m, v] = moments.get(&name).map_or_else(none, Moments::read);
        for (kind, values) in [("weight", values), ("m", m), ("v", v)] {
            tensors.push((format!("{kind}.{name}"), p.shape.clone(), values));
        }
    }
    let about = about.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    file::save(&name(folder, &context.run.phase, update), &tensors, about)
}

/// Puts the weights back and returns the moments.
pub fn restore(path: &Path, step: &mut Step) -> Result<BTreeMap<String, Moments>> {
    let mut there = file::load(path)?;
    let mut moments = BTreeMap::new();
    for (node, p) in step.parameters() {
        let name = format!("{node}.{}", p.name);
        let mut take = |kind: &str| match there.remove(&format!("{kind}.{name}")) {
            Some((shape, values)) if shape == p.shape => Ok(values),
            Some((shape, _)) => Err(format!(
                "{}: `{kind}.{name}` is {shape:?}, not {:?}",
                path.display(),
                p.shape
            )),
            None => Err(format!("{}: there is no `{kind}.{name}`", path.display())),
        };
        let (weight, m, v) = (take("weight")?, take("m")?, take("v")?);
        *p.weight = param(weight);
        moments.insert(name, Moments::new(m, v));
    }
    Ok(moments)
}

/// Leaves the newest `keep` of this phase and the last of each other one.
pub fn tidy(folder: &Path, phase: &str, keep: u64) {
    let mut all = found(folder);
    all.sort();
    for of in all.chunk_by(|a, b| a.0 == b.0) {
        let keep = if of[0].0 == phase { keep as usize } else { 1 };
        of.iter()
            .rev()
            .skip(keep)
            .for_each(|(.., path)| drop(std::fs::remove_file(path)));
    }
}

/// Phase, update and path of every checkpoint in a folder.
pub fn found(folder: &Path) -> Vec<(String, u64, PathBuf)> {
    let of = |path: PathBuf| {
        let (phase, update) = path
            .file_name()?
            .to_str()?
            .strip_suffix(".safetensors")?
            .rsplit_once('-')?;
        Some((phase.to_owned(), update.parse().ok()?, path.clone()))
    };
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| of(e.path()))
        .collect()
}
