//! Cepstra of log-mel frames, and how features move over time: Kaldi's MFCC without energy, and torchaudio's
//! compute_deltas. HuBERT's first targets are 13 cepstra of 23 bins with two orders of deltas.
//!
//! ```text
//! cepstrum c   (1 + 11 sin(πc / 22)) · Σ_b √(2 / B) cos(πc (b + ½) / B) · feature_b; √(1 / B) in place of √(2 / B) for c = 0
//! delta        (x_{t+1} - x_{t-1} + 2 (x_{t+2} - x_{t-2})) / 10, the first and last frame standing for those beyond
//! ```
use std::f64::consts::PI;

const LIFTER: f64 = 22.0;

/// (cepstra, bins): the cosines, liftered.
pub fn matrix(cepstra: usize, bins: usize) -> Vec<f64> {
    let b = bins as f64;
    let row = |c: usize| {
        let (lift, scale) = (
            1.0 + LIFTER / 2.0 * (PI * c as f64 / LIFTER).sin(),
            if c == 0 { 1.0 } else { 2.0 },
        );
        (0..bins).map(move |bin| {
            lift * (scale / b).sqrt() * (PI * c as f64 * (bin as f64 + 0.5) / b).cos()
        })
    };
    (0..cepstra).flat_map(row).collect()
}

/// (frames, cepstra) of (frames, bins).
pub fn cepstra(features: &[f32], bins: usize, matrix: &[f64]) -> Vec<f32> {
    let dot = |frame: &[f32], row: &[f64]| {
        frame
            .iter()
            .zip(row)
            .map(|(x, m)| *x as f64 * m)
            .sum::<f64>() as f32
    };
    features
        .chunks_exact(bins)
        .flat_map(|frame| matrix.chunks_exact(bins).map(move |row| dot(frame, row)))
        .collect()
}

/// (frames, width · (orders + 1)): each frame with its deltas, the deltas of these, and so on.
pub fn with_deltas(features: Vec<f32>, width: usize, orders: usize) -> Vec<f32> {
    let mut all = vec![features];
    for _ in 0..orders {
        all.push(deltas(&all[all.len() - 1], width));
    }
    let frames = all[0].len() / width;
    (0..frames)
        .flat_map(|t| all.iter().flat_map(move |x| &x[t * width..][..width]))
        .copied()
        .collect()
}

fn deltas(x: &[f32], width: usize) -> Vec<f32> {
    let frames = x.len() / width;
    let at = |t: usize, away: isize, i: usize| {
        x[t.saturating_add_signed(away).min(frames - 1) * width + i]
    };
    let delta = |t, i| (at(t, 1, i) - at(t, -1, i) + 2.0 * (at(t, 2, i) - at(t, -2, i))) / 10.0;
    (0..frames)
        .flat_map(|t| (0..width).map(move |i| delta(t, i)))
        .collect()
}
