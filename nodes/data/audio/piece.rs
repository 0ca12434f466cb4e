//! The part of an audio file that one utterance takes.
use crate::Result;
use std::ops::Range;

/// A time range and a channel of an audio file; by default all of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Piece {
    /// The beginning, in seconds from the file's beginning.
    pub(crate) from: f64,
    /// The end, in seconds from the file's beginning; `None` for the file's end.
    pub(crate) to: Option<f64>,
    /// The channel, from 0; `None` for the mean of all channels.
    pub(crate) channel: Option<usize>,
}

impl Piece {
    /// Returns whether the time range is the whole file.
    pub(super) fn is_whole(&self) -> bool {
        self.from == 0.0 && self.to.is_none()
    }

    /// Returns the first frame, to the nearest, at `rate`.
    pub(super) fn begin(&self, rate: u32) -> u64 {
        (self.from * rate as f64).round() as u64
    }

    /// Returns the frame after the last, to the nearest, at `rate`; `None` for the file's end.
    pub(super) fn end(&self, rate: u32) -> Option<u64> {
        let seconds = self.to?;
        Some((seconds * rate as f64).round() as u64)
    }

    /// Returns the frames that the time range takes of a file of `frames` frames at `rate`.
    ///
    /// A range that ends at most half a second after the file is cut at the file's end, as in
    /// Kaldi; one that ends later, or begins after the file, is an error.
    pub(super) fn within(&self, frames: u64, rate: u32) -> Result<Range<u64>> {
        let begin = self.begin(rate);
        let end = self.end(rate).unwrap_or(frames);
        let latest_end = frames.saturating_add(rate as u64 / 2);
        if begin > end || begin > frames || end > latest_end {
            let from = self.from;
            let to = end as f64 / rate as f64;
            let seconds = frames as f64 / rate as f64;
            let message = format!("seconds {from} to {to} are not in it: it has {seconds} seconds");
            return Err(message.into());
        }
        Ok(begin..end.min(frames))
    }
}
