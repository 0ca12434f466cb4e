//! `pipeline cache list|verify|remove PATH`
use crate::{Format, Outcome, print};
use nodes::cache::tools;
use nodes::cache::tools::Listing;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// What the cache holds
    List {
        /// A cache, or one fingerprint's folder in it
        path: PathBuf,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Hash and decode every part again; exit code 1 if one is damaged
    Verify { path: PathBuf },
    /// Remove the cache
    Remove { path: PathBuf },
}

impl Arguments {
    pub fn run(self) -> Outcome {
        match self.command {
            Command::List {
                path,
                format: Format::Json,
            } => print(&format!(
                "{}\n",
                serde_json::to_string_pretty(&tools::list(&path)?)?
            )),
            Command::List {
                path,
                format: Format::Text,
            } => print(
                &tools::list(&path)?
                    .iter()
                    .map(|l| line(l) + "\n")
                    .collect::<String>(),
            ),
            Command::Verify { path } => {
                let damages = tools::verify(&path)?;
                damages
                    .iter()
                    .for_each(|d| eprintln!("{}: {}", d.path.display(), d.says));
                eprintln!("{} damaged", damages.len());
                Ok(i32::from(!damages.is_empty()))
            }
            Command::Remove { path } => {
                tools::remove(&path)?
                    .iter()
                    .for_each(|folder| eprintln!("removed {}", folder.display()));
                Ok(0)
            }
        }
    }
}

fn line(l: &Listing) -> String {
    let unreadable = if l.unreadable > 0 {
        format!(", {} parts unreadable", l.unreadable)
    } else {
        String::new()
    };
    let layers = if l.layers.is_empty() {
        String::new()
    } else {
        format!("layers {:?}  ", l.layers)
    };
    format!(
        "{}  {}  {layers}{} rows  {} frames  {:.1} MB{unreadable}",
        l.folder.display(),
        l.kind.as_deref().unwrap_or("?"),
        l.rows,
        l.frames,
        l.bytes as f64 / 1e6
    )
}
