//! Neighbouring updates put together: what a chart draws of a long run.
use super::curves::Points;
use super::scale::number;
use std::collections::BTreeMap;

/// By their place among parts of one size.
pub type Parts = BTreeMap<u64, Part>;

/// The finite values of neighbouring updates.
pub struct Part {
    pub from: u64,
    pub to: u64,
    pub low: f64,
    pub high: f64,
    sum: f64,
    count: f64,
}

impl Part {
    pub fn mean(&self) -> f64 {
        self.sum / self.count
    }
    pub fn updates(&self) -> String {
        if self.from == self.to {
            format!("update {}", self.to)
        } else {
            format!("updates {} to {}", self.from, self.to)
        }
    }
    pub fn says(&self) -> String {
        let [mean, low, high] = [self.mean(), self.low, self.high].map(number);
        if low == high {
            mean
        } else {
            format!("{mean} ({low} to {high})")
        }
    }
}

/// Of so many updates each; parts without a finite value are not there.
pub fn parts(points: &Points, size: u64) -> Parts {
    let mut parts = Parts::new();
    for &(update, v) in points.iter().filter(|(_, v)| v.is_finite()) {
        let new = Part {
            from: update,
            to: update,
            low: v,
            high: v,
            sum: 0.0,
            count: 0.0,
        };
        let part = parts.entry(update.saturating_sub(1) / size).or_insert(new);
        (part.to, part.low, part.high) = (update, part.low.min(v), part.high.max(v));
        (part.sum, part.count) = (part.sum + v, part.count + 1.0);
    }
    parts
}
