//! The utterances of a manifest, by column, so that ten million of them take some hundred megabytes.
use super::audio_table::AudioTable;
use super::utterance::{AudioSource, DeclaredLengths, Utterance};
use crate::Result;
use crate::data::audio::piece::Piece;
use crate::data::lengths::Lengths;
use crate::data::store;
use crate::data::texts::Texts;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A list of utterances, in the order of the manifest.
pub(crate) struct Utterances {
    ids: Texts,
    sources: Sources,
    /// The bits of the seconds that pieces begin at.
    begins: Column<u64>,
    /// The bits of the seconds that pieces end at; of infinity for the file's end.
    ends: Column<u64>,
    channels: Column<Option<usize>>,
    /// One more than declared; 0 where nothing is declared.
    frames: Lengths,
    samples: Lengths,
}

/// Where the audio of all utterances is.
enum Sources {
    /// In a file whose path below a folder is the utterance's id, but for some rows.
    Ids(PathBuf, BTreeMap<usize, PathBuf>),
    /// In the file of a path.
    Paths(Texts),
    /// In the row of the utterance's number.
    Rows(Arc<AudioTable>),
}

impl Utterances {
    fn new(sources: Sources) -> Utterances {
        Utterances {
            ids: Texts::default(),
            sources,
            begins: Column::default(),
            ends: Column::default(),
            channels: Column::default(),
            frames: Lengths::default(),
            samples: Lengths::default(),
        }
    }

    /// Makes an empty list of utterances whose ids are paths below `root`.
    pub(super) fn below(root: &Path) -> Utterances {
        Utterances::new(Sources::Ids(root.to_owned(), BTreeMap::new()))
    }

    /// Makes an empty list of utterances that each name a path.
    pub(super) fn of_paths() -> Utterances {
        Utterances::new(Sources::Paths(Texts::default()))
    }

    /// Makes an empty list of the rows of a table.
    pub(super) fn of_rows(table: Arc<AudioTable>) -> Utterances {
        Utterances::new(Sources::Rows(table))
    }

    /// Adds an utterance whose source follows from its id or its number.
    pub(super) fn push(&mut self, id: &str, piece: Piece, declared: DeclaredLengths) {
        self.ids.push(id);
        self.begins.push(piece.from.to_bits());
        self.ends.push(piece.to.unwrap_or(f64::INFINITY).to_bits());
        self.channels.push(piece.channel);
        self.frames.push(encoded(declared.frames));
        self.samples.push(encoded(declared.samples));
    }

    /// Adds an utterance in a file.
    pub(super) fn push_file(
        &mut self,
        id: &str,
        path: &Path,
        piece: Piece,
        declared: DeclaredLengths,
    ) {
        match &mut self.sources {
            Sources::Ids(root, others) => {
                // A name that is not UTF-8 differs from its id.
                if root.join(id).as_os_str() != path.as_os_str() {
                    others.insert(self.ids.len(), path.to_owned());
                }
            }
            Sources::Paths(paths) => paths.push(&path.to_string_lossy()),
            Sources::Rows(_) => (),
        }
        self.push(id, piece, declared);
    }

    /// Adds an utterance to a list of utterances that each name a path.
    pub(super) fn push_path(
        &mut self,
        id: &str,
        path: &str,
        piece: Piece,
        declared: DeclaredLengths,
    ) {
        if let Sources::Paths(paths) = &mut self.sources {
            paths.push(path);
        }
        self.push(id, piece, declared);
    }

    /// Returns the number of utterances.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Returns whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the ids in order.
    pub(crate) fn ids(&self) -> &Texts {
        &self.ids
    }

    /// Returns the number of samples at 16 kHz that the manifest declares of a row.
    pub(crate) fn declared_samples(&self, row: usize) -> Option<u64> {
        decoded(self.samples.get(row))
    }

    /// Returns the number of samples at 16 kHz of rows, which ascend, by the headers of the audio,
    /// which are read in parallel. Errors name the file.
    pub(super) fn lengths(&self, rows: &[u32]) -> Vec<Result<u64>> {
        match &self.sources {
            Sources::Rows(table) => table.lengths(rows),
            _ => self.map_parallel(rows, |utterance| utterance.length()),
        }
    }

    /// Maps `f` over the utterances of rows in parallel. Where their audio is in a store, many are
    /// waited for at a time.
    pub(crate) fn map_parallel<T: Send>(
        &self,
        rows: &[u32],
        f: impl Fn(Utterance) -> T + Sync,
    ) -> Vec<T> {
        let map = || rows.par_iter().map(|row| f(self.get(*row as usize)));
        match rows.first().map(|row| self.get(*row as usize).source) {
            Some(AudioSource::File(path)) => store::in_parallel(&path, || map().collect()),
            _ => map().collect(),
        }
    }

