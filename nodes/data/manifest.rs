//! Manifests: the lists of utterances that speech toolkits write, or a folder of audio files. Each
//! format has a module.
mod fairseq;
mod folder;
mod hash;
mod kaldi;
mod left_out;
mod lhotse;
mod parquet;
mod rows;

use self::parquet::AudioTable;
use super::audio;
use crate::Result;
use crate::data::audio::AudioLengths;
use crate::data::audio::piece::Piece;
use crate::data::error::PathContext;
use crate::data::printable::{printable, printable_path};
use crate::data::{text, unicode};
use rayon::prelude::*;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use hash::hash;
pub(crate) use left_out::LeftOut;
use rows::{Rows, collect_rows};

/// What a manifest lists.
pub(crate) struct Listing {
    /// In the order of the manifest.
    pub(crate) utterances: Vec<Utterance>,
    pub(crate) left_out: LeftOut,
}

/// An utterance of a manifest.
pub(crate) struct Utterance {
    /// The utterance's name in the manifest.
    pub(crate) id: String,
    source: AudioSource,
    piece: Piece,
    /// Samples of one channel of the whole file at its own rate, if the manifest declares them.
    declared_frames: Option<u64>,
    /// Samples at 16 kHz, if the manifest declares them. A TSV does not declare its rate, which is
    /// taken to be 16 kHz.
    pub(crate) declared_samples: Option<u64>,
}

/// Where an utterance's audio is.
enum AudioSource {
    File(PathBuf),
    /// A row of a Parquet file.
    Row(Arc<AudioTable>, usize),
}

impl Utterance {
    /// Creates the utterance that is the whole file `path`, of undeclared length.
    fn file(id: String, path: PathBuf) -> Utterance {
        Utterance {
            id,
            source: AudioSource::File(path),
            piece: Piece::default(),
            declared_frames: None,
            declared_samples: None,
        }
    }

    /// Whether the file of its audio exists.
    pub(crate) fn is_there(&self) -> bool {
        match &self.source {
            AudioSource::File(path) => unicode::existing(path).exists(),
            AudioSource::Row(..) => true,
        }
    }

    /// Reads the samples at 16 kHz. Errors name the file.
    pub(crate) fn read(&self) -> Result<Vec<f32>> {
        match &self.source {
            AudioSource::File(path) => audio::read(path, audio::open_file(path)?, &self.piece),
            AudioSource::Row(table, row) => table.read(*row),
        }
    }

    /// Returns the lengths of a whole file by its header. Errors name the file.
    pub(crate) fn file_lengths(&self) -> Result<AudioLengths> {
        match &self.source {
            AudioSource::File(path) => audio::lengths(path, audio::open_file(path)?, &self.piece),
            AudioSource::Row(..) => Err(format!("`{}` is in a Parquet file", self.id).into()),
        }
    }

    /// Returns the number of samples at 16 kHz by the header of the audio. Errors name the file.
    fn length(&self) -> Result<u64> {
        match &self.source {
            AudioSource::File(path) => self.file_length(path),
            AudioSource::Row(table, row) => table.length(*row),
        }
    }

    fn file_length(&self, path: &Path) -> Result<u64> {
        let lengths = audio::lengths(path, audio::open_file(path)?, &self.piece)?;
        match self.declared_frames {
            Some(declared) if declared.abs_diff(lengths.frames) > lengths.slack => Err(format!(
                "{} has {} samples, its manifest says {declared}",
                printable_path(path),
                lengths.frames
            )
            .into()),
            _ => Ok(lengths.row),
        }
    }
}

/// Returns the number of samples at 16 kHz of each utterance, by the headers of the audio, which
/// are read in parallel. Errors name the file.
pub(crate) fn lengths(utterances: &[Utterance]) -> Vec<Result<u64>> {
    utterances.par_iter().map(Utterance::length).collect()
}

/// Returns whether `manifest` has the name of a known list, or is or could be a folder.
pub(crate) fn is_known(manifest: &str) -> bool {
    let path = Path::new(manifest);
    list_reader(path).is_some()
        || path.is_dir()
        || !manifest.is_empty() && path.extension().is_none()
}

type ReadList = fn(&Path) -> Result<Vec<Utterance>>;

