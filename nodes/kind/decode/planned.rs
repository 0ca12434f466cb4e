//! What a source sends, by the lengths of its utterances.
use super::Options;
use super::batch_plan::{BatchPlan, Filling};
use super::crop::Crop;
use crate::Result;
use crate::data::audio::resample::RATE;
use crate::data::lengths::Lengths;
use crate::data::{manifest, store, text};
use crate::node::{LengthCounts, SampledRows};
use std::path::Path;

/// Of how many utterances without a stated length the headers are read to plan a run.
const MAX_HEADERS: usize = 100_000;

impl Options {
    pub(super) fn is_too_short(&self, samples: u64) -> bool {
        samples < to_samples(self.min_seconds)
    }

    pub(super) fn is_too_long(&self, samples: u64) -> bool {
        self.max_seconds
            .is_some_and(|seconds| samples > to_samples(seconds))
    }

    /// Plans batches of utterances of these lengths in samples.
    pub(super) fn batch_plan(&self, lengths: impl Iterator<Item = u64>, crop: Crop) -> BatchPlan {
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

    /// Returns what is sent of a manifest.
    pub(super) fn planned_set(&self, manifest: &str, crop: Crop) -> Result<PlannedSet> {
        let utterances = manifest::read(Path::new(manifest))?.utterances;
        let count = utterances.len();
        let is_usable = |length: &u64| !self.is_too_short(*length) && !self.is_too_long(*length);
        let declared = (0..count).map(|row| utterances.declared_samples(row));
        let mut lengths = Lengths::default();
        let mut sampled = None;
        if declared.clone().all(|length| length.is_some()) {
            lengths = declared.flatten().filter(is_usable).collect();
        } else {
            // Each header that is read stands for the utterances up to the next one.
            let stride = count.div_ceil(MAX_HEADERS).max(1);
            let rows: Vec<u32> = (0..count).step_by(stride).map(|row| row as u32).collect();
            for (row, length) in rows.iter().zip(manifest::lengths(&utterances, &rows)) {
                let Some(length) = length.ok().filter(is_usable) else {
                    continue;
                };
                for _ in 0..stride.min(count - *row as usize) {
                    lengths.push(length);
                }
            }
            sampled = (stride > 1).then_some(SampledRows {
                read: rows.len() as u64,
                rows: count as u64,
            });
        }
        drop(utterances);
        let plan = self.batch_plan(lengths.iter(), crop);
        let batches = plan.in_order();
        Ok(PlannedSet {
            lengths: batches.iter().flat_map(|batch| plan.kept(batch)).collect(),
            batches: batches.len() as u64,
            sampled,
        })
    }
}

/// What is sent of a manifest.
pub(super) struct PlannedSet {
    pub(super) lengths: LengthCounts,
    pub(super) batches: u64,
    pub(super) sampled: Option<SampledRows>,
}

/// Whether a manifest may be read before the run: a pipe can be read only once, by the run.
pub(super) fn can_be_read(manifest: &Path) -> bool {
    store::exists(manifest) && !text::is_pipe(manifest)
}

/// Rounds to the nearest sample.
fn to_samples(seconds: f64) -> u64 {
    (seconds * RATE as f64).round() as u64
}
