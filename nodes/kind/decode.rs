//! Reads audio files into batches of waveforms at 16 kHz, and makes the steps of their phase.
//!
//! At the start of a phase the header of every file is read once, in parallel, so lengths at 16 kHz
//! and files that are missing or differ from their manifest are known before the first step.
//! Samples are decoded batch by batch.
mod batch_plan;
mod check;
mod clock;
mod crop;
mod dev_set;
mod draw;
mod noise;
mod order;
mod planned;
mod rank_steps;
mod source;
mod speech;
#[cfg(test)]
mod tests;
mod utterances;

use crate::Result;
use crate::data::column;
use crate::node::contents::FileOption;
use crate::node::port::{Carries, Port, Ports, Shape, Shapes, Value};
use crate::node::step::StepInfo;
use crate::node::{
    Config, KindOptions, LengthCounts, Node, NodeContext, NodeInfo, OptionError, PhaseOutputs,
    PlannedRows, Role, SampledFrom, Source, SourceSettings, shapes,
};
use crop::Crop;
use order::Order;
use planned::can_be_read;
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::Path;

/// Reads audio files into batches of waveforms at 16 kHz; the source of a phase.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// What to train on: fairseq's `*.tsv`, Kaldi's `wav.scp`, lhotse's `*.jsonl` and `*.jsonl.gz`,
    /// Hugging Face's `*.parquet`, or a folder of audio files.
    manifest: String,
    /// The dev set, of the same form.
    #[serde(default)]
    dev: Option<String>,
    /// Updates between two passes over the dev set; 0: only before the first and after the last
    /// update.
    #[serde(default)]
    dev_every: u64,
    /// The most seconds of a batch, its rows times the longest of them; with `rows_per_batch` only the size of
    /// batches that `check` and `bench` reckon with.
    seconds_per_batch: f64,
    /// Rows of a batch, whatever their lengths, drawn from all anew in each epoch; null: a batch is
    /// filled with rows of like length.
    #[serde(default)]
    rows_per_batch: Option<usize>,
    /// How train utterances are cut: "none" (whole), "bucket" (to multiples of
    /// `bucket_seconds`), "batch" (to the shortest of the batch) or "window" (to `window_seconds`, where
    /// they are longer).
    #[serde(default)]
    crop: Crop,
    /// The unit of lengths with `"crop": "bucket"`.
    #[serde(default = "default_bucket_seconds")]
    bucket_seconds: f64,
    /// The length with `"crop": "window"`.
    #[serde(default)]
    window_seconds: Option<f64>,
    /// How many different crops and masks of an utterance there are, one after the other by epoch;
    /// 0: a new one every epoch.
    #[serde(default = "default_views")]
    views: u64,
    /// How an epoch orders its batches: "shuffled", or {"type": "window", "shard": 64, "window": 256}
    /// for caches that are larger than memory.
    #[serde(default)]
    order: Order,
    /// Shorter utterances are left out.
    #[serde(default = "default_min_seconds")]
    min_seconds: f64,
    /// Longer utterances are left out; null: none are.
    #[serde(default)]
    max_seconds: Option<f64>,
    /// How many files may be missing, damaged or of another length than their manifest says before
    /// the run fails.
    #[serde(default)]
    bad_files: u64,
}

fn default_bucket_seconds() -> f64 {
    0.64
}

fn default_views() -> u64 {
    1
}

fn default_min_seconds() -> f64 {
    0.025
}

const OUT: &str = "speech";

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[],
        outputs: &[Port::new(OUT, Carries::Batch(column::SPEECH))],
    };
    const ROLE: Role = Role::Source;
    const FILES: &[FileOption] = &[
        FileOption::manifest("manifest"),
        FileOption::manifest("dev"),
    ];
}

impl Config for Options {
    fn info(&self, _: &PhaseOutputs, _: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        OptionError::fail_if_any(self.errors())?;
        let mut reads = vec![self.manifest.clone()];
        reads.extend(self.dev.clone());
        Ok(NodeInfo {
            outputs: shapes([(OUT, Shape::Plain)]),
            reads,
            warnings: dev_set::warnings(self),
            ..NodeInfo::default()
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        Ok(match context.run.synthetic {
            Some(size) => Box::new(noise::NoiseSource::new(context, size)),
            None => Box::new(source::Decode::new(self, context)?),
        })
    }

    fn reads_whole_batches(&self) -> Option<&'static str> {
        (self.crop == Crop::Batch)
            .then_some("`crop` \"batch\" cuts rows to the shortest of a batch")
    }

    fn source(&self) -> Option<&dyn Source> {
        Some(self)
    }
}

impl Source for Options {
    fn settings(&self) -> SourceSettings {
        SourceSettings {
            manifest: self.manifest.clone(),
            dev: self.dev.clone(),
            seconds_per_batch: self.seconds_per_batch,
            views: self.views,
            crops: self.crop != Crop::None,
        }
    }

    /// Uses the lengths that a TSV or lhotse declares; for other manifests it reads the headers of
    /// audio files, of a long list only some.
    fn planned_rows(&self) -> Result<Option<PlannedRows>> {
        let can_be_read = |manifest: &String| can_be_read(Path::new(manifest));
        if !can_be_read(&self.manifest) || !self.dev.iter().all(can_be_read) {
            return Ok(None);
        }
        let dev = match &self.dev {
            Some(dev) => self.planned_set(dev, Crop::None)?.lengths,
            None => LengthCounts::default(),
        };
        let train = self.planned_set(&self.manifest, self.crop)?;
        Ok(Some(PlannedRows {
            train: train.lengths,
            dev,
            train_batches: train.batches,
            sampled: train.sampled,
        }))
    }

    fn sample(
        &self,
        rows: usize,
        context: &NodeContext,
        visit: &mut dyn FnMut(StepInfo, Value) -> Result<()>,
    ) -> Result<SampledFrom> {
        draw::draw_batches(self, rows, context, visit)
    }
}
