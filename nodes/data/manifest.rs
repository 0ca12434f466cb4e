//! Manifests: the lists of utterances that speech toolkits write, or a folder of audio files. Each
//! format has a module.
mod audio_table;
mod fairseq;
mod folder;
mod hash;
mod kaldi;
mod left_out;
mod lhotse;
mod parquet;
mod rows;
mod utterance;
mod utterances;
mod whole_paths;

use crate::Result;
use crate::data::error::PathContext;
use crate::data::printable::{printable, printable_path};
use crate::data::store;
use crate::data::text::{self, Lines};
use crate::data::texts::{TextIndex, Texts};
use std::io::{BufReader, Read};
use std::path::Path;

pub(crate) use hash::hash;
pub(crate) use left_out::LeftOut;
use rows::RowErrors;
pub(crate) use utterance::Utterance;
pub(crate) use utterances::Utterances;
pub use whole_paths::{first_relative_path, write_with_whole_paths};

/// What a manifest lists.
pub(crate) struct Listing {
    pub(crate) utterances: Utterances,
    pub(crate) left_out: LeftOut,
}

/// Of how many files the headers are read together.
const HEADERS: usize = 1 << 16;

/// Returns the number of samples at 16 kHz of the utterances of `rows`, which ascend, by the headers
/// of the audio, which are read in parallel. Errors name the file.
pub(crate) fn lengths(utterances: &Utterances, rows: &[u32]) -> impl Iterator<Item = Result<u64>> {
    rows.chunks(HEADERS)
        .flat_map(|rows| utterances.lengths(rows))
}

/// Returns whether `manifest` has the name of a known list, or is or could be a folder.
pub(crate) fn is_known(manifest: &str) -> bool {
    let path = Path::new(manifest);
    list_reader(path).is_some()
        || path.is_dir()
        || is_bucket(manifest)
        || !manifest.is_empty() && path.extension().is_none()
}

/// Returns whether `manifest` is a folder in an object store: no name of a list.
fn is_folder_of_store(manifest: &Path) -> bool {
    store::is_address(manifest) && list_reader(manifest).is_none()
}

/// Returns whether `manifest` is a whole bucket, whose name may have a dot.
fn is_bucket(manifest: &str) -> bool {
    let is_address = store::is_address(Path::new(manifest));
    is_address && manifest.trim_end_matches('/').matches('/').count() == 2
}

type ReadList = fn(&Path) -> Result<Utterances>;

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
    let ids: &Texts = utterances.ids();
    if let Some((earlier, row)) = TextIndex::new(ids).repeated().first() {
        let id = ids.get(*row);
        return Err(format!(
            "{}: utterances {} and {} are both called `{}`; labels need ids that are unique",
            printable_path(manifest),
            earlier + 1,
            row + 1,
            printable(&id)
        )
        .into());
    }
    Ok(ids.iter().collect())
}

/// How many bytes of a list are read at a time.
const READ_BYTES: usize = 256 << 10;

/// Opens a list that is read line by line.
fn open_lines(path: &Path) -> Result<Lines<BufReader<Box<dyn Read + Send>>>> {
    let file = text::open_list(path).at(path)?;
    Ok(Lines::new(BufReader::with_capacity(READ_BYTES, file)))
}

#[cfg(test)]
mod tests {
    use super::utterance::AudioSource;
    use super::*;
    use std::path::PathBuf;

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
