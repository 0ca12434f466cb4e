//! The rows of a ragged batch: where the frames of each begin in a tensor that holds them all.
use std::ops::Range;
use std::sync::Arc;

/// Frame ranges of the rows of a batch, which lie one behind the other without padding.
///
/// A row may have no frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spans(Arc<[usize]>);

impl Spans {
    /// Builds the ranges of rows of these lengths, in frames.
    pub fn new(lengths: impl IntoIterator<Item = usize>) -> Self {
        let mut starts = vec![0];
        for length in lengths {
            starts.push(starts[starts.len() - 1] + length);
        }
        Spans(starts.into())
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.0.len() - 1
    }

    /// Returns the number of frames of all rows together.
    pub fn total(&self) -> usize {
        self.0[self.rows()]
    }

    /// Returns the frames of one row.
    pub fn of(&self, row: usize) -> Range<usize> {
        self.0[row]..self.0[row + 1]
    }

    /// Returns the rows of the same numbers in frames of another width.
    ///
    /// # Panics
    /// If the numbers of a row are no multiple of `to`.
    pub fn regrouped(&self, from: usize, to: usize) -> Spans {
        let lengths = self.lengths().map(|frames| {
            let numbers = frames * from;
            assert!(
                numbers.is_multiple_of(to),
                "a row of {numbers} numbers in frames of {to}"
            );
            numbers / to
        });
        Spans::new(lengths)
    }

    /// Iterates over the frames of each row.
    pub fn iter(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.0.windows(2).map(|w| w[0]..w[1])
    }

    /// Iterates over the number of frames of each row.
    pub fn lengths(&self) -> impl Iterator<Item = usize> + '_ {
        self.iter().map(|frames| frames.len())
    }
}
