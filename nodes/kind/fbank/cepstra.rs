//! Cepstra of log-mel frames: Kaldi's MFCC without energy. HuBERT's first targets are 13 cepstra of
//! 23 bins with two orders of deltas.
//!
//! ```text
//! cepstrum c   (1 + 11 sin(πc / 22)) · Σ_b √(s / B) cos(πc (b + ½) / B) · feature_b,
//!              with s = 1 for c = 0, else 2
//! ```
use std::f64::consts::PI;

const LIFTER: f64 = 22.0;

/// Returns the cosines of a number of cepstra with their lifter, (cepstra, bins).
pub(super) fn matrix(cepstra: usize, bins: usize) -> Vec<f64> {
    let b = bins as f64;
    let mut matrix = Vec::with_capacity(cepstra * bins);
    for c in 0..cepstra {
        let lift = 1.0 + LIFTER / 2.0 * (PI * c as f64 / LIFTER).sin();
        let scale = if c == 0 { 1.0 } else { 2.0 };
        for bin in 0..bins {
            let angle = PI * c as f64 * (bin as f64 + 0.5) / b;
            matrix.push(lift * (scale / b).sqrt() * angle.cos());
        }
    }
    matrix
}

/// Maps features, (frames, bins), to (frames, cepstra).
pub(super) fn cepstra(features: &[f32], bins: usize, matrix: &[f64]) -> Vec<f32> {
    let mut cepstra = vec![];
    for frame in features.chunks_exact(bins) {
        for row in matrix.chunks_exact(bins) {
            let products = frame.iter().zip(row).map(|(x, m)| *x as f64 * m);
            cepstra.push(products.sum::<f64>() as f32);
        }
    }
    cepstra
}
