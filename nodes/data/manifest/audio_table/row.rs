//! The audio of one row of a Parquet file.
use super::sizes::MAX_ROW_BYTES;
use crate::Result;
use crate::data::audio;
use crate::data::audio::piece::Piece;
use crate::data::printable::printable_path;
use arrow::array::{Array, AsArray, BinaryArray, RecordBatch, StringArray};
use arrow::buffer::Buffer;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use symphonia::core::io::MediaSource;

/// A row: the bytes of an audio file, or the path of one.
pub(super) struct AudioRow {
    /// The path of the file, or a description of the row that holds its bytes.
    name: PathBuf,
    path: Option<String>,
    /// A part of its batch, not a copy.
    bytes: Option<Buffer>,
}

impl AudioRow {
    /// Takes the row at `index` of `batch`, which is the row `number` of the Parquet file `table`.
    pub(super) fn new(
        table: &Path,
        number: usize,
        batch: &RecordBatch,
        index: usize,
    ) -> Result<AudioRow> {
        let column = |name: &str| {
            let audio = batch.column_by_name("audio")?.as_struct_opt()?;
            audio.column_by_name(name)
        };
        let bytes: Option<&BinaryArray> = column("bytes").and_then(|array| array.as_binary_opt());
        let paths: Option<&StringArray> = column("path").and_then(|array| array.as_string_opt());
        let (Some(bytes), Some(paths)) = (bytes, paths) else {
            return Err("its columns have changed".into());
        };
        let bytes = bytes.is_valid(index).then(|| {
            let start = bytes.value_offsets()[index] as usize;
            bytes
                .values()
                .slice_with_length(start, bytes.value(index).len())
        });
        let path = paths.is_valid(index).then(|| paths.value(index).to_owned());
        let table = table.to_string_lossy();
        let name = match (&bytes, &path) {
            (None, Some(path)) => path.into(),
            (Some(_), Some(path)) => format!("{table}: row {number}, {path}").into(),
            (_, None) => format!("{table}: row {number}").into(),
        };
        Ok(AudioRow { name, path, bytes })
    }

    /// Returns the name for errors and the opened audio.
    fn open(self) -> Result<(PathBuf, Box<dyn MediaSource>)> {
        if let Some(bytes) = self.bytes {
            if bytes.len() as u64 > MAX_ROW_BYTES {
                return Err(format!(
                    "{} has {} MiB; at most {} MiB are read",
                    printable_path(&self.name),
                    bytes.len() >> 20,
                    MAX_ROW_BYTES >> 20
                )
                .into());
            }
            return Ok((self.name, Box::new(Cursor::new(bytes))));
        }
        if self.path.is_none() {
            let name = printable_path(&self.name);
            return Err(format!("{name} has neither bytes nor a path").into());
        }
        let file = audio::open_file(&self.name)?;
        Ok((self.name, file))
    }

    /// Returns the number of samples at 16 kHz by the header of the audio. Errors name the file.
    pub(super) fn length(self) -> Result<u64> {
        let (name, source) = self.open()?;
        Ok(audio::lengths(&name, source, &Piece::default())?.row)
    }

    /// Reads the samples at 16 kHz. Errors name the file.
    pub(super) fn read(self) -> Result<Vec<f32>> {
        let (name, source) = self.open()?;
        audio::read(&name, source, &Piece::default())
    }
}
