//! What the files that a node reads contain, whatever their paths: by it a run that goes on knows
//! its data and models again.
use crate::Result;
use crate::data::error::PathContext;
use crate::data::{manifest, store, transcripts};
use crate::model::model_files;
use crate::node::head_file::HEAD_FILE;
use std::io;
use std::path::{Path, PathBuf};

/// An option that names a file or folder.
#[derive(Debug)]
pub struct FileOption {
    pub name: &'static str,
    pub contents: Contents,
}

/// What a path stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// A list of utterances, or a folder of audio files.
    Manifest,
    /// A model, or another file.
    Files,
}

impl FileOption {
    /// Describes the option `name` that names a manifest.
    pub const fn manifest(name: &'static str) -> FileOption {
        FileOption {
            name,
            contents: Contents::Manifest,
        }
    }

    /// Describes the option `name` that names a model's folder or another file.
    pub const fn files(name: &'static str) -> FileOption {
        FileOption {
            name,
            contents: Contents::Files,
        }
    }
}

impl Contents {
    /// Returns BLAKE3, in hex, of what is at `path`: of a manifest's utterances, or of the bytes of
    /// the files that are read. The path itself is not part of it.
    ///
    /// # Errors
    /// Something cannot be read, or is a pipe, which can be read only once.
    pub fn hash(self, path: &Path) -> Result<String> {
        let hash = match self {
            Contents::Manifest => manifest::hash(path)?,
            Contents::Files => files_hash(path)?,
        };
        Ok(hash.to_hex().to_string())
    }
}

fn files_hash(path: &Path) -> Result<blake3::Hash> {
    let mut files = model_files(path);
    if !path.is_dir() && files.len() < 2 {
        return file_hash(path);
    }
    if files.is_empty() {
        files = files_of_folder(path).at(path)?;
    }
    let mut hasher = blake3::Hasher::new();
    for file in files {
        let name = file.file_name().unwrap_or_default();
        hasher.update(name.as_encoded_bytes());
        hasher.update(&[0]); // no name contains it
        hasher.update(file_hash(&file)?.as_bytes());
    }
    Ok(hasher.finalize())
}

/// Returns the files that are read of a folder without a model: a head, or transcripts.
fn files_of_folder(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let head = folder.join(HEAD_FILE);
    if head.exists() {
        return Ok(vec![head]);
    }
    transcripts::files(folder)
}

fn file_hash(path: &Path) -> Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(store::open(path).at(path)?).at(path)?;
    Ok(hasher.finalize())
}
