//! The penalty on size, λ1 (ŝ - t) + λ2 (ŝ - t)² with ŝ = 1 - expected / all parameters and t the
//! target sparsity (Wang et al. 2020, arXiv:1910.04732, equation 8). Its derivative by each log α
//! goes through the expected count, in closed form.
use super::{expected, gate};
use crate::model::Architecture;
use compute::op::given_number;
use compute::parallel;
use compute::tensor::{Number, Param, Tape};
use std::collections::BTreeMap;

/// A penalty on the tape, and its value and terms as numbers.
pub struct Penalty {
    pub value: Number<Tape>,
    pub loss: f64,
    /// ŝ
    pub sparsity: f64,
    /// t
    pub target: f64,
    pub lambda: [f64; 2],
}

/// Computes the penalty on every gate vector of `log_alpha`, with the multipliers `lambda`.
///
/// `numbers` are the values of all of these, the gate vectors first.
pub fn penalty(
    architecture: &Architecture,
    log_alpha: &BTreeMap<String, Param>,
    lambda: &[Param; 2],
    numbers: &[Vec<f32>],
    target: f64,
    tape: &Tape,
) -> Penalty {
    let mut expected_open = BTreeMap::new();
    let mut open_slopes = vec![];
    let opens = parallel::map(log_alpha.len(), |vector| gate::open(&numbers[vector]));
    for (vector, (open, slope)) in log_alpha.keys().zip(opens) {
        expected_open.insert(vector.clone(), open);
        open_slopes.push(slope);
    }
    let unpruned = expected::parameters(architecture, &BTreeMap::new()).count;
    let left = expected::parameters(architecture, &expected_open);
    let sparsity = 1.0 - left.count / unpruned;
    let miss = sparsity - target;
    let [l1, l2] = [0, 1].map(|i| numbers[log_alpha.len() + i][0] as f64);
    let loss = l1 * miss + l2 * miss * miss;

    let mut slopes = vec![];
    for ((vector, values), open_slope) in log_alpha.iter().zip(open_slopes) {
        let by_open = -(l1 + 2.0 * l2 * miss) * left.slope[vector] / unpruned;
        let slope = open_slope.iter().map(|by_log_alpha| by_open * by_log_alpha);
        slopes.push((values.clone(), slope.collect()));
    }
    slopes.push((lambda[0].clone(), vec![miss]));
    slopes.push((lambda[1].clone(), vec![miss * miss]));
    Penalty {
        value: given_number(loss as f32, slopes, tape.clone()),
        loss,
        sparsity,
        target,
        lambda: [l1, l2],
    }
}
