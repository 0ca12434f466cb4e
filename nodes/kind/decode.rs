//! `decode`: audio files to batches of waveforms at 16 kHz, and the clock of their phase.
//!
//! When a phase begins, the header of every file is read once, in parallel: lengths at 16 kHz, and files that are
//! missing or differ from their manifest, are known before the first step. Samples are decoded batch by batch.
mod batches;
mod clock;
mod crop;
mod noise;
mod set;
mod source;
mod speech;

pub use crop::Crop;

use crate::Result;
use crate::data::audio::resample::RATE;
use crate::data::column;
use crate::data::manifest;
use crate::node::port::{Carries, Port, Ports, Shape, Shapes};
use crate::node::{
    Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, PhaseOutputs, PlannedRows, Role,
    Source, SourceSettings, shapes,
};
use batches::Batches;
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::Path;

/// A batch's samples are counted in 31 bits; a day of them is far below.
const LONGEST_BATCH: f64 = 86_400.0;

/// Audio files to batches of waveforms at 16 kHz; the source of a phase.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// What to train on: fairseq's `*.tsv`, Kaldi's `wav.scp`, lhotse's `*.jsonl` and `*.jsonl.gz`, Hugging Face's
    /// `*.parquet`, or a folder of audio files.
    pub manifest: String,
    /// The dev set, of the same form.
    #[serde(default)]
    pub dev: Option<String>,
    /// Updates between two passes over the dev set; 0: only before the first and after the last update.
    #[serde(default)]
    pub dev_every: u64,
    /// Seconds of audio in a batch at most, padding counted.
    pub seconds_per_batch: f64,
    /// How train utterances are cut: "none" (whole, padded), "bucket" (to multiples of `bucket_seconds`) or "batch" (to
    /// the shortest of the batch).
    #[serde(default)]
    pub crop: Crop,
    /// What lengths are multiples of with `"crop": "bucket"`.
    #[serde(default = "bucket_seconds")]
    pub bucket_seconds: f64,
    /// How many different crops and masks of an utterance there are, one after the other by epoch; 0: one every epoch.
    #[serde(default = "views")]
    pub views: u64,
    /// Shorter utterances are left out.
    #[serde(default = "min_seconds")]
    pub min_seconds: f64,
    /// Longer utterances are left out; null: none are.
    #[serde(default)]
    pub max_seconds: Option<f64>,
    /// How many files may be missing, damaged or of another length than their manifest says before the run fails.
    #[serde(default)]
    pub bad_files: u64,
}

fn bucket_seconds() -> f64 {
    0.64
}
fn views() -> u64 {
    1
}
fn min_seconds() -> f64 {
    0.025
}

/// To the nearest sample.
fn samples(seconds: f64) -> u64 {
    (seconds * RATE as f64).round() as u64
}

impl Options {
    /// Returns the samples of each row that is sent of a manifest.
    fn planned_lengths(&self, manifest: &str, crop: Crop) -> Result<Vec<u64>> {
        let utterances = manifest::read(Path::new(manifest))?;
        let stated: Option<Vec<u64>> = utterances.iter().map(|u| u.declared_samples).collect();
        let lengths = stated.unwrap_or_else(|| {
            manifest::lengths(&utterances)
                .into_iter()
                .flatten()
                .collect()
        });
        let lengths = lengths
            .into_iter()
            .filter(|&n| !self.is_too_short(n) && !self.is_too_long(n));
        let batches = self.batches(lengths, crop);
        Ok(batches
            .in_order()
            .iter()
            .flat_map(|batch| batches.kept(batch))
            .collect())
    }
    fn is_too_short(&self, length: u64) -> bool {
        length < samples(self.min_seconds)
    }
    fn is_too_long(&self, length: u64) -> bool {
        self.max_seconds
            .is_some_and(|seconds| length > samples(seconds))
    }
    fn batches(&self, lengths: impl Iterator<Item = u64>, crop: Crop) -> Batches {
        let bucket = samples(self.bucket_seconds).max(1);
        Batches::new(
            lengths.map(|n| crop.size(n, bucket)).collect(),
            samples(self.seconds_per_batch),
            crop,
        )
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

    /// Takes lengths that a TSV or lhotse states as they stand; of other manifests the audio headers
    /// are read.
    fn planned_rows(&self) -> Result<Option<PlannedRows>> {
        let exists = |manifest: &String| Path::new(manifest).exists();
        if !exists(&self.manifest) || !self.dev.iter().all(exists) {
            return Ok(None);
        }
        let dev = match &self.dev {
            Some(dev) => self.planned_lengths(dev, Crop::None)?,
            None => vec![],
        };
        let train = self.planned_lengths(&self.manifest, self.crop)?;
        Ok(Some(PlannedRows { train, dev }))
    }
}

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[],
        outputs: &[Port::new("speech", Carries::Batch(column::SPEECH))],
    };
    const ROLE: Role = Role::Source;
}

impl Config for Options {
    fn info(&self, _world: &PhaseOutputs, _inputs: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let mut wrong = vec![];
        let mut check = |holds: bool, option: &str, says: String| {
            if !holds {
                wrong.push(OptionError::at(option, says));
            }
        };
        for (option, manifest) in [
            ("manifest", Some(&self.manifest)),
            ("dev", self.dev.as_ref()),
        ] {
            let says = format!(
                "`{option}` is no `*.tsv`, `wav.scp`, `*.jsonl`, `*.jsonl.gz`, `*.parquet` or folder"
            );
            check(manifest.is_none_or(|m| manifest::is_known(m)), option, says);
        }
        let positive = |seconds: f64| seconds > 0.0 && seconds <= LONGEST_BATCH;
        let says = |option: &str, from: &str| {
            format!("`{option}` must be {from} 0 and at most {LONGEST_BATCH}")
        };
        check(
            positive(self.seconds_per_batch),
            "seconds_per_batch",
            says("seconds_per_batch", "above"),
        );
        check(
            positive(self.bucket_seconds),
            "bucket_seconds",
            says("bucket_seconds", "above"),
        );
        check(
            (0.0..=LONGEST_BATCH).contains(&self.min_seconds),
            "min_seconds",
            says("min_seconds", "at least"),
        );
        let ordered = self
            .max_seconds
            .is_none_or(|most| most.is_finite() && most >= self.min_seconds);
        check(
            ordered,
            "max_seconds",
            "`max_seconds` must not be below `min_seconds`".into(),
        );
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let reads = [Some(self.manifest.clone()), self.dev.clone()]
            .into_iter()
            .flatten()
            .collect();
        Ok(NodeInfo {
            outputs: shapes([("speech", Shape::Plain)]),
            reads,
            ..NodeInfo::default()
        })
    }
    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        Ok(match context.run.synthetic {
            Some(size) => Box::new(noise::Noise::new(context, size)),
            None => Box::new(source::Decode::new(self, context)?),
        })
    }
    fn source(&self) -> Option<&dyn Source> {
        Some(self)
    }
}
