//! Elementwise passes that ops, gradients and tensors share: a lane for each number.
use super::gpu::Address;
use super::grid::for_each;
use super::kernels::{self, Pack};
use super::mask::Mask;

/// Adds `from` through the mask to `to`, both of `n` numbers.
pub fn add(from: Address, to: Address, n: usize, mask: Mask) {
    kernels::add(Pack::of(n), for_each(n, n), from, to, n, mask);
}

/// Adds gate · from to `to`, for one factor in memory.
pub fn add_times(from: Address, gate: Address, to: Address, n: usize) {
    kernels::add_times(Pack::of(n), for_each(n, n), from, gate, to, n);
}

/// Adds b, of `width` numbers, to each of `rows` rows of y.
pub fn add_row(y: Address, b: Address, rows: usize, width: usize) {
    let n = rows * width;
    kernels::add_row(Pack::of(width), for_each(n, width), y, b, n, width);
}
