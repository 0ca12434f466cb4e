//! What of a file is a row: from where to where, and which channel.
use crate::Result;
use std::ops::Range;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Piece {
    /// Seconds from the file's beginning.
    pub from: f64,
    /// Seconds from the file's beginning; None: to its end.
    pub to: Option<f64>,
    /// From 0; None: the mean of all.
    pub channel: Option<usize>,
}

impl Piece {
    pub fn is_whole(&self) -> bool {
        self.from == 0.0 && self.to.is_none()
    }
    pub fn begin(&self, rate: u32) -> u64 {
        (self.from * rate as f64).round() as u64
    }
    pub fn end(&self, rate: u32) -> Option<u64> {
        self.to
            .map(|seconds| (seconds * rate as f64).round() as u64)
    }
    /// Its samples, to the nearest, of a file of `frames`; where it ends at most half a second after the file, it is cut
    /// there, as Kaldi does.
    pub fn within(&self, frames: u64, rate: u32) -> Result<Range<u64>> {
        let (from, to) = (self.begin(rate), self.end(rate).unwrap_or(frames));
        if from > to || from > frames || to > frames.saturating_add(rate as u64 / 2) {
            let (from, to, seconds) = (
                self.from,
                to as f64 / rate as f64,
                frames as f64 / rate as f64,
            );
            return Err(
                format!("seconds {from} to {to} are not in it: it has {seconds} seconds").into(),
            );
        }
        Ok(from..to.min(frames))
    }
}
