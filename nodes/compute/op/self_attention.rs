//! Half a layer: y = o woᵀ + bo, o being [`super::attention`] of q, k and v, each x wᵀ + b.
//! x, y (frames, width), wq, wk, wv (heads · d, width), wo (width, heads · d), gate (heads).
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
use super::position_bias::PositionBias;
use super::residual_norm::{Branch, ResidualNormDevice};
use crate::gemm::Precision;
use crate::math::Dropout;
use crate::tensor::{Hidden, Param, Track, Vector};

/// What a device must do for [`self_attention`].
pub trait SelfAttentionDevice: ResidualNormDevice {
    /// Computes [`self_attention`] and records it.
    fn self_attention<T: Track<Self>>(
        x: Hidden<T, Self>,
        weights: [&Param<Self>; 8],
        heads: usize,
        gate: Option<&Vector<T, Self>>,
        bias: Option<PositionBias<T, Self>>,
        drop: Dropout,
        precision: Precision,
    ) -> Branch<T, Self>;
}

/// Applies attention of `heads` heads between linear maps, whose weights and biases are wq, bq, wk,
/// bk, wv, bv, wo and bo.
pub fn self_attention<T: Track<D>, D: SelfAttentionDevice>(
    x: Hidden<T, D>,
    weights: [&Param<D>; 8],
    heads: usize,
    gate: Option<&Vector<T, D>>,
    bias: Option<PositionBias<T, D>>,
    drop: Dropout,
    precision: Precision,
) -> Branch<T, D> {
    D::self_attention(x, weights, heads, gate, bias, drop, precision)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::attention::tests::{bias, case};
    use crate::op::check::{DROP, ROWS, check_op};
    use crate::op::linear;
    use crate::tensor::put;

    #[test]
    fn self_attention_is_the_same_on_both_devices() {
        for (width, heads) in [(6, 2), (16, 2)] {
            let case = case(&ROWS, width, heads);
            for (drop, gated, biased) in [(DROP, true, true), (Dropout::NONE, false, false)] {
                check_op!(case, |x, p, tape, precision| {
                    let gate = put(&p[6], tape);
                    let position_gate = linear(x.clone(), &p[8], &p[9], Precision::F32);
                    let bias = bias(&p[7], position_gate, heads);
                    let gate = gated.then_some(&gate);
                    let bias = biased.then_some(bias);
                    let weights = [0, 1, 2, 3, 4, 5, 10, 11].map(|i| &p[i]);
                    let y = self_attention(x, weights, heads, gate, bias, drop, precision);
                    y.whole().values
                });
            }
        }
    }
}
