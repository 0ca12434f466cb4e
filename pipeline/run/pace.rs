//! How much audio a phase has done, and how fast it goes now.
//!
//! Rows that a cache has pass many times faster than others. So the speed is that of the last
//! minute: the mean since the beginning says little about the time that is left.
use nodes::data::audio::resample::audio_seconds;
use nodes::node::report::AudioDone;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The time that the speed is a mean over.
const WINDOW: Duration = Duration::from_secs(60);
/// The time between two points that are kept of the window.
const SPACING: Duration = Duration::from_secs(1);

/// The pace of a phase.
#[derive(Default)]
pub(super) struct Pace {
    /// Samples done in all.
    samples: u64,
    /// The beginning and later times with the samples done then, in order. All but the first are in
    /// the window. Empty before the beginning.
    points: VecDeque<(Instant, u64)>,
}

impl Pace {
    /// Begins, unless it has begun.
    pub(super) fn begin(&mut self, now: Instant) {
        if self.points.is_empty() {
            self.points.push_back((now, 0));
        }
    }

    /// Adds a batch that is done. Returns the audio done, of `total` samples of the phase if they
    /// are known, and the seconds of audio a second.
    pub(super) fn add(
        &mut self,
        samples: u64,
        total: Option<u64>,
        now: Instant,
    ) -> (Option<AudioDone>, f64) {
        self.samples += samples;
        let age = |time: Instant| now.saturating_duration_since(time);
        while self
            .points
            .get(1)
            .is_some_and(|(time, _)| age(*time) > WINDOW)
        {
            self.points.pop_front();
        }
        let first = self.points.front();
        let (start, samples_before) = first.copied().unwrap_or((now, 0));
        let speed = audio_seconds(self.samples - samples_before) / age(start).as_secs_f64();
        let last = self.points.back().map(|(time, _)| age(*time));
        if last.is_none_or(|last| last >= SPACING) {
            self.points.push_back((now, self.samples));
        }
        let done = total.map(|total| AudioDone {
            seconds: audio_seconds(self.samples),
            of_seconds: audio_seconds(total),
        });
        (done, speed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_is_that_of_the_last_minute() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut pace = Pace::default();
        pace.begin(start);
        pace.begin(at(5));
        // Stored rows: ten minutes of audio a second.
        for second in 1..=10 {
            let (_, speed) = pace.add(600 * 16_000, None, at(second));
            assert_eq!(speed, 600.0);
        }
        // Others: two seconds of audio a second.
        let total = Some(16_000 * 10_000);
        let speeds: Vec<f64> = (11..=100)
            .map(|second| pace.add(2 * 16_000, total, at(second)).1)
            .collect();
        assert!(speeds[0] > 500.0);
        assert_eq!(speeds[60..], [2.0; 30]);
        let (done, _) = pace.add(0, total, at(101));
        let done = done.expect("the total is known");
        assert_eq!([done.seconds, done.of_seconds], [6180.0, 10_000.0]);
        assert!(pace.points.len() < 65);
    }
}
