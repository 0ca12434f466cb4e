//! Tensors, ops, matrix products and devices. Knows no Arrow batch, no graph and no speech.
pub mod adamw;
#[cfg(target_os = "linux")]
pub mod allocator;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod gemm;
pub mod math;
pub mod op;
pub mod parallel;
pub mod random;
pub mod roofline;
pub mod tensor;

pub type Error = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T, E = Error> = std::result::Result<T, E>;