/// Returns the function that reads lists with the name of `path`; `None` for other names and for
/// folders.
fn list_reader(path: &Path) -> Option<ReadList> {
    let name = path.file_name()?.to_str()?;
    let read: ReadList = if path.is_dir() {
        return None;
    } else if name == "wav.scp" {
        kaldi::read
    } else if name.ends_with(".tsv") {
        fairseq::read
    } else if name.ends_with(".jsonl") || name.ends_with(".jsonl.gz") {
        lhotse::read
    } else if name.ends_with(".parquet") {
        parquet::read
    } else {
        return None;
    };
    Some(read)
}

/// Reads a manifest. Errors name the manifest and its invalid lines.
pub(crate) fn read(manifest: &Path) -> Result<Listing> {
    match list_reader(manifest) {
        Some(read) => Ok(Listing {
            utterances: read(manifest)?,
            left_out: LeftOut::default(),
        }),
        None => folder::read(manifest),
    }
}

/// Lists the audio files of a folder and below.
pub(crate) fn read_folder(folder: &Path) -> Result<Listing> {
    folder::read(folder)
}

/// Reads the ids of a manifest's utterances, in their order, for a join with labels.
///
/// # Errors
/// Two utterances have one id: each would get the other's labels.
pub(crate) fn ids(manifest: &Path) -> Result<Vec<String>> {
    let utterances = read(manifest)?.utterances;
    let ids: Vec<String> = utterances
        .into_iter()
        .map(|utterance| utterance.id)
        .collect();
    let mut numbers = HashMap::new();
    for (number, id) in (1..).zip(&ids) {
        if let Some(earlier) = numbers.insert(id, number) {
            return Err(format!(
                "{}: utterances {earlier} and {number} are both called `{}`; labels need ids that \
                 are unique",
                printable_path(manifest),
                printable(id)
            )
            .into());
        }
    }
    Ok(ids)
}

fn read_text(path: &Path) -> Result<String> {
    text::read_list(path).at(path)
}

/// Returns the lines that are not blank, with their numbers from 1.
fn numbered_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder for one test, removed at its end.
    pub(super) struct TestFolder(pub(super) PathBuf);

    impl TestFolder {
        pub(super) fn new(name: &str) -> TestFolder {
            let name = format!("manifest-{}-{name}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&folder).unwrap();
            TestFolder(folder)
        }

        /// Writes a file and returns its path.
        pub(super) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
            let path = self.0.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, content).unwrap();
            path
        }

        /// Returns the error of reading a manifest, without the folder's name.
        pub(super) fn error(&self, manifest: &Path) -> String {
            let error = read(manifest).err().expect("an error").to_string();
            self.shorten(&error)
        }

        /// Removes the folder's name from a message.
        pub(super) fn shorten(&self, message: &str) -> String {
            message.replace(&format!("{}/", self.0.display()), "")
        }
    }

    impl Drop for TestFolder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// Returns the id, path, beginning and end of each utterance, all of which are in files.
    pub(super) fn pieces(utterances: &[Utterance]) -> Vec<(&str, &str, f64, Option<f64>)> {
        let mut pieces = vec![];
        for utterance in utterances {
            let AudioSource::File(path) = &utterance.source else {
                panic!("not in a file")
            };
            let piece = &utterance.piece;
            pieces.push((&*utterance.id, path.to_str().unwrap(), piece.from, piece.to));
        }
        pieces
    }

    #[test]
    fn names() {
        for known in [
            "a/b.tsv",
            "not/there",
            "src/..",
            ".",
            "a/wav.scp",
            "cuts.jsonl",
            "cuts.jsonl.gz",
            "x.parquet",
        ] {
            assert!(is_known(known), "{known}");
        }
        for unknown in ["feats.scp", "cuts.json", "x.csv", "a.flac", ""] {
            assert!(!is_known(unknown), "{unknown}");
        }
    }

    #[test]
    fn ids_that_labels_join_by_are_unique() {
        let folder = TestFolder::new("ids");
        let unique = folder.file("unique.tsv", ".\na.wav\t400\nb.wav\t400\n");
        assert_eq!(ids(&unique).unwrap(), ["a.wav", "b.wav"]);
        let twice = folder.file("twice.tsv", ".\na.wav\t400\nb.wav\t400\na.wav\t400\n");
        let error = ids(&twice).unwrap_err().to_string();
        let says = "utterances 1 and 3 are both called `a.wav`; labels need ids that are unique";
        assert!(error.ends_with(says), "{error}");
    }
}
