//! Integration tests: run the program as its users do.
mod bench;
mod cache;
mod checkpoints;
mod codecs;
mod commands;
mod compare;
mod completions;
mod controls;
mod corpus;
mod damage;
mod earlier;
mod export;
mod extract;
mod failure;
mod fetch;
mod formats;
mod front_ends;
mod hints;
mod imports;
mod leftovers;
mod longer;
mod manifests;
mod measured;
#[cfg(target_os = "linux")]
mod memory;
mod methods;
mod models;
mod moved;
#[cfg(feature = "mpi")]
mod mpi;
#[cfg(target_os = "linux")]
mod namespaces;
mod new;
mod onnx;
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
mod sequences;
mod shards;
mod shipped;
#[cfg(unix)]
mod slurm;
mod students;
mod superb;
mod tap;
mod teacher;
mod wild;
