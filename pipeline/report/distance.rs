//! A number of the summary that is 0 at best, computed from the metrics of the dev set as the loss
//! declares it: constant + Σ weight · metric.
use super::values::ends;
use nodes::chart::curves;
use nodes::node::SummaryMetric;

/// Returns the number before the first and after the last update.
///
/// `None` if a metric is missing, or if the loss of the phase is not this number minus its constant:
/// other losses of the phase are then part of it.
pub(super) fn distance_ends(
    metric: &SummaryMetric,
    phase: &curves::PhaseCurves,
) -> Option<[f64; 2]> {
    let loss = ends(phase, "dev/loss")?;
    let mut distance = [metric.constant; 2];
    for (name, weight) in &metric.terms {
        let values = ends(phase, &format!("dev/{name}"))?;
        for (sum, value) in distance.iter_mut().zip(values) {
            *sum += weight * value;
        }
    }
    let mut pairs = loss.iter().zip(distance);
    let is_loss = pairs.all(|(loss, distance)| (loss + metric.constant - distance).abs() < 1e-4);
    is_loss.then_some(distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn l1_and_cosine_metric() -> SummaryMetric {
        SummaryMetric {
            label: "L1 + 1 - cosine",
            terms: vec![("loss_l1", 1.0), ("loss_cos", 1.0)],
            constant: 1.0,
        }
    }

    fn phase(loss: [f64; 2], l1: [f64; 2], cosine: [f64; 2]) -> curves::PhaseCurves {
        let mut phase = curves::PhaseCurves::default();
        for (name, [first, last]) in [("loss", loss), ("loss_l1", l1), ("loss_cos", cosine)] {
            let points = vec![(0, first), (9, last)];
            phase.curves.insert(format!("dev/{name}"), points);
        }
        phase
    }

    #[test]
    fn only_a_loss_of_l1_and_cosine_has_the_distance() {
        let l1_and_cosine = phase([0.5, 0.0], [0.75, 0.5], [-0.25, -0.5]);
        assert_eq!(
            distance_ends(&l1_and_cosine_metric(), &l1_and_cosine),
            Some([1.5, 1.0])
        );
        let weighted = phase([1.25, 0.5], [0.75, 0.5], [-0.25, -0.5]);
        assert_eq!(distance_ends(&l1_and_cosine_metric(), &weighted), None);
        assert_eq!(
            distance_ends(&l1_and_cosine_metric(), &curves::PhaseCurves::default()),
            None
        );
    }
}
