//! From the text of a graph file to a checked plan: JSON with places, problems, options, edges,
//! stages and their order. Nothing here reads audio or weights.
pub mod edges;
pub mod json;
pub mod options;
pub mod plan;
pub mod problem;
pub mod spec;
