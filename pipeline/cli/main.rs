//! The program `pipeline`: parses the command line, runs one subcommand and exits with its code.
mod bench;
mod cache;
mod check;
mod compare;
mod completions;
mod device;
mod doctor;
mod dry_run;
mod ending;
mod export;
mod extract;
mod fetch;
mod graph;
mod inspect;
mod kinds;
mod manifest;
mod model_options;
#[cfg(feature = "mpi")]
mod mpi_transport;
mod new;
mod numbers;
mod print;
mod probe;
mod ranks;
mod recipe;
mod run_graph;
mod schema;
mod screen;
mod show;
mod signal;
mod superb;
mod table;
mod tap;
mod terminal;
mod version;

use crate::ending::{CommandError, CommandResult, Ending};
use clap::{Parser, Subcommand};
use compute::allocated_bytes::CountingAllocator;
use std::panic::catch_unwind;
use std::process::exit;

#[cfg(target_os = "linux")]
use compute::allocator::Pages as Inner;
#[cfg(not(target_os = "linux"))]
use std::alloc::System as Inner;

#[global_allocator]
static ALLOCATOR: CountingAllocator<Inner> = CountingAllocator(Inner);

/// Distil and prune speech models: one JSON graph a method.
#[derive(Parser)]
#[command(name = "pipeline", version = version::version(), arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a folder to work in: a graph and, with `--sample`, speech and a teacher
    New(new::Arguments),
    /// Run a graph: train, prune, write models
    Run(run_graph::Arguments),
    /// Check a graph and print the size of its models; needs no data
    Check(check::Arguments),
    /// Draw a graph
    Show(show::Arguments),
    /// Measure how fast a phase of a graph runs
    Bench(bench::Arguments),
    /// Write what a port sends to a Parquet file
    Tap(tap::Arguments),
    /// Compare runs side by side
    Compare(compare::Arguments),
    /// List the kinds of nodes, or the ports and options of one kind
    Nodes(kinds::Arguments),
    /// Print the JSON Schema of a graph file, for editors
    Schema(schema::Arguments),
    /// Print the architecture and the size of a model
    Inspect(inspect::Arguments),
    /// Make a model folder of a repository on the Hugging Face hub
    Fetch(fetch::Arguments),
    /// Write the hidden states of audio files to a Parquet file
    Extract(extract::Arguments),
    /// Write a model in the form that another program reads
    Export(export::Arguments),
    /// Measure how well each layer of a model predicts phones, or labels of utterances
    Probe(probe::Arguments),
    /// Train SUPERB's heads on frozen models and compare their scores
    Superb(superb::Arguments),
    /// List a folder of audio files as a train and a dev manifest
    Manifest(manifest::Arguments),
    /// List, verify or remove a cache of targets
    Cache(cache::Arguments),
    /// Print what this machine has, and check the sample data in this folder
    Doctor(doctor::Arguments),
    /// Print a script that completes commands in a shell
    Completions(completions::Arguments),
}

impl Command {
    fn run(self) -> CommandResult {
        match self {
            Command::New(arguments) => arguments.run(),
            Command::Run(arguments) => arguments.run(),
            Command::Check(arguments) => arguments.run(),
            Command::Show(arguments) => arguments.run(),
            Command::Bench(arguments) => arguments.run(),
            Command::Tap(arguments) => arguments.run(),
            Command::Compare(arguments) => arguments.run(),
            Command::Nodes(arguments) => arguments.run(),
            Command::Schema(arguments) => arguments.run(),
            Command::Inspect(arguments) => arguments.run(),
            Command::Fetch(arguments) => arguments.run(),
            Command::Extract(arguments) => arguments.run(),
            Command::Export(arguments) => arguments.run(),
            Command::Probe(arguments) => arguments.run(),
            Command::Superb(arguments) => arguments.run(),
            Command::Manifest(arguments) => arguments.run(),
            Command::Cache(arguments) => arguments.run(),
            Command::Doctor(arguments) => arguments.run(),
            Command::Completions(arguments) => arguments.run(),
        }
    }
}

/// Output formats of most commands.
#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

fn main() {
    // No subcommand: scripts would offer it.
    if completions::answer() {
        return;
    }
    let command_line = CommandLine::parse();
    // Where it cannot be installed an abort stays an abort.
    let _ = signal::name_file_on_abort();
    let result = catch_unwind(|| command_line.command.run()).unwrap_or_else(|_| {
        let message = "this is a bug in `pipeline`, please report it".to_owned();
        Err(CommandError::Failed(message))
    });
    let ending = ranks::part(Ending::of(&result));
    if !ending.message.is_empty() {
        terminal::print_error(&ending.message);
    }
    ranks::leave();
    exit(ending.exit_code)
}
