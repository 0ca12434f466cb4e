//! Cepstra of log-mel frames, and how features change over time: Kaldi's MFCC without energy, and
//! torchaudio's `compute_deltas`. HuBERT's first targets are 13 cepstra of 23 bins with two orders
//! of deltas.
//!
//! ```text
//! cepstrum c   (1 + 11 sin(πc / 22)) · Σ_b √(s / B) cos(πc (b + ½) / B) · feature_b,
//!              with s = 1 for c = 0, else 2
//! delta        (x_{t+1} - x_{t-1} + 2 (x_{t+2} - x_{t-2})) / 10, the first and the last frame
//!              repeated beyond the ends
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

/// Appends to each frame its deltas, the deltas of these, and so on: (frames, width · (orders +
/// 1)).
pub(super) fn with_deltas(features: Vec<f32>, width: usize, orders: usize) -> Vec<f32> {
    let mut by_order = vec![features];
    for order in 0..orders {
        by_order.push(deltas(&by_order[order], width));
    }
    let frames = by_order[0].len() / width;
    let mut combined = Vec::with_capacity(frames * width * (orders + 1));
    for t in 0..frames {
        for features in &by_order {
            combined.extend_from_slice(&features[t * width..][..width]);
        }
    }
    combined
}

fn deltas(x: &[f32], width: usize) -> Vec<f32> {
    let frames = x.len() / width;
    let value = |t: usize, offset: isize, i: usize| {
        let t = t.saturating_add_signed(offset).min(frames - 1);
        x[t * width + i]
    };
    let mut deltas = Vec::with_capacity(x.len());
    for t in 0..frames {
        for i in 0..width {
            let near = value(t, 1, i) - value(t, -1, i);
            let far = value(t, 2, i) - value(t, -2, i);
            deltas.push((near + 2.0 * far) / 10.0);
        }
    }
    deltas
}
