//! Runs graphs of nodes: [`graph`] checks a graph file and plans it, [`run`] executes the plan as
//! threads that exchange Arrow batches, [`report`] and [`draw`] show plans and results.
pub mod draw;
pub mod format;
pub mod graph;
pub mod report;
pub mod run;
pub mod speed;
