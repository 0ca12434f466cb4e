//! Dropout as the kernels compute it: the same numbers as [`Dropout::factor`].
use crate::math::Dropout;

/// `Mask` of kernels/common.cuh.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Mask {
    least: u32,
    key: u32,
    factor: f32,
}

impl From<Dropout> for Mask {
    fn from(drop: Dropout) -> Mask {
        Mask {
            least: drop.least(),
            key: drop.key,
            factor: drop.kept(),
        }
    }
}

impl Mask {
    /// Drops nothing, and multiplies.
    pub const fn times(factor: f32) -> Mask {
        Mask {
            least: 0,
            key: 0,
            factor,
        }
    }
}
