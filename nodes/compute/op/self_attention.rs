//! Half a layer: y = o woᵀ + bo, o being [`super::attention`] of q, k and v, each x wᵀ + b.
//! x, y (frames, width), wq, wk, wv (heads · d, width), wo (width, heads · d).
#[cfg(feature = "cuda")]
pub mod cuda;
use super::attention::attention;
use super::linear::linear;
use super::position_bias::PositionBias;
use super::residual_norm::Branch;
use crate::gemm::Precision;
use crate::math::Dropout;
use crate::tensor::cpu::{Cpu, Hidden, Param, Track, Vector};

pub fn self_attention<T: Track>(
    x: Hidden<T>,
    [wq, bq, wk, bk, wv, bv, wo, bo]: [&Param; 8],
    heads: usize,
    gate: Option<&Vector<T>>,
    bias: Option<PositionBias<T, Cpu>>,
    drop: Dropout,
    precision: Precision,
) -> Branch<T> {
    let three = [(wq, bq), (wk, bk), (wv, bv)].map(|(w, b)| linear(x.clone(), w, b, precision));
    Branch::of(linear(
        attention(three, heads, gate, bias, drop, precision),
        wo,
        bo,
        precision,
    ))
}
