//! Integration tests: run the program as its users do.
mod bench;
mod cache;
mod commands;
mod compare;
mod damage;
mod earlier;
mod failure;
mod front_ends;
mod imports;
mod manifests;
mod methods;
mod pretraining;
mod probe;
mod problems;
mod program;
mod report;
mod run;
mod sample;
mod schema;
mod shipped;
#[cfg(unix)]
mod slurm;
mod tap;
