//! `pipeline fetch REPO [--revision R] [--out DIR]`: makes a model folder of a repository on the
//! Hugging Face hub.
mod hub_cache;

use crate::ending::{CommandError, CommandResult, WithPath};
use hub_cache::HubCache;
use nodes::data::file::create_temporary_folder;
use nodes::data::printable::printable_path;
use nodes::model::{UnknownKeys, read_architecture};
use std::fs;
use std::path::{Path, PathBuf};

/// What describes a model, of transformers or of DiariZen; the first that is there counts.
const DESCRIPTIONS: [&str; 2] = ["config.json", "config.toml"];
/// Files of a model beside its weights and its description.
const COMPANIONS: [&str; 5] = [
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer_config.json",
    // Of this program's own models.
    "cmvn.safetensors",
    "logits.safetensors",
];
/// A file with all tensors, and the index of shards; the first that is there counts.
const WEIGHTS: [(&str, &str); 2] = [
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The repository: owner/name
    repo: String,
    /// Branch, tag or commit
    #[arg(long, value_name = "R", default_value = "main")]
    revision: String,
    /// The folder to write, which must be new [default: models/ and the name]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Gives the files of a repository by name.
trait Source {
    /// Returns the path of a file; `None` if the repository is known not to have it.
    fn find(&self, name: &str) -> Result<Option<PathBuf>, String>;
}

impl Arguments {
    /// Copies the files of the model from the hub's cache, into which they are downloaded first if
    /// this build can and may.
    pub(crate) fn run(self) -> CommandResult {
        let name = self.name().ok_or_else(|| {
            let repo = &self.repo;
            CommandError::Usage(format!(
                "`{repo}` is no repository of the hub: write owner/name, as facebook/hubert-base-ls960"
            ))
        })?;
        let out = self.out.clone();
        let out = out.unwrap_or_else(|| Path::new("models").join(name));
        if out.exists() {
            let out = printable_path(&out);
            return Err(CommandError::Usage(format!(
                "{out} is there already and is not overwritten; remove it, or name another folder \
                 with `--out`"
            )));
        }
        let files = self
            .files()
            .map_err(|error| self.with_remedy(&error, &out))?;
        copy(&files, &out)?;
        let architecture = read_architecture(&out, UnknownKeys::Allow)?;
        eprintln!(
            "{}: {} files of {}, a {}",
            printable_path(&out),
            files.len(),
            self.repo,
            architecture.model_type
        );
        Ok(())
    }

    /// Returns the name behind the owner.
    fn name(&self) -> Option<&str> {
        let (owner, name) = self.repo.split_once('/')?;
        let is_name = |text: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !text.is_empty() && !text.starts_with('.') && text.chars().all(known)
        };
        (is_name(owner) && is_name(name)).then_some(name)
    }

    /// Returns the paths of the model's files.
    fn files(&self) -> Result<Vec<PathBuf>, String> {
        let source = self.source()?;
        let mut files = vec![description(source.as_ref())?];
        for companion in &COMPANIONS {
            files.extend(source.find(companion)?);
        }
        for (whole, index) in WEIGHTS {
            if let Some(whole) = source.find(whole)? {
                files.push(whole);
                return Ok(files);
            }
            if let Some(index) = source.find(index)? {
                for shard in shards(&index)? {
                    let found = source.find(&shard)?;
                    files.push(found.ok_or_else(|| format!("the repository has no {shard}"))?);
                }
                files.push(index);
                return Ok(files);
            }
        }
        Err("there is neither model.safetensors nor pytorch_model.bin".into())
    }

    #[cfg(feature = "hub")]
    fn source(&self) -> Result<Box<dyn Source>, String> {
        if is_offline() {
            return Ok(Box::new(HubCache::open(&self.repo, &self.revision)?));
        }
        Ok(Box::new(download::Hub::open(&self.repo, &self.revision)?))
    }

    #[cfg(not(feature = "hub"))]
    fn source(&self) -> Result<Box<dyn Source>, String> {
        Ok(Box::new(HubCache::open(&self.repo, &self.revision)?))
    }

    /// Adds to an error what a person can do.
    fn with_remedy(&self, error: &str, out: &Path) -> String {
        let repo = &self.repo;
        let out = out.display();
        let revision = match self.revision.as_str() {
            "main" => String::new(),
            revision => format!(" --revision {revision}"),
        };
        let build = if cfg!(feature = "hub") {
            ""
        } else {
            "; this build downloads nothing (it lacks the feature `hub`)"
        };
        format!(
            "{repo}: {error}{build}. Where there is a network: `hf download \
             {repo}{revision} --local-dir {out}`; or place config.json, preprocessor_config.json \
             and model.safetensors (or pytorch_model.bin) into {out}"
        )
    }
}

#[cfg(feature = "hub")]
mod download;

/// Whether the environment forbids the network.
#[cfg(feature = "hub")]
fn is_offline() -> bool {
    let value = std::env::var("HF_HUB_OFFLINE").unwrap_or_default();
    !["", "0", "false", "no", "off"].contains(&value.to_lowercase().as_str())
}

/// Returns the file that describes the model.
fn description(source: &dyn Source) -> Result<PathBuf, String> {
    for name in DESCRIPTIONS {
        if let Some(path) = source.find(name)? {
            return Ok(path);
        }
    }
    Err("the repository has no config.json".into())
}

/// Returns the names of the files that an index of shards names.
fn shards(index: &Path) -> Result<Vec<String>, String> {
    let text = fs::read_to_string(index).with_path(index)?;
    let index_json: serde_json::Value = serde_json::from_str(&text).with_path(index)?;
    let map = index_json["weight_map"].as_object();
    let names = map.into_iter().flat_map(|map| map.values());
    let names = names.filter_map(|name| name.as_str().map(str::to_owned));
    let names: std::collections::BTreeSet<String> = names.collect();
    if names.is_empty() || names.iter().any(|name| name.contains(['/', '\\'])) {
        return Err(format!("{} names no shards", printable_path(index)));
    }
    Ok(names.into_iter().collect())
}

/// Copies files into a new folder, which is complete or not there.
fn copy(files: &[PathBuf], out: &Path) -> CommandResult {
    if let Some(parent) = out.parent() {
        fs::create_dir_all(parent).with_path(parent)?;
    }
    let growing = create_temporary_folder(out)?;
    let copied = files.iter().try_for_each(|file| {
        let name = file.file_name().unwrap_or_default();
        fs::copy(file, growing.join(name)).with_path(file).map(drop)
    });
    let renamed = copied.and_then(|()| fs::rename(&growing, out).with_path(out));
    if renamed.is_err() {
        let _ = fs::remove_dir_all(&growing); // its error is the one that counts
    }
    Ok(renamed?)
}
