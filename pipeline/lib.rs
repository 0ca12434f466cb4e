//! How a graph runs. A file is read ([`spec`]), checked and cut into stages ([`plan`]), and run ([`run`]): each stage is a
//! thread ([`stage`]), batches cross on bounded channels ([`phase`]). Knows no tensor and no loss.
pub mod data;
pub mod draw;
mod inlet;
pub mod json;
pub mod machine;
pub mod options;
pub mod phase;
pub mod plan;
pub mod problem;
pub mod report;
pub mod resume;
pub mod run;
pub mod spec;
pub mod stage;
pub mod summary;
pub mod wires;
