//! metrics.jsonl: one value a line. `optimize` writes it in the thread that writes the checkpoint, so that the lines of a
//! checkpoint's updates are always there before it.
use crate::data::column;
use crate::data::column::{EPOCH, NAME, STEP, VALUE};
use crate::data::file;
use crate::node::NodeContext;
use crate::node::report::Progress;
use crate::node::step::{Step, StepInfo};
use crate::{Batch, Result};
use arrow::array::{ArrayRef, Float32Array, StringArray, UInt64Array};
use serde_json::{Value as Json, json};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

pub struct Metrics(File);

impl Metrics {
    /// Opens the file to append, after what is [`kept`] of it.
    pub fn open(context: &NodeContext) -> Result<Metrics> {
        let (path, text) = (path(context), read(context)?);
        let kept = kept(&text, context);
        if kept != text || !path.exists() {
            file::whole(&path, kept.as_bytes())?;
        }
        let file = File::options()
            .append(true)
            .open(&path)
            .map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Metrics(file))
    }

    pub fn write(&mut self, step: &Step, values: &[(String, f32)]) -> Result<()> {
        let now = now();
        let info = &step.info;
        let line = |(name, value): &(String, f32)| {
            let value = value.is_finite().then_some(*value as f64);
            let line = json!({ "phase": step.context.run.phase, "step": info.update, "epoch": info.epoch, "wall_time": now, "name": name, "value": value });
            format!("{line}\n")
        };
        Ok(self
            .0
            .write_all(values.iter().map(line).collect::<String>().as_bytes())?)
    }

    pub fn sync(&self) -> Result<()> {
        Ok(self.0.sync_data()?)
    }
}

/// Unix seconds.
pub fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |d| d.as_secs_f64())
}

fn path(context: &NodeContext) -> PathBuf {
    context.run.folder.join("metrics.jsonl")
}

/// The run's lines so far; none before its first phase.
pub fn read(context: &NodeContext) -> Result<String> {
    match std::fs::read(path(context)) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(format!("{}: {e}", path(context).display()).into())
        }
        bytes => Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()),
    }
}

/// The lines before the first one that this run will write again: an update after the one to go on from, or a dev pass
/// measured at it.
pub fn kept(text: &str, context: &NodeContext) -> String {
    let again = |line: &Json| {
        let (step, from) = (
            line["step"].as_u64().unwrap_or(u64::MAX),
            context.run.clock.from,
        );
        let dev = line["name"].as_str().is_some_and(|n| n.starts_with("dev/"));
        line["phase"] == *context.run.phase && (step > from || step == from && dev)
    };
    let stays = |line: &&str| serde_json::from_str::<Json>(line).is_ok_and(|line| !again(&line));
    text.lines()
        .take_while(stays)
        .map(|line| format!("{line}\n"))
        .collect()
}

/// What goes to whoever listens.
pub fn batch(info: &StepInfo, lines: Vec<(String, f32)>) -> Result<Batch> {
    let n = lines.len();
    let (names, values): (Vec<String>, Vec<f32>) = lines.into_iter().unzip();
    let all = |x: u64| Arc::new(UInt64Array::from(vec![x; n])) as ArrayRef;
    column::batch(vec![
        (STEP, all(info.update)),
        (EPOCH, all(info.epoch)),
        (NAME, Arc::new(StringArray::from(names))),
        (VALUE, Arc::new(Float32Array::from(values))),
    ])
}

/// What a person sees of an update.
pub fn report(context: &NodeContext, update: u64, lines: &[(String, f32)], audio_seconds: f64) {
    let of = |name: &str| lines.iter().find(|(n, _)| n == name).map(|(_, v)| *v);
    let progress = Progress {
        update,
        updates: context.run.clock.updates.unwrap_or(0),
        loss: of("loss").unwrap_or(f32::NAN),
        sparsity: of("sparsity_expected").zip(of("sparsity_target")),
        audio_seconds,
        audio_per_second: of("audio_per_second").unwrap_or(f32::NAN),
    };
    context.run.report.update(&context.run.phase, progress);
}
