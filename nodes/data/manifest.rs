//! Which utterances there are: the lists that speech toolkits write, or a folder. Each kind of list has a file below.
mod fairseq;
mod folder;
mod kaldi;
mod lhotse;
mod parquet;

use super::audio;
use crate::data::audio::piece::Piece;
use crate::{Error, Result};
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use kaldi::segments;

/// What an utterance's samples are taken from.
enum Audio {
    File(PathBuf),
    Row(Arc<parquet::Table>, usize),
}

pub struct Utterance {
    /// What the manifest calls it.
    pub id: String,
    audio: Audio,
    piece: Piece,
    /// Samples of one channel of the whole file at its rate, where the manifest says.
    frames: Option<u64>,
    /// Samples at 16 kHz, where the manifest says; a TSV's number is taken as it stands.
    pub said: Option<u64>,
}

impl Utterance {
    fn file(id: String, path: PathBuf) -> Utterance {
        Utterance {
            id,
            audio: Audio::File(path),
            piece: Piece::default(),
            frames: None,
            said: None,
        }
    }
    /// The row at 16 kHz. Errors name the file.
    pub fn read(&self) -> Result<Vec<f32>> {
        match &self.audio {
            Audio::File(path) => audio::read(path, audio::open_file(path)?, &self.piece),
            Audio::Row(table, row) => table.read(*row),
        }
    }
    /// Samples at 16 kHz by a file's header. Errors name the file.
    fn length(&self, path: &Path) -> Result<u64> {
        let lengths = audio::lengths(path, audio::open_file(path)?, &self.piece)?;
        match self.frames {
            Some(said) if said.abs_diff(lengths.frames) > lengths.slack => Err(format!(
                "{} has {} samples, its manifest says {said}",
                path.display(),
                lengths.frames
            )
            .into()),
            _ => Ok(lengths.row),
        }
    }
}

/// Samples at 16 kHz of each, by the headers of files and of audio in Parquet. Errors name the file.
pub fn lengths(utterances: &[Utterance]) -> Vec<Result<u64>> {
    let length = |utterance: &Utterance| match &utterance.audio {
        Audio::File(path) => utterance.length(path),
        Audio::Row(table, row) => table.length(*row),
    };
    utterances.par_iter().map(length).collect()
}

/// Whether `manifest` can be read at all, by its name and by what lies there.
pub fn is_known(manifest: &str) -> bool {
    let path = Path::new(manifest);
    reader(path).is_some() || path.is_dir() || !manifest.is_empty() && path.extension().is_none()
}

type Reader = fn(&Path) -> Result<Vec<Utterance>>;

/// By the name; None: a folder.
fn reader(path: &Path) -> Option<Reader> {
    let name = path.file_name()?.to_str()?;
    let ends = |with: &str| name.ends_with(with);
    Some(match name {
        _ if path.is_dir() => return None,
        "wav.scp" => kaldi::read,
        _ if ends(".tsv") => fairseq::read,
        _ if ends(".jsonl") || ends(".jsonl.gz") => lhotse::read,
        _ if ends(".parquet") => parquet::read,
        _ => return None,
    })
}

/// Errors name the manifest, and of a list with wrong lines all lines.
pub fn read(manifest: &Path) -> Result<Vec<Utterance>> {
    reader(manifest).unwrap_or(folder::read)(manifest)
}

fn named(path: &Path, error: impl Into<Error>) -> Error {
    format!("{}: {}", path.display(), error.into()).into()
}

fn text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| named(path, e))
}

/// Lines that are not empty, counted from 1.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line))
        .filter(|(_, line)| !line.trim().is_empty())
}

/// How many wrong lines are told of.
const TOLD: usize = 20;

/// All rows, or a sentence for every wrong one.
fn all<T>(path: &Path, rows: impl Iterator<Item = Result<T>>) -> Result<Vec<T>> {
    let (mut good, mut wrong, mut more) = (vec![], vec![], 0);
    for row in rows {
        match row {
            Ok(row) => good.push(row),
            Err(e) if wrong.len() < TOLD => wrong.push(named(path, e).to_string()),
            Err(_) => more += 1,
        }
    }
    if more > 0 {
        wrong.push(named(path, format!("{more} more lines are wrong")).to_string());
    }
    if wrong.is_empty() {
        Ok(good)
    } else {
        Err(wrong.join("\n").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder for one test, removed at its end.
    pub struct Scratch(pub PathBuf);
    impl Scratch {
        pub fn new(name: &str) -> Scratch {
            let folder =
                std::env::temp_dir().join(format!("manifest-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Scratch(folder)
        }
        /// Writes a file and gives its path.
        pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
            let path = self.0.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, content).unwrap();
            path
        }
        /// What is wrong with a manifest, without the folder's name.
        pub fn wrong(&self, manifest: &Path) -> String {
            let error = read(manifest).err().expect("an error").to_string();
            error.replace(&format!("{}/", self.0.display()), "")
        }
    }
    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// Id, path, and seconds of an utterance in a file.
    pub fn row(utterance: &Utterance) -> (&str, &str, f64, Option<f64>) {
        let Audio::File(path) = &utterance.audio else {
            panic!("not in a file")
        };
        (
            &utterance.id,
            path.to_str().unwrap(),
            utterance.piece.from,
            utterance.piece.to,
        )
    }

    #[test]
    fn names() {
        let known = [
            "a/b.tsv",
            "not/there",
            "src/..",
            ".",
            "a/wav.scp",
            "cuts.jsonl",
            "cuts.jsonl.gz",
            "x.parquet",
        ];
        assert!(known.iter().all(|m| is_known(m)));
        assert!(
            ["feats.scp", "cuts.json", "x.csv", "a.flac", ""]
                .iter()
                .all(|m| !is_known(m))
        );
    }

    #[test]
    fn many_wrong_lines_are_counted() {
        let scratch = Scratch::new("many");
        let wrong =
            scratch.wrong(&scratch.file("x.tsv", "root\n".to_owned() + &"nothing\n".repeat(50)));
        assert_eq!(wrong.lines().count(), 21);
        assert!(wrong.ends_with("x.tsv: 30 more lines are wrong"), "{wrong}");
    }
}
