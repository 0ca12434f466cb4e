//! Tensors, ops with gradients, GEMMs and devices. This crate knows no Arrow batch, no graph and no
//! speech.
pub mod adamw;
pub mod allocated_bytes;
#[cfg(target_os = "linux")]
pub mod allocator;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod gemm;
pub mod math;
pub mod memory;
pub mod op;
pub mod parallel;
pub mod random;
pub mod ranks;
pub mod roofline;
pub mod tensor;

/// Any error, which threads may pass on.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T, E = Error> = std::result::Result<T, E>;
