//! The inputs of a convolution.
use crate::op::conv_first::cpu::NormedFirst;
use crate::parallel::add;
use crate::tensor::cpu::{Grads, Hidden, Spans};
use std::borrow::Cow;
use std::ops::Range;

/// The input of a convolution off its tape, read row by row.
pub enum Frames {
    Hidden(Hidden),
    First(NormedFirst),
}

impl Frames {
    pub fn spans(&self) -> &Spans {
        match self {
            Frames::Hidden(x) => &x.spans,
            Frames::First(first) => &first.spans,
        }
    }

    pub fn width(&self) -> usize {
        match self {
            Frames::Hidden(x) => x.width(),
            Frames::First(first) => first.width(),
        }
    }

    /// Returns these frames of a row.
    pub fn frames(&self, row: usize, frames: Range<usize>) -> Cow<'_, [f32]> {
        match self {
            Frames::Hidden(x) => x.read()[self.numbers(row, frames)].into(),
            Frames::First(first) => first.frames(row, frames).into(),
        }
    }

    /// Adds to the gradient of these frames of a row.
    pub fn accumulate(&self, row: usize, frames: Range<usize>, dx: &[f32], g: &mut Grads) {
        match self {
            Frames::Hidden(x) => add(&mut g.of(&x.values)[self.numbers(row, frames)], dx),
            Frames::First(first) => first.accumulate(row, frames, dx, g),
        }
    }

    fn numbers(&self, row: usize, frames: Range<usize>) -> Range<usize> {
        let first = self.spans().of(row).start;
        let width = self.width();
        (first + frames.start) * width..(first + frames.end) * width
    }
}
