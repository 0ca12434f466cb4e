//! Passes over tensors that every device offers. Ops that need nothing special of a device are
//! written over them once: products, sums over rows, elementwise passes.
//!
//! Shapes: x, y (frames, width); a weight (out, width); a bias (width).
pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
pub(crate) mod packed;
use crate::gemm::Precision;
use crate::math::Dropout;
use crate::tensor::{DeviceStorage, Matrix, NoneTape, Param};
use packed::PackedWeights;

/// What a device must do for the ops that are written over passes.
pub trait Passes: DeviceStorage {
    /// A factor of products in the format of their precision, and what keeps it in memory.
    type Operand: 'static;

    /// Prepares a result as a factor.
    fn operand(precision: Precision, x: &Matrix<NoneTape, Self>) -> Self::Operand;
    /// Prepares a parameter as a factor; a converted copy serves all passes until an update.
    fn weight(precision: Precision, w: &Param<Self>) -> Self::Operand;
    /// Packs a weight (out, width) that changes no more, where that pays.
    fn pack(kept: &mut PackedWeights, precision: Precision, shape: [usize; 2], w: &mut Param<Self>);
    /// Prepares the gradient of a result of `len` numbers as a factor.
    fn gradient(precision: Precision, dy: Self::Upstream, len: usize) -> Self::Operand;

    /// Returns x wᵀ + b, (frames, out).
    fn affine(
        precision: Precision,
        x: &Self::Operand,
        w: &Self::Operand,
        b: &Param<Self>,
        shape: Affine,
    ) -> Matrix<NoneTape, Self>;
    /// Adds dyᵀ x to dw, (out, width).
    fn add_weight_gradient(
        precision: Precision,
        dy: &Self::Operand,
        x: &Self::Operand,
        shape: Affine,
        dw: Self::Accumulator<'_>,
    );
    /// Adds dy w to dx, (frames, width).
    fn add_input_gradient(
        precision: Precision,
        dy: &Self::Operand,
        w: &Self::Operand,
        shape: Affine,
        dx: Self::Accumulator<'_>,
    );
    /// Adds Σ dy over frames to db, (out).
    fn add_bias_gradient(dy: &Self::Operand, shape: Affine, db: Self::Accumulator<'_>);

    /// Returns b in each of `frames` rows.
    fn repeat(b: &Param<Self>, frames: usize) -> Matrix<NoneTape, Self>;
    /// Returns drop(x).
    fn dropped(x: &Matrix<NoneTape, Self>, drop: Dropout) -> Matrix<NoneTape, Self>;
    /// Returns x + drop(r).
    fn sum_dropped(
        x: &Matrix<NoneTape, Self>,
        r: &Matrix<NoneTape, Self>,
        drop: Dropout,
    ) -> Matrix<NoneTape, Self>;
    /// Returns x in memory of its own.
    fn copied(x: &Matrix<NoneTape, Self>) -> Matrix<NoneTape, Self>;
    /// Returns gate x, for one factor on all of x.
    fn times(x: &Matrix<NoneTape, Self>, gate: &Param<Self>) -> Matrix<NoneTape, Self>;

    /// Adds factor · dy to dx, of `len` numbers.
    fn add_scaled(dy: &Self::Upstream, factor: f32, len: usize, dx: Self::Accumulator<'_>);
    /// Adds drop(dy) to dx, of `len` numbers.
    fn add_dropped(dy: Self::Upstream, drop: Dropout, len: usize, dx: Self::Accumulator<'_>);
    /// Adds gate dy to dx.
    fn add_times(dy: Self::Upstream, gate: &Param<Self>, len: usize, dx: Self::Accumulator<'_>);
    /// Adds Σ x ∘ dy over all numbers to one number.
    fn add_dot(x: &Matrix<NoneTape, Self>, dy: &Self::Upstream, to: Self::Accumulator<'_>);

    /// Adds Σ dy over frames to db, (out), reading dy in the format of products.
    fn add_operand_sums(
        precision: Precision,
        dy: &Self::Operand,
        shape: Affine,
        db: Self::Accumulator<'_>,
    );
}

/// Shape of y = x wᵀ + b: x (frames, width), w (out, width), y (frames, out).
#[derive(Clone, Copy, Debug)]
pub struct Affine {
    pub frames: usize,
    pub width: usize,
    pub out: usize,
}
