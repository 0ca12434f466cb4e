//! What a source sends, by the lengths of its utterances.
use super::Options;
use super::batch_plan::{BatchPlan, Filling};
use super::crop::Crop;
use crate::Result;
use crate::data::audio::resample::RATE;
use crate::data::lengths::Lengths;
use crate::data::manifest;
use crate::data::text;
use crate::node::LengthCounts;
use std::path::Path;

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

    /// Returns the lengths of the rows that are sent of a manifest, and the number of batches.
    pub(super) fn planned_lengths(
        &self,
        manifest: &str,
        crop: Crop,
    ) -> Result<(LengthCounts, u64)> {
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
pub(super) fn can_be_read(manifest: &Path) -> bool {
    manifest.exists() && !text::is_pipe(manifest)
}

/// Rounds to the nearest sample.
fn to_samples(seconds: f64) -> u64 {
    (seconds * RATE as f64).round() as u64
}
