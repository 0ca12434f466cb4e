//! The windows of a convolution without padding: k frames each, s frames apart, in each row.
use crate::tensor::Spans;

/// Returns the number of windows of k frames, s apart, in a row of `frames`.
pub fn frames_out(frames: usize, k: usize, s: usize) -> usize {
    if frames < k { 0 } else { (frames - k) / s + 1 }
}

/// Returns the rows of windows of k frames, s apart, in these rows of frames.
pub(super) fn windows(frames: &Spans, k: usize, s: usize) -> Spans {
    Spans::new(frames.lengths().map(|frames| frames_out(frames, k, s)))
}
