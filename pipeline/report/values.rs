//! The values of a metric over a phase.
use nodes::chart::curves;

/// Returns the values of a metric that are finite, in the order of the updates.
pub(super) fn finite_values(phase: &curves::PhaseCurves, metric: &str) -> Vec<f64> {
    let points = phase.curves.get(metric).into_iter().flatten();
    points
        .map(|(_, value)| *value)
        .filter(|value| value.is_finite())
        .collect()
}

/// Returns the first and the last value.
pub(super) fn ends(values: &[f64]) -> Option<[f64; 2]> {
    Some([*values.first()?, *values.last()?])
}
