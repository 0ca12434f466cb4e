//! How features change over time, as torchaudio's `compute_deltas` computes it:
//!
//! ```text
//! (x_{t+1} - x_{t-1} + 2 (x_{t+2} - x_{t-2})) / 10
//! ```
//!
//! with the first and the last frame repeated beyond the ends.

/// Appends to each frame its deltas, the deltas of these, and so on: (frames, width · (orders +
/// 1)).
pub(crate) fn with_deltas(features: Vec<f32>, width: usize, orders: usize) -> Vec<f32> {
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
