//! `pipeline cache list|verify|merge|remove PATH` and `pipeline cache why GRAPH`: what a person does with a
//! cache of targets.
mod why;

use crate::Format;
use crate::ending::{CommandError, CommandResult};
use crate::print::{print, print_json};
use nodes::cache::tools::Listing;
use nodes::cache::{merge, tools};
use nodes::data::printable::printable_path;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: CacheCommand,
}

#[derive(clap::Subcommand)]
enum CacheCommand {
    /// List what the cache contains
    List {
        /// A cache, or one fingerprint's folder in it
        path: PathBuf,
        /// Output format
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Hash and decode every part again, and set damaged ones aside; exit code 1 if there is one
    Verify {
        /// A cache, or one fingerprint's folder in it
        path: PathBuf,
    },
    /// Join small parts, and drop rows that stand in several
    Merge {
        /// A cache, or one fingerprint's folder in it
        path: PathBuf,
    },
    /// Remove the cache
    Remove {
        /// A cache, or one fingerprint's folder in it
        path: PathBuf,
    },
    /// Say why rows of a graph are not in its caches
    Why(why::Arguments),
}

impl Arguments {
    /// Runs the subcommand of `cache`.
    pub(crate) fn run(self) -> CommandResult {
        match self.command {
            CacheCommand::List { path, format } => list(&path, format),
            CacheCommand::Verify { path } => verify(&path),
            CacheCommand::Merge { path } => merge(&path),
            CacheCommand::Remove { path } => remove(&path),
            CacheCommand::Why(arguments) => arguments.run(),
        }
    }
}

fn list(path: &Path, format: Format) -> CommandResult {
    let listings = tools::list(path)?;
    match format {
        Format::Json => print_json(&listings),
        Format::Text => print(&listings.iter().map(listing_line).collect::<String>()),
    }
}

fn verify(path: &Path) -> CommandResult {
    let damages = tools::verify(path)?;
    for damage in &damages {
        let path = printable_path(&damage.path);
        match damage.set_aside() {
            true => eprintln!(
                "{path}: {}; it is now called *.damaged, and the next run computes its rows again",
                damage.says
            ),
            false => eprintln!("{path}: {}", damage.says),
        }
    }
    eprintln!("{} damaged", damages.len());
    if damages.is_empty() {
        Ok(())
    } else {
        Err(CommandError::Damaged)
    }
}

fn merge(path: &Path) -> CommandResult {
    let merged = merge::merge(path)?;
    for damage in &merged.unreadable {
        eprintln!(
            "{}: left as it is: {}",
            printable_path(&damage.path),
            damage.says
        );
    }
    let path = printable_path(path);
    if merged.written + merged.removed == 0 {
        eprintln!("{path}: nothing to merge");
    } else {
        eprintln!(
            "{path}: joined {} parts into {}, dropped {} rows that stood in several",
            merged.removed, merged.written, merged.doubled
        );
    }
    Ok(())
}

fn remove(path: &Path) -> CommandResult {
    for folder in tools::remove(path)? {
        eprintln!("removed {}", printable_path(&folder));
    }
    Ok(())
}

/// Formats one fingerprint's folder, such as
/// `cache/32ffeb92bc3a5b10  teacher  layers [0, 2]  18 rows  640 frames  0.3 MB`.
fn listing_line(listing: &Listing) -> String {
    let layers = if listing.logits {
        "logits  ".to_owned()
    } else if listing.layers.is_empty() {
        String::new()
    } else {
        format!("layers {:?}  ", listing.layers)
    };
    let unreadable = if listing.unreadable > 0 {
        format!(", {} parts unreadable", listing.unreadable)
    } else {
        String::new()
    };
    let codec = match &listing.codec {
        Some(codec) if codec != "f32" => match codec["type"].as_str() {
            Some(name) => format!("{name}  "),
            None => format!("{}  ", codec.as_str().unwrap_or("?")),
        },
        _ => String::new(),
    };
    format!(
        "{}  {}  {codec}{layers}{} rows  {} frames  {:.1} MB{unreadable}\n",
        printable_path(&listing.folder),
        listing.kind.as_deref().unwrap_or("?"),
        listing.rows,
        listing.frames,
        listing.bytes as f64 / 1e6
    )
}
