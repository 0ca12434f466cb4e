//! y = LN(x + drop(r)): [`super::residual`], then [`super::layer_norm`], which a GPU does in one pass.
#[cfg(feature = "cuda")]
pub mod cuda;
use super::cpu::layer_norm;
use super::elementwise::residual;
use crate::gemm::Precision;
use crate::math::Dropout;
use crate::tensor::cpu::{Hidden, Param, Track};

/// What a sub-layer adds to its input. A GPU leaves it as the last product wrote it until it is added.
pub struct Branch<T>(Hidden<T>);

impl<T: Track> Branch<T> {
    pub fn of(x: Hidden<T>) -> Branch<T> {
        Branch(x)
    }
    pub fn whole(self) -> Hidden<T> {
        self.0
    }
}

pub fn residual_norm<T: Track>(
    x: Hidden<T>,
    branch: Branch<T>,
    drop: Dropout,
    [gamma, beta]: [&Param; 2],
    eps: f32,
    precision: Precision,
) -> Hidden<T> {
    layer_norm(
        residual(x, branch.whole(), drop),
        gamma,
        beta,
        eps,
        precision,
    )
}
