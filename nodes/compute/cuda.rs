//! What the ops need on an NVIDIA GPU (docs/cuda.md).
//!
//! Four modules call foreign code: [`crate::tensor::cuda`] dfdx's tensors, [`gpu`] and `pinned` the
//! driver, [`product`] cuBLAS. Kernels are in the `.cu` files next to their ops, and `kernels` has a
//! function that launches each. Their blocks have 8 warps, whose lanes read 4 neighbours at once
//! where the width allows it. Sums have a fixed order, so two runs on a GPU give the same bits.
#[cfg(test)]
pub(crate) mod check;
#[cfg(all(test, feature = "simulated-gpu"))]
mod count;
pub mod elementwise;
pub mod gpu;
pub(crate) mod grid;
pub(crate) mod kernels;
pub(crate) mod mask;
mod module;
pub(crate) mod narrow;
pub(crate) mod padded;
pub(crate) mod pinned;
pub mod product;
pub(crate) mod refusal;
#[cfg(test)]
#[path = "build/kernels.rs"]
mod signatures;
pub(crate) mod sums;
mod trace;
