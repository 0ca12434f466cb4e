//! Neighbouring updates gathered into bins, which are what a chart draws of a long run.
use super::curves::Points;
use super::scale::number;
use std::collections::BTreeMap;

/// Bins of equal size, by their index; a bin without a finite value is missing.
pub(super) type Bins = BTreeMap<u64, Bin>;

/// The finite values of neighbouring updates.
pub(super) struct Bin {
    /// The first update with a finite value.
    pub(super) from: u64,
    /// The last update with a finite value.
    pub(super) to: u64,
    /// The least value.
    pub(super) low: f64,
    /// The greatest value.
    pub(super) high: f64,
    sum: f64,
    count: f64,
}

impl Bin {
    /// Returns the mean of the values.
    pub(super) fn mean(&self) -> f64 {
        self.sum / self.count
    }

    /// Returns the updates as text.
    pub(super) fn updates(&self) -> String {
        if self.from == self.to {
            format!("update {}", self.to)
        } else {
            format!("updates {} to {}", self.from, self.to)
        }
    }

    /// Returns the mean and the range of the values as text.
    pub(super) fn numbers(&self) -> String {
        let mean = number(self.mean());
        let low = number(self.low);
        let high = number(self.high);
        if low == high {
            mean
        } else {
            format!("{mean} ({low} to {high})")
        }
    }
}

/// Gathers `points` into bins of `size` updates.
pub(super) fn bins(points: &Points, size: u64) -> Bins {
    let mut bins = Bins::new();
    for &(update, value) in points.iter().filter(|(_, value)| value.is_finite()) {
        let index = update.saturating_sub(1) / size;
        let bin = bins.entry(index).or_insert(Bin {
            from: update,
            to: update,
            low: value,
            high: value,
            sum: 0.0,
            count: 0.0,
        });
        bin.to = update;
        bin.low = bin.low.min(value);
        bin.high = bin.high.max(value);
        bin.sum += value;
        bin.count += 1.0;
    }
    bins
}
