//! The gate of a position bias (WavLM, arXiv:2110.13900; `gru_rel_pos` in transformers). For each
//! frame and head, with x the head's d channels of the layer's input, u = w x + b of eight numbers,
//! a = σ(u1 + .. + u4) and b = σ(u5 + .. + u8):
//!   gate = a (b c - 1) + 2.
//! x (frames, all heads · d), w (8, d), b (8), c (all heads), gate (frames, heads): heads that were
//! pruned have none.
//!
//! Of w and b only the sums of four rows count. da = dgate (b c - 1), db = dgate a c,
//! dc = Σ dgate a b, and du = dσ σ (1 - σ).
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
use crate::tensor::{DeviceStorage, Grads, Hidden, Matrix, NoneTape, Param, Track, record_hidden};

/// What a device must do for [`position_gate`].
pub trait PositionGateDevice: DeviceStorage {
    /// What the backward pass needs beside x and the weights.
    type Saved: 'static;

    /// Returns the gates of `heads`, numbers among all heads.
    fn forward(
        x: &Matrix<NoneTape, Self>,
        weights: [&Param<Self>; 3],
        heads: &[usize],
    ) -> (Matrix<NoneTape, Self>, Self::Saved);

    /// Adds to the gradients of x, w, b and c.
    fn backward(
        dy: Self::Upstream,
        x: &Matrix<NoneTape, Self>,
        weights: [&Param<Self>; 3],
        saved: &Self::Saved,
        g: &mut Grads<Self>,
    );
}

/// Computes the gates of the remaining `heads`, numbers among all heads of the unpruned layer.
pub fn position_gate<T: Track<D>, D: PositionGateDevice>(
    x: Hidden<T, D>,
    [w, b, c]: [&Param<D>; 3],
    heads: &[usize],
) -> Hidden<T, D> {
    let (x, tape) = x.split();
    let (y, saved) = D::forward(&x.values, [w, b, c], heads);
    let weights = [w, b, c].map(Param::clone);
    record_hidden(y, x.spans, tape, move |dy, g| {
        D::backward(dy, &x.values, weights.each_ref(), &saved, g);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, affine, check_op, close};
    use crate::tensor::cpu::read;

    #[test]
    fn position_gate_is_its_formula_and_its_gradient() {
        let sigmoid = |u: &[f64]| 1.0 / (1.0 + (-u.iter().sum::<f64>()).exp());
        for (rows, all, d, heads) in [
            (&ROWS[..], 3, 5, &[0, 1, 2][..]),
            (&ROWS, 4, 5, &[3, 1]),
            (&ROWS, 4, 18, &[3, 1]),
            (&ROWS, 2, 4, &[0]),
            (&ROWS, 2, 5, &[]),
            (&[150, 40], 2, 5, &[1]),
        ] {
            let case = Case::new(rows, all * d, &[8 * d, 8, all]);
            let p = &case.p;
            let gate = |frame: &[f64], h: usize| {
                let u = affine(&frame[h * d..][..d], d, &p[0], &p[1]);
                sigmoid(&u[..4]) * (sigmoid(&u[4..]) * read(&p[2])[h] as f64 - 1.0) + 2.0
            };
            let mut reference = Vec::new();
            for frame in case.frames().chunks(all * d) {
                reference.extend(heads.iter().map(|&h| gate(frame, h)));
            }
            let y = position_gate(case.x.clone(), [&p[0], &p[1], &p[2]], heads);
            close(y.read(), &reference, 1e-5);
            check_op!(case, |x, p, _, _| {
                position_gate(x, [&p[0], &p[1], &p[2]], heads).values
            });
        }
    }
}