    /// Returns the utterance of a row.
    pub(crate) fn get(&self, row: usize) -> Utterance {
        self.utterance(row, self.ids.get(row))
    }

    /// Returns all utterances in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Utterance> {
        let rows = self.ids.iter().enumerate();
        rows.map(|(row, id)| self.utterance(row, id))
    }

    fn utterance(&self, row: usize, id: String) -> Utterance {
        let source = match &self.sources {
            Sources::Ids(root, others) => {
                AudioSource::File(others.get(&row).cloned().unwrap_or_else(|| root.join(&id)))
            }
            Sources::Paths(paths) => AudioSource::File(paths.get(row).into()),
            Sources::Rows(table) => AudioSource::Row(table.clone(), row),
        };
        Utterance {
            id,
            source,
            piece: Piece {
                from: f64::from_bits(self.begins.get(row)),
                to: Some(f64::from_bits(self.ends.get(row))).filter(|to| to.is_finite()),
                channel: self.channels.get(row),
            },
            declared: DeclaredLengths {
                frames: decoded(self.frames.get(row)),
                samples: decoded(self.samples.get(row)),
            },
        }
    }
}

fn encoded(declared: Option<u64>) -> u64 {
    declared.map_or(0, |length| length.saturating_add(1))
}

fn decoded(length: u64) -> Option<u64> {
    length.checked_sub(1)
}

/// A column that takes memory only if two of its values differ.
#[derive(Default)]
struct Column<T> {
    first: T,
    len: usize,
    /// All values, if two differ.
    values: Vec<T>,
}

impl<T: Copy + PartialEq> Column<T> {
    fn push(&mut self, value: T) {
        if self.len == 0 {
            self.first = value;
        } else if self.values.is_empty() && value != self.first {
            self.values = vec![self.first; self.len];
        }
        if !self.values.is_empty() {
            self.values.push(value);
        }
        self.len += 1;
    }

    fn get(&self, row: usize) -> T {
        *self.values.get(row).unwrap_or(&self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utterances_come_back_as_they_were() {
        let pieces = [
            (0.0, None, None),
            (-0.0, Some(2.5), Some(1)),
            (1e-9, None, Some(0)),
        ];
        let lengths = [None, Some(0), Some(u32::MAX as u64)];
        let mut utterances = Utterances::of_paths();
        for (row, (from, to, channel)) in pieces.into_iter().enumerate() {
            let piece = Piece { from, to, channel };
            let declared = DeclaredLengths {
                frames: lengths[row],
                samples: lengths[2 - row],
            };
            let path = PathBuf::from(format!("a/{row}.wav"));
            utterances.push_file(&format!("u{row}"), &path, piece, declared);
        }
        assert_eq!(utterances.len(), 3);
        let found: Vec<Utterance> = utterances.iter().collect();
        for (row, (from, to, channel)) in pieces.into_iter().enumerate() {
            for utterance in [&found[row], &utterances.get(row)] {
                assert_eq!(utterance.id, format!("u{row}"));
                assert_eq!(utterance.piece.from.to_bits(), f64::to_bits(from));
                assert_eq!((utterance.piece.to, utterance.piece.channel), (to, channel));
                assert_eq!(utterance.declared.frames, lengths[row]);
                assert_eq!(utterance.declared.samples, lengths[2 - row]);
                let AudioSource::File(path) = &utterance.source else {
                    panic!("not in a file")
                };
                assert_eq!(path, Path::new(&format!("a/{row}.wav")));
            }
        }
    }

    #[test]
    fn paths_are_ids_below_a_folder_or_their_own() {
        let mut utterances = Utterances::below(Path::new("root"));
        let paths = ["root/a.wav", "/elsewhere/b.wav", "root/other"].map(Path::new);
        for (id, path) in ["a.wav", "/elsewhere/b.wav", "c"].into_iter().zip(paths) {
            let declared = DeclaredLengths::default();
            utterances.push_file(id, path, Piece::default(), declared);
        }
        let Sources::Ids(_, others) = &utterances.sources else {
            panic!("no ids")
        };
        assert_eq!(others.keys().collect::<Vec<_>>(), [&2]);
        for (utterance, expected) in utterances.iter().zip(paths) {
            assert!(matches!(utterance.source, AudioSource::File(path) if path == expected));
        }
    }
}
