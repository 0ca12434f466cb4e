//! Reads audio files into batches of waveforms at 16 kHz, and makes the steps of their phase.
//!
//! At the start of a phase the header of every file is read once, in parallel, so lengths at 16 kHz
//! and files that are missing or differ from their manifest are known before the first step.
//! Samples are decoded batch by batch.
mod batch_plan;
mod clock;
mod crop;
mod dev_set;
mod draw;
mod noise;
mod order;
mod rank_steps;
mod source;
mod speech;
#[cfg(test)]
mod tests;
mod utterances;

use crate::Result;
use crate::data::audio::resample::RATE;
use crate::data::column;
use crate::data::lengths::Lengths;
use crate::data::manifest;
use crate::data::text;
use crate::node::contents::FileOption;
use crate::node::port::{Carries, Port, Ports, Shape, Shapes, Value};
use crate::node::step::StepInfo;
use crate::node::{
    Config, KindOptions, LengthCounts, Node, NodeContext, NodeInfo, OptionError, PhaseOutputs,
    PlannedRows, Role, SampledFrom, Source, SourceSettings, shapes,
};
use batch_plan::{BatchPlan, Filling};
use crop::Crop;
use order::Order;
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
    /// The most seconds of audio in a batch, padding counted; with `rows_per_batch` only the size of
    /// batches that `check` and `bench` reckon with.
    seconds_per_batch: f64,
    /// Rows of a batch, whatever their lengths, drawn from all anew in each epoch; null: a batch is
    /// filled with rows of like length.
    #[serde(default)]
    rows_per_batch: Option<usize>,
    /// How train utterances are cut: "none" (whole, padded), "bucket" (to multiples of
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

/// The longest batch, a day; far below the 31 bits in which a batch's samples are counted.
const MAX_BATCH_SECONDS: f64 = 86_400.0;

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

impl Options {
    fn errors(&self) -> Vec<OptionError> {
        let mut errors = vec![];
        for (option, manifest) in [
            ("manifest", Some(&self.manifest)),
            ("dev", self.dev.as_ref()),
        ] {
            if !manifest.is_none_or(|manifest| manifest::is_known(manifest)) {
                let message = format!(
                    "`{option}` is no `*.tsv`, `wav.scp`, `*.jsonl`, `*.jsonl.gz`, `*.parquet` or \
                     folder"
                );
                errors.push(OptionError::at(option, message));
            }
        }
        let lengths = [
            ("seconds_per_batch", self.seconds_per_batch),
            ("bucket_seconds", self.bucket_seconds),
        ];
        for (option, seconds) in lengths {
            if !(seconds > 0.0 && seconds <= MAX_BATCH_SECONDS) {
                let message = format!("`{option}` must be above 0 and at most {MAX_BATCH_SECONDS}");
                errors.push(OptionError::at(option, message));
            }
        }
        errors.extend(OptionError::unless(
            self.rows_per_batch != Some(0),
            "rows_per_batch",
            "must be at least 1, or null",
        ));
        errors.extend(self.window_error());
        errors.extend(self.order.errors());
        errors.extend(OptionError::unless(
            self.rows_per_batch.is_none() || self.order == Order::default(),
            "order",
            "`rows_per_batch` draws the rows of each epoch anew, and so has no order of batches",
        ));
        if !(0.0..=MAX_BATCH_SECONDS).contains(&self.min_seconds) {
            let message =
                format!("`min_seconds` must be at least 0 and at most {MAX_BATCH_SECONDS}");
            errors.push(OptionError::at("min_seconds", message));
        }
        if let Some(max) = self.max_seconds
            && !(max.is_finite() && max >= self.min_seconds)
        {
            let message = "`max_seconds` must not be below `min_seconds`";
            errors.push(OptionError::at("max_seconds", message));
        }
        errors
    }

    /// Checks that `window_seconds` is there exactly with windows.
    fn window_error(&self) -> Option<OptionError> {
        match (self.window_seconds, self.crop) {
            (Some(seconds), Crop::Window) => OptionError::unless(
                seconds > 0.0 && seconds <= MAX_BATCH_SECONDS,
                "window_seconds",
                format!("must be above 0 and at most {MAX_BATCH_SECONDS}"),
            ),
            (Some(_), _) => Some(OptionError::option(
                "window_seconds",
                "is for the crop \"window\"",
            )),
            (None, Crop::Window) => Some(OptionError::option(
                "crop",
                "\"window\" needs the option `window_seconds`",
            )),
            (None, _) => None,
        }
    }

    fn is_too_short(&self, samples: u64) -> bool {
        samples < to_samples(self.min_seconds)
    }

    fn is_too_long(&self, samples: u64) -> bool {
        self.max_seconds
            .is_some_and(|seconds| samples > to_samples(seconds))
    }

    /// Plans batches of utterances of these lengths in samples.
    fn batch_plan(&self, lengths: impl Iterator<Item = u64>, crop: Crop) -> BatchPlan {
        let unit = match self.window_seconds {
            Some(seconds) if crop == Crop::Window => seconds,
            _ => self.bucket_seconds,
        };
        let unit = to_samples(unit).max(1);
        let sizes = lengths.map(|length| crop.size(length, unit)).collect();
        let filling = match self.rows_per_batch {
            Some(rows) => Filling::Rows(rows),
            None => Filling::Samples(to_samples(self.seconds_per_batch)),
        };
        BatchPlan::new(sizes, filling, crop)
    }

    /// Returns the lengths of the rows that are sent of a manifest, and the number of batches.
    fn planned_lengths(&self, manifest: &str, crop: Crop) -> Result<(LengthCounts, u64)> {
        let utterances = manifest::read(Path::new(manifest))?.utterances;
        let rows = 0..utterances.len();
        let declared = rows.clone().map(|row| utterances.declared_samples(row));
        let is_usable = |length: &u64| !self.is_too_short(*length) && !self.is_too_long(*length);
        let lengths: Lengths = if declared.clone().all(|length| length.is_some()) {
            declared.flatten().filter(is_usable).collect()
        } else {
            let rows: Vec<u32> = rows.map(|row| row as u32).collect();
            let read = manifest::lengths(&utterances, &rows);
            read.flatten().filter(is_usable).collect()
        };
        drop(utterances);
        let plan = self.batch_plan(lengths.iter(), crop);
        let batches = plan.in_order();
        let kept = batches.iter().flat_map(|batch| plan.kept(batch)).collect();
        Ok((kept, batches.len() as u64))
    }
}

/// Whether a manifest may be read before the run: a pipe can be read only once, by the run.
fn can_be_read(manifest: &Path) -> bool {
    manifest.exists() && !text::is_pipe(manifest)
}

/// Rounds to the nearest sample.
fn to_samples(seconds: f64) -> u64 {
    (seconds * RATE as f64).round() as u64
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
        }
    }

    /// Uses the lengths that a TSV or lhotse declares; for other manifests it reads the headers of
    /// the audio files.
    fn planned_rows(&self) -> Result<Option<PlannedRows>> {
        let can_be_read = |manifest: &String| can_be_read(Path::new(manifest));
        if !can_be_read(&self.manifest) || !self.dev.iter().all(can_be_read) {
            return Ok(None);
        }
        let dev = match &self.dev {
            Some(dev) => self.planned_lengths(dev, Crop::None)?.0,
            None => LengthCounts::default(),
        };
        let (train, train_batches) = self.planned_lengths(&self.manifest, self.crop)?;
        Ok(Some(PlannedRows {
            train,
            dev,
            train_batches,
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
