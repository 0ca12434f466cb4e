//! [`SelfAttentionDevice`] as four linear maps around [`attention`].
use super::SelfAttentionDevice;
use crate::gemm::Precision;
use crate::math::Dropout;
use crate::op::attention::attention;
use crate::op::linear;
use crate::op::position_bias::PositionBias;
use crate::op::residual_norm::Branch;
use crate::tensor::Track;
use crate::tensor::cpu::{Cpu, Hidden, Param, Vector};

impl SelfAttentionDevice for Cpu {
    fn self_attention<T: Track<Cpu>>(
        x: Hidden<T>,
        [wq, bq, wk, bk, wv, bv, wo, bo]: [&Param; 8],
        heads: usize,
        gate: Option<&Vector<T>>,
        bias: Option<PositionBias<T, Cpu>>,
        drop: Dropout,
        precision: Precision,
    ) -> Branch<T, Cpu> {
        let inputs = [(wq, bq), (wk, bk), (wv, bv)];
        let qkv = inputs.map(|(w, b)| linear(x.clone(), w, b, precision));
        let o = attention(qkv, heads, gate, bias, drop, precision);
        Branch::of(linear(o, wo, bo, precision))
    }
}
