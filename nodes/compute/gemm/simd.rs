//! The interface of an instruction set to the micro-kernel and packing: vectors, and words in them.
//!
//! A word is the 32 bits that a lane of the micro-kernel multiplies: one f32, or a pair of bf16
//! (gemm/bf16.rs).
#![allow(unsafe_op_in_unsafe_fn)] // each line is a load or an intrinsic

/// A vector of floats; its methods are inlined into functions that enable the instructions.
pub(super) trait Simd: Copy {
    const LANES: usize;
    /// Returns `x` in every lane.
    unsafe fn splat(x: f32) -> Self;
    /// Loads LANES numbers, unaligned.
    unsafe fn load(source: *const f32) -> Self;
    /// Stores LANES numbers, unaligned.
    unsafe fn store(self, target: *mut f32);
    /// Loads `n` numbers, zeros in the other lanes; no memory past the `n` is read.
    unsafe fn load_first(source: *const f32, n: usize) -> Self;
    /// Returns self + y.
    unsafe fn add(self, y: Self) -> Self;
    /// Returns self · x + y, rounded once.
    unsafe fn mul_add(self, x: Self, y: Self) -> Self;
    /// Transposes LANES × LANES numbers in place.
    unsafe fn transpose(rows: &mut [Self]);
}

/// The 32 bits that the micro-kernel multiplies: `K_PER_WORD` numbers of consecutive depth.
pub(super) trait Word<S: Simd> {
    const K_PER_WORD: usize;
    /// Loads LANES words from `n` numbers that are contiguous in depth; zeros past them.
    unsafe fn load_along_k(source: *const f32, n: usize) -> S;
    /// Loads one word for each of `n` contiguous columns, its numbers `k_stride` apart.
    ///
    /// Columns past `n` and numbers past `depth` are zeros.
    unsafe fn load_across_k(source: *const f32, k_stride: usize, n: usize, depth: usize) -> S;
    /// Returns Σ x · y over the numbers of each word, plus `sum`.
    unsafe fn mul_add(x: S, y: S, sum: S) -> S;
}

impl<S: Simd> Word<S> for f32 {
    const K_PER_WORD: usize = 1;
    #[inline(always)]
    unsafe fn load_along_k(source: *const f32, n: usize) -> S {
        if n >= S::LANES {
            S::load(source)
        } else {
            S::load_first(source, n)
        }
    }
    #[inline(always)]
    unsafe fn load_across_k(source: *const f32, _: usize, n: usize, _: usize) -> S {
        Self::load_along_k(source, n)
    }
    #[inline(always)]
    unsafe fn mul_add(x: S, y: S, sum: S) -> S {
        x.mul_add(y, sum)
    }
}
