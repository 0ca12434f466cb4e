//! Elementwise passes that ops, gradients and tensors share: a lane for each number.
use super::gpu::{Address, for_each, kernel, launch};
use super::mask::Mask;

/// Adds `from` through the mask to `to`, both of `n` numbers.
pub fn add(from: Address, to: Address, n: usize, mask: Mask) {
    launch!(kernel("add", n), for_each(n, n), from, to, n, mask);
}

/// Adds gate · from to `to`, for one factor in memory.
pub fn add_times(from: Address, gate: Address, to: Address, n: usize) {
    launch!(kernel("add_times", n), for_each(n, n), from, gate, to, n);
}

/// Adds b, of `width` numbers, to each of `rows` rows of y.
pub fn add_row(y: Address, b: Address, rows: usize, width: usize) {
    let n = rows * width;
    launch!(kernel("add_row", width), for_each(n, width), y, b, n, width);
}
