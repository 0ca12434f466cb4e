//! How a graph runs: [`graph`] turns its text into a checked plan, [`run`] executes the plan as
//! threads that exchange Arrow batches, [`report`] and [`draw`] show the result.
pub mod draw;
pub mod graph;
pub mod report;
pub mod run;
