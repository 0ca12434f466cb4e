//! What a phase needs from its first update to its last: updates, audio, and so the time at a
//! measured speed.
//!
//! With real batches the time is updates x seconds of an update. A batch of noise has another size
//! than those of the recipe, so there it is audio / audio a second. Dev passes, checkpoints and the
//! start of the phase are not counted.
use super::record::{BenchRecord, Speech};
use crate::graph::plan::Phase;
use nodes::data::audio::resample::audio_seconds;
use nodes::node::PlannedRows;

/// What a phase needs, as far as its manifest tells.
#[derive(Debug, PartialEq)]
pub struct Needs {
    /// `None` if the phase ends with its data and these are not known.
    pub updates: Option<u64>,
    /// Seconds of audio of all batches together; a batch that is used twice counts twice.
    pub audio_seconds: Option<f64>,
    /// Whether the audio is what full batches would hold, for want of the manifest.
    pub audio_is_at_most: bool,
}

impl Needs {
    /// Returns the needs of a phase whose source sends `rows`, if its manifest is there.
    pub fn of(phase: &Phase, rows: Option<&PlannedRows>) -> Needs {
        let settings = phase.source().settings();
        let optimizer = phase.optimizer();
        let accumulate = optimizer
            .as_ref()
            .map_or(1, |optimizer| optimizer.accumulate);
        let epochs = |rows: &PlannedRows| rows.train_batches.saturating_mul(settings.views);
        let updates = match optimizer {
            Some(optimizer) => Some(optimizer.steps),
            None => rows.map(epochs),
        };
        let batch_seconds = rows.and_then(mean_batch_seconds);
        let batches = updates.map(|updates| updates as f64 * accumulate as f64);
        Needs {
            updates,
            audio_seconds: batches
                .map(|batches| batches * batch_seconds.unwrap_or(settings.seconds_per_batch)),
            audio_is_at_most: batch_seconds.is_none(),
        }
    }

    /// Returns the seconds that the phase takes at a measured speed.
    pub fn seconds(&self, record: &BenchRecord) -> Option<f64> {
        match record.speech {
            Speech::Noise { .. } => Some(self.audio_seconds? / record.audio_per_second),
            Speech::Manifest | Speech::Cached => Some(self.updates? as f64 * record.step_seconds),
        }
    }
}

/// Returns the mean audio of a train batch.
fn mean_batch_seconds(rows: &PlannedRows) -> Option<f64> {
    let samples = rows.train.sum(|length| length);
    (rows.train_batches > 0).then(|| audio_seconds(samples) / rows.train_batches as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speed::record::Machine;
    use nodes::node::LengthCounts;

    fn record(speech: Speech) -> BenchRecord {
        BenchRecord {
            graph: "g".into(),
            phase: "main".into(),
            machine: Machine {
                processor: "a CPU".into(),
                threads: 2,
                version: "1".into(),
            },
            measured: 0,
            speech,
            step_seconds: 0.5,
            audio_per_second: 20.0,
        }
    }

    #[test]
    fn time_is_updates_times_their_seconds_or_audio_at_its_speed() {
        let rows = PlannedRows {
            train: [16000, 32000, 48000].into_iter().collect(),
            dev: LengthCounts::default(),
            train_batches: 2,
            sampled: None,
        };
        assert_eq!(mean_batch_seconds(&rows), Some(3.0));
        let needs = Needs {
            updates: Some(400),
            audio_seconds: Some(4800.0),
            audio_is_at_most: false,
        };
        let noise = Speech::Noise {
            rows: 4,
            seconds: 5.0,
        };
        assert_eq!(needs.seconds(&record(Speech::Manifest)), Some(200.0));
        assert_eq!(needs.seconds(&record(Speech::Cached)), Some(200.0));
        assert_eq!(needs.seconds(&record(noise)), Some(240.0));
        let unknown = Needs {
            updates: None,
            audio_seconds: None,
            ..needs
        };
        assert_eq!(unknown.seconds(&record(Speech::Manifest)), None);
        assert_eq!(unknown.seconds(&record(noise)), None);
    }
}
