//! `pipeline`: one file a subcommand, one place that decides how the process ends.
mod allocated_bytes;
mod bench;
mod cache;
mod check;
mod compare;
mod completions;
mod device;
mod doctor;
mod dry_run;
mod extract;
mod graph;
mod inspect;
mod kinds;
mod probe;
mod run_graph;
mod schema;
mod screen;
mod show;
mod signal;
mod table;
mod tap;
use clap::{Parser, Subcommand};
use std::io::Write;
use std::panic::catch_unwind;
use std::process::exit;

#[global_allocator]
static ALLOCATOR: allocated_bytes::Counting = allocated_bytes::Counting;

/// Distil and prune speech models: one JSON graph a method.
#[derive(Parser)]
#[command(name = "pipeline", version, arg_required_else_help = true)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a graph: train, prune, write models
    Run(run_graph::Arguments),
    /// Say what is wrong with a graph, or how large it is; needs no data
    Check(check::Arguments),
    /// Draw a graph
    Show(show::Arguments),
    /// Measure how fast a phase of a graph runs
    Bench(bench::Arguments),
    /// Write down what crosses a port
    Tap(tap::Arguments),
    /// Set finished runs side by side
    Compare(compare::Arguments),
    /// The kinds of nodes, or the ports and options of one
    Nodes(kinds::Arguments),
    /// JSON Schema of a graph file, for editors
    Schema(schema::Arguments),
    /// Say what a model is made of
    Inspect(inspect::Arguments),
    /// Write the hidden states of audio files to a Parquet file
    Extract(extract::Arguments),
    /// Measure what a model's layers know of phones
    Probe(probe::Arguments),
    /// Look after a cache of targets
    Cache(cache::Arguments),
    /// Say what this machine and this folder have
    Doctor(doctor::Arguments),
    /// A script that completes commands in a shell
    Completions(completions::Arguments),
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// What went wrong, for stderr; it also decides the exit code.
enum Failure {
    /// The command line asks for what cannot be.
    Usage(String),
    /// The graph has problems, a line each.
    Graph(String),
    Failed(String),
}

impl<E: std::fmt::Display> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Failed(error.to_string())
    }
}

/// The exit code.
type Outcome = Result<i32, Failure>;

fn main() {
    let line = Line::parse();
    let outcome = catch_unwind(|| match line.command {
        Command::Run(arguments) => arguments.run(),
        Command::Check(arguments) => arguments.run(),
        Command::Show(arguments) => arguments.run(),
        Command::Bench(arguments) => arguments.run(),
        Command::Tap(arguments) => arguments.run(),
        Command::Compare(arguments) => arguments.run(),
        Command::Nodes(arguments) => arguments.run(),
        Command::Schema(arguments) => arguments.run(),
        Command::Inspect(arguments) => arguments.run(),
        Command::Extract(arguments) => arguments.run(),
        Command::Probe(arguments) => arguments.run(),
        Command::Cache(arguments) => arguments.run(),
        Command::Doctor(arguments) => arguments.run(),
        Command::Completions(arguments) => arguments.run(),
    });
    let (code, says) = match outcome {
        Ok(Ok(code)) => (code, String::new()),
        Ok(Err(Failure::Usage(says))) => (2, says),
        Ok(Err(Failure::Graph(says))) => (78, says),
        Ok(Err(Failure::Failed(says))) => (1, says),
        Err(_) => (1, "this is a bug in `pipeline`, please report it".into()),
    };
    if !says.is_empty() {
        let _ = writeln!(std::io::stderr(), "{}", says.trim_end());
    }
    exit(code)
}

/// Data for stdout; whoever stops reading it has enough.
fn print(text: &str) -> Outcome {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|_| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(0),
    }
}
