//! A number of the summary that is 0 at best, computed from the metrics of the dev set.
//!
//! distance = Σ weight × metric + constant. The loss is the same sum without the constants.
use super::summary::{ends, finite_values};
use nodes::chart::curves;

/// How far a student is from its target.
pub(super) struct DevDistance {
    /// What the summary calls it.
    pub(super) label: &'static str,
    pub(super) terms: &'static [DistanceTerm],
}

/// `weight × metric + constant`.
pub(super) struct DistanceTerm {
    /// The name in metrics.jsonl, without `dev/`.
    pub(super) metric: &'static str,
    pub(super) weight: f64,
    pub(super) constant: f64,
}

/// L1 + 1 − cosine, for a loss of L1 − cosine.
pub(super) const L1_AND_COSINE: DevDistance = DevDistance {
    label: "dev L1 + 1 - cosine",
    terms: &[
        DistanceTerm {
            metric: "loss_l1",
            weight: 1.0,
            constant: 0.0,
        },
        DistanceTerm {
            metric: "loss_cos",
            weight: 1.0,
            constant: 1.0,
        },
    ],
};

impl DevDistance {
    /// Returns the distance before the first and after the last update.
    ///
    /// `None` if a metric is missing, or if the loss of the phase is not this distance minus its
    /// constants.
    pub(super) fn ends(&self, phase: &curves::PhaseCurves) -> Option<[f64; 2]> {
        let loss = ends(&finite_values(phase, "dev/loss"))?;
        let mut distance = [0.0; 2];
        let mut constant = 0.0;
        for term in self.terms {
            let metric = ends(&finite_values(phase, &format!("dev/{}", term.metric)))?;
            for (sum, value) in distance.iter_mut().zip(metric) {
                *sum = *sum + term.constant + term.weight * value;
            }
            constant += term.constant;
        }
        let mut pairs = loss.iter().zip(distance);
        let is_loss = pairs.all(|(loss, distance)| (loss + constant - distance).abs() < 1e-4);
        is_loss.then_some(distance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(L1_AND_COSINE.ends(&l1_and_cosine), Some([1.5, 1.0]));
        let weighted = phase([1.25, 0.5], [0.75, 0.5], [-0.25, -0.5]);
        assert_eq!(L1_AND_COSINE.ends(&weighted), None);
        assert_eq!(L1_AND_COSINE.ends(&curves::PhaseCurves::default()), None);
    }
}
