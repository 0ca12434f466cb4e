//! Dropout on a GPU, which drops the same numbers as [`Dropout::factor`].
use crate::math::Dropout;

/// Which numbers of an array a kernel drops, and the factor of the others: `Mask` of common.cuh.
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
    /// Returns a mask that drops nothing and multiplies by `factor`.
    pub const fn times(factor: f32) -> Mask {
        Mask {
            least: 0,
            key: 0,
            factor,
        }
    }
}
