//! Integration tests: run the program as its users do.
mod bench;
mod cache;
mod checkpoints;
mod commands;
mod compare;
mod corpus;
mod damage;
mod earlier;
mod export;
mod failure;
mod front_ends;
mod imports;
mod leftovers;
mod longer;
mod manifests;
#[cfg(target_os = "linux")]
mod memory;
mod methods;
mod models;
mod moved;
mod new;
mod pretraining;
mod probe;
mod problems;
mod program;
mod progress;
mod pruning;
mod recipe;
mod report;
mod run;
mod sample;
mod schema;
mod shipped;
#[cfg(unix)]
mod slurm;
mod tap;
mod wild;
