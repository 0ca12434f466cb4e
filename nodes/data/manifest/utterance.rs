//! One utterance of a manifest, and how its audio is read.
use super::audio_table::AudioTable;
use crate::Result;
use crate::data::audio::piece::Piece;
use crate::data::audio::{self, AudioLengths};
use crate::data::printable::printable_path;
use crate::data::{store, unicode};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An utterance of a manifest.
pub(crate) struct Utterance {
    /// The utterance's name in the manifest.
    pub(crate) id: String,
    pub(super) source: AudioSource,
    pub(super) piece: Piece,
    pub(super) declared: DeclaredLengths,
}

/// Lengths of an utterance by its manifest, each if the manifest declares it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct DeclaredLengths {
    /// Samples of one channel of the whole file at its own rate.
    pub(super) frames: Option<u64>,
    /// Samples at 16 kHz. A TSV does not declare its rate, which is taken to be 16 kHz.
    pub(super) samples: Option<u64>,
}

/// Where an utterance's audio is.
pub(super) enum AudioSource {
    File(PathBuf),
    /// A row of a Parquet file.
    Row(Arc<AudioTable>, usize),
}

impl Utterance {
    /// Whether the file of its audio exists.
    pub(crate) fn is_there(&self) -> bool {
        match &self.source {
            AudioSource::File(path) if store::is_address(path) => store::exists(path),
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
    pub(crate) fn length(&self) -> Result<u64> {
        match &self.source {
            AudioSource::File(path) => self.file_length(path),
            AudioSource::Row(table, row) => table.length(*row),
        }
    }

    fn file_length(&self, path: &Path) -> Result<u64> {
        let lengths = audio::lengths(path, audio::open_file(path)?, &self.piece)?;
        match self.declared.frames {
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
