//! λ1 (ŝ - t) + λ2 (ŝ - t)² with ŝ = 1 - expected / all parameters, t the sparsity aimed at (Wang et al. 2020,
//! arXiv:1910.04732, equation 8). The derivative by each log α goes through the expected count, closed form.
use super::{expected, gate};
use crate::model::Architecture;
use crate::port::Scalar;
use crate::tensor::{Param, Tape, read, record};
use std::collections::BTreeMap;

/// Over every log α of `log_alpha`, by vector, and the multipliers; with the numbers to log.
pub fn penalty(
    architecture: &Architecture,
    log_alpha: &BTreeMap<String, Param>,
    lambda: &[Param; 2],
    target: f64,
    tape: &Tape,
) -> Scalar {
    let opened: BTreeMap<&String, (f64, Vec<f64>)> = log_alpha.iter().map(|(v, a)| (v, gate::open(read(a)))).collect();
    let open = opened.iter().map(|(v, (sum, _))| ((*v).clone(), *sum)).collect();
    let all = expected::parameters(architecture, &BTreeMap::new()).count;
    let left = expected::parameters(architecture, &open);
    let sparsity = 1.0 - left.count / all;
    let (miss, [l1, l2]) = (sparsity - target, [0, 1].map(|i| read(&lambda[i])[0] as f64));
    let loss = l1 * miss + l2 * miss * miss;

    let slopes: Vec<(Param, Vec<f64>)> = log_alpha
        .iter()
        .map(|(v, a)| {
            (a.clone(), opened[v].1.iter().map(|d| -(l1 + 2.0 * l2 * miss) * left.slope[v] / all * d).collect())
        })
        .collect();
    let lambdas = lambda.clone();
    let value = record(vec![loss as f32], (), tape.clone(), move |dy, g| {
        let dy = dy[0] as f64;
        for (a, slope) in &slopes {
            g.of(a).iter_mut().zip(slope).for_each(|(to, s)| *to += (dy * s) as f32);
        }
        g.of(&lambdas[0])[0] += (dy * miss) as f32;
        g.of(&lambdas[1])[0] += (dy * miss * miss) as f32;
    });
    let parts = [
        ("loss_reg", loss),
        ("sparsity_expected", sparsity),
        ("sparsity_target", target),
        ("lambda1", l1),
        ("lambda2", l2),
    ];
    Scalar { value, parts: parts.map(|(n, v)| (n.to_owned(), v as f32)).into(), weight: 0.0, node: String::new() }
}
