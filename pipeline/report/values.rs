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

/// Returns the first and the last value of a metric; one that was not finite is NaN.
pub(super) fn ends(phase: &curves::PhaseCurves, metric: &str) -> Option<[f64; 2]> {
    let points = phase.curves.get(metric)?;
    Some([points.first()?.1, points.last()?.1])
}
