//! Ops on an NVIDIA GPU: each has the signature of its CPU form in [`crate::op`] and its tests run both (docs/cuda.md).
//!
//! Three borders: [`crate::tensor::cuda`] with dfdx's tensors, [`gpu`] and [`pinned`] with the driver, [`product`] with
//! cuBLAS. Kernels
//! are `kernels/*.cu`, of blocks of 8 warps; a warp's lanes read 4 neighbours at once where the width allows it. Sums
//! have a fixed order, so two runs on a GPU give the same bits.
#[cfg(test)]
pub(crate) mod check;
#[cfg(all(test, feature = "simulated-gpu"))]
mod count;
pub mod elementwise;
pub mod gpu;
pub(crate) mod kernels;
pub mod mask;
pub(crate) mod narrow;
pub mod pinned;
pub mod product;
#[cfg(test)]
#[path = "build/kernels.rs"]
mod signatures;
pub mod sums;
