//! `metrics.jsonl`, the metrics of a run: one value per line, in JSON.
use crate::Result;
use crate::data::error::PathContext;
use crate::data::file;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// One value of one metric.
#[derive(Deserialize)]
pub(crate) struct MetricLine {
    pub(crate) phase: String,
    /// The update at which the value was measured.
    pub(crate) step: u64,
    /// The Unix time in seconds at which the value was measured.
    pub(crate) wall_time: f64,
    pub(crate) name: String,
    /// The value; `None` if it was not finite.
    pub(crate) value: Option<f64>,
}

/// Returns the lines of `metrics` that are valid; the last one of a run in progress may be
/// incomplete.
pub(crate) fn lines(metrics: &str) -> impl Iterator<Item = MetricLine> {
    metrics
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
}

/// Reads the metrics of the run in the folder `run`; empty before its first phase. Errors name the
/// file.
pub(crate) fn read(run: &Path) -> Result<String> {
    let path = path(run);
    match std::fs::read(&path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(e) => Err(e).at(&path),
    }
}

/// Returns the lines of `metrics` that stay when `phase` goes on after update `from`.
///
/// They end before the first line that the phase will write again: one of a later update, or of a
/// dev or test pass at update `from`.
pub(crate) fn before_resume(metrics: &str, phase: &str, from: u64) -> String {
    let mut kept = String::new();
    for line in metrics.lines() {
        match serde_json::from_str::<Json>(line) {
            Ok(value) if !is_written_again(&value, phase, from) => {
                kept += line;
                kept.push('\n');
            }
            _ => break,
        }
    }
    kept
}

fn is_written_again(line: &Json, phase: &str, from: u64) -> bool {
    let step = line["step"].as_u64().unwrap_or(u64::MAX);
    let is_of_pass = line["name"]
        .as_str()
        .is_some_and(|name| name.starts_with("dev/") || name.starts_with("test/"));
    line["phase"] == *phase && (step > from || step == from && is_of_pass)
}

/// The metrics file of a run, open to append.
pub struct MetricsFile {
    file: File,
    path: PathBuf,
}

impl MetricsFile {
    /// Opens the metrics of the run in the folder `run` for a `phase` that goes on after update
    /// `from`, and removes the lines that it will write again. Errors name the file.
    pub fn open(run: &Path, phase: &str, from: u64) -> Result<MetricsFile> {
        let path = path(run);
        let metrics = read(run)?;
        let kept = before_resume(&metrics, phase, from);
        if kept != metrics || !path.exists() {
            file::write_atomic(&path, kept.as_bytes())?;
        }
        let file = File::options().append(true).open(&path).at(&path)?;
        Ok(MetricsFile { file, path })
    }

    /// Appends the values of one update. Errors name the file.
    pub fn write(
        &mut self,
        phase: &str,
        update: u64,
        epoch: u64,
        values: &[(String, f32)],
    ) -> Result<()> {
        let now = now();
        let mut lines = String::new();
        for (name, value) in values {
            let value = value.is_finite().then_some(*value as f64);
            let line = json!({
                "phase": phase,
                "step": update,
                "epoch": epoch,
                "wall_time": now,
                "name": name,
                "value": value,
            });
            lines += &format!("{line}\n");
        }
        self.file.write_all(lines.as_bytes()).at(&self.path)
    }

    /// Syncs the file to disk. Errors name it.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().at(&self.path)
    }
}

fn path(run: &Path) -> PathBuf {
    run.join("metrics.jsonl")
}

/// Returns the current Unix time in seconds.
pub(crate) fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
