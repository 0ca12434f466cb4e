//! Reads a graph file, checks it, and plans its phases, before audio or weights are touched.
pub mod edges;
pub(crate) mod json;
mod options;
pub mod plan;
pub mod problem;
pub mod ranks;
pub mod spec;
mod stages;
