//! Scenarios: the program as its users call it.
mod commands;
mod damage;
mod earlier;
mod manifests;
mod pretraining;
mod problems;
mod program;
mod report;
mod run;
mod sample;
mod shipped;
#[cfg(unix)]
mod slurm;
