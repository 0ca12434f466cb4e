//! Hard Concrete gates (Louizos et al. 2018) with DPHuBERT's constants: β = 2/3, stretched to
//! (l, r) = (-0.1, 1.1).
//!
//! In training a gate is z = clamp(s (r - l) + l, 0, 1), where s = σ((ln u - ln(1-u) + log α) / β)
//! and u ~ U(ε, 1-ε). It is open with probability σ(log α - β ln(-l/r)). Fixed gates: the smallest
//! are closed, as many as are expected to be; the others are σ(0.8 log α / β).
use compute::math::sigmoid_f64;
use compute::op::given_vector;
use compute::tensor::{Param, Tape, Vector};

const BETA: f64 = 2.0 / 3.0;
const LEFT: f64 = -0.1;
const RIGHT: f64 = 1.1;
const EPSILON: f64 = 1e-6;
/// -β ln(-l/r)
const SHIFT: f64 = 1.598_596_848_5;

/// Returns the initial log α of units that are dropped with probability `drop`.
pub fn log_alpha(drop: f64) -> f64 {
    (1.0 - drop).ln() - drop.ln()
}

/// Maps a draw in [0, 1) into (0, 1).
pub fn inside(u: f32) -> f64 {
    EPSILON + (1.0 - 2.0 * EPSILON) * u as f64
}

/// Draws s for each gate of a vector, given its values and uniform draws `u` in (0, 1).
pub fn draw(values: &[f32], u: impl Fn(usize) -> f64) -> Vec<f64> {
    let mut s = vec![];
    for (i, &value) in values.iter().enumerate() {
        let u = u(i);
        s.push(sigmoid_f64((u.ln() - (1.0 - u).ln() + value as f64) / BETA));
    }
    s
}

/// Records the gates of a vector that [`draw`] gave this s.
pub fn sample(log_alpha: &Param, s: Vec<f64>, tape: &Tape) -> Vector<Tape> {
    let stretched = |s: f64| s * (RIGHT - LEFT) + LEFT;
    let z: Vec<f32> = s
        .iter()
        .map(|&s| stretched(s).clamp(0.0, 1.0) as f32)
        .collect();
    let accumulate = move |i: usize, dz: f64| {
        if (0.0..=1.0).contains(&stretched(s[i])) {
            dz * (RIGHT - LEFT) * s[i] * (1.0 - s[i]) / BETA
        } else {
            0.0
        }
    };
    given_vector(z, log_alpha, tape.clone(), accumulate)
}

/// Returns the expected number of open gates, and its derivative by each log α.
pub fn open(log_alpha: &[f32]) -> (f64, Vec<f64>) {
    let chances = log_alpha.iter().map(|&a| sigmoid_f64(a as f64 + SHIFT));
    let slope = chances.clone().map(|p| p * (1.0 - p)).collect();
    (chances.sum(), slope)
}

/// Returns the fixed gates, of which at least `least` are open.
pub fn fixed(log_alpha: &[f32], least: usize) -> Vec<f32> {
    let n = log_alpha.len();
    let closed = (n as f64 - open(log_alpha).0).round_ties_even() as usize;
    let mut ascending: Vec<usize> = (0..n).collect();
    ascending.sort_by(|&a, &b| log_alpha[a].total_cmp(&log_alpha[b]));
    let mut z: Vec<f32> = log_alpha
        .iter()
        .map(|&a| sigmoid_f64(0.8 * a as f64 / BETA) as f32)
        .collect();
    for &i in ascending.iter().take(closed.min(n - least.min(n))) {
        z[i] = 0.0;
    }
    z
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants() {
        assert!((SHIFT + BETA * (-LEFT / RIGHT).ln()).abs() < 1e-9);
        assert!((log_alpha(0.01) - 4.595).abs() < 1e-3 && log_alpha(0.5) == 0.0);
        let p = |drop| open(&[log_alpha(drop) as f32]).0;
        assert!((p(0.01) - 0.99796).abs() < 1e-5 && (p(0.5) - 0.83182).abs() < 1e-5);
    }

    #[test]
    fn as_many_close_as_are_expected_to() {
        let log_alpha: Vec<f32> = (0..40).map(|i| i as f32 * 0.2 - 5.0).collect();
        let z = fixed(&log_alpha, 0);
        let closed = z.iter().filter(|z| **z == 0.0).count();
        assert_eq!(closed, (40.0 - open(&log_alpha).0).round() as usize);
        assert!(z[..closed].iter().all(|z| *z == 0.0));
        assert_eq!(
            fixed(&[-20.0; 5], 1).iter().filter(|z| **z > 0.0).count(),
            1
        );
    }
}
