//! What ops with a gate share.
pub use super::join;
