//! λ1 (ŝ - t) + λ2 (ŝ - t)² with ŝ = 1 - expected / all parameters, t the sparsity aimed at (Wang et al. 2020,
//! arXiv:1910.04732, equation 8). The derivative by each log α goes through the expected count, closed form.
use super::{expected, gate};
use crate::model::Architecture;
use crate::node::port::Scalar;
use compute::op::given_number;
use compute::tensor::{Param, Tape};
use std::collections::BTreeMap;

/// Over every log α of `log_alpha`, by vector, and the multipliers, with the numbers to log. `numbers`: what these hold, in
/// this order.
pub fn penalty(
    architecture: &Architecture,
    log_alpha: &BTreeMap<String, Param>,
    lambda: &[Param; 2],
    numbers: &[Vec<f32>],
    target: f64,
    tape: &Tape,
) -> Scalar {
    let opened: BTreeMap<&String, (f64, Vec<f64>)> = log_alpha
        .keys()
        .zip(numbers)
        .map(|(v, a)| (v, gate::open(a)))
        .collect();
    let open = opened
        .iter()
        .map(|(v, (sum, _))| ((*v).clone(), *sum))
        .collect();
    let all = expected::parameters(architecture, &BTreeMap::new()).count;
    let left = expected::parameters(architecture, &open);
    let sparsity = 1.0 - left.count / all;
    let (miss, [l1, l2]) = (
        sparsity - target,
        [0, 1].map(|i| numbers[log_alpha.len() + i][0] as f64),
    );
    let loss = l1 * miss + l2 * miss * miss;

    let slope = |(v, a): (&String, &Param)| {
        (
            a.clone(),
            opened[v]
                .1
                .iter()
                .map(|d| -(l1 + 2.0 * l2 * miss) * left.slope[v] / all * d)
                .collect(),
        )
    };
    let of_lambda = [miss, miss * miss]
        .into_iter()
        .zip(lambda)
        .map(|(slope, l)| (l.clone(), vec![slope]));
    let slopes = log_alpha.iter().map(slope).chain(of_lambda).collect();
    let value = given_number(loss as f32, slopes, tape.clone());
    let parts = [
        ("loss_reg", loss),
        ("sparsity_expected", sparsity),
        ("sparsity_target", target),
        ("lambda1", l1),
        ("lambda2", l2),
    ];
    Scalar {
        value,
        parts: parts.map(|(n, v)| (n.to_owned(), v as f32)).into(),
        weight: 0.0,
        node: String::new(),
    }
}
