//! A Parquet file of audio as Hugging Face's datasets write it: a column `audio` of struct<bytes,
//! path>. A row without bytes is the file at `path`. An utterance's id is `path`, or without one the
//! row's number from 0.
mod pages;
mod row;
mod sizes;
#[cfg(test)]
mod tests;

use crate::Result;
use crate::data::error::PathContext;
use crate::data::lengths::Lengths;
use crate::data::panic::catch_panic;
use crate::data::regular;
use crate::data::texts::Texts;
use arrow::datatypes::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
    RowSelector,
};
use parquet::basic::Compression;
use parquet::file::metadata::PageIndexPolicy;
use rayon::prelude::*;
use row::AudioRow;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// How many rows of a row group are in memory together, at most.
const BATCH_ROWS: usize = 16;

/// The samples of a row at 16 kHz, or the error of reading them.
type RowLength = Result<u64, String>;

/// A Parquet file of audio, whose rows are read one by one.
pub(super) struct AudioTable {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    /// The length of each row, 0 where it cannot be read.
    lengths: Lengths,
    /// Why rows cannot be read.
    errors: BTreeMap<usize, String>,
}

impl AudioTable {
    /// Reads the whole file once, for the ids of its rows and the headers of their audio. Errors name
    /// the file.
    pub(super) fn open(path: &Path) -> Result<(Texts, AudioTable)> {
        catch_panic(|| AudioTable::read_all(path)).at(path)
    }

    fn read_all(path: &Path) -> Result<(Texts, AudioTable)> {
        let mut table = AudioTable::from_footer(path)?;
        let groups = table.metadata.metadata().num_row_groups();
        let mut ids = Texts::default();
        let mut group = 0;
        while group < groups {
            let end = table.end_of_parallel_groups(group);
            let rows: Vec<Vec<(Option<String>, RowLength)>> = (group..end)
                .into_par_iter()
                .map(|group| catch_panic(|| table.read_group(group)))
                .collect::<Result<_>>()?;
            for (id, length) in rows.into_iter().flatten() {
                let row = ids.len();
                ids.push(&id.unwrap_or_else(|| row.to_string()));
                table.lengths.push(*length.as_ref().unwrap_or(&0));
                if let Err(error) = length {
                    table.errors.insert(row, error);
                }
            }
            group = end;
        }
        Ok((ids, table))
    }

    /// Reads the footer and checks that the rows can be read; `lengths` is empty.
    fn from_footer(path: &Path) -> Result<AudioTable> {
        let options = ArrowReaderOptions::new()
            .with_skip_arrow_metadata(true) // so that types are Parquet's own: binary and text
            .with_page_index_policy(PageIndexPolicy::Optional);
        let metadata = ArrowReaderMetadata::load(&regular::open(path)?, options)?;
        let table = AudioTable {
            path: path.into(),
            metadata,
            lengths: Lengths::default(),
            errors: BTreeMap::new(),
        };
        table.check_columns()?;
        table.check_compression()?;
        table.check_sizes()?;
        Ok(table)
    }

    fn check_columns(&self) -> Result<()> {
        let schema = self.metadata.schema();
        let fields = match schema
            .field_with_name("audio")
            .map(|audio| audio.data_type())
        {
            Ok(DataType::Struct(fields)) => Some(fields),
            _ => None,
        };
        let has = |name: &str, kind: DataType| {
            fields
                .and_then(|fields| fields.find(name))
                .is_some_and(|(_, field)| *field.data_type() == kind)
        };
        if has("bytes", DataType::Binary) && has("path", DataType::Utf8) {
            return Ok(());
        }
        let columns: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| format!("`{}`", field.name()))
            .collect();
        let columns = columns.join(", ");
        Err(
            format!("has no column `audio` of struct<bytes: binary, path: string>, but {columns}")
                .into(),
        )
    }

    fn check_compression(&self) -> Result<()> {
        let read = self.columns();
        for group in self.metadata.metadata().row_groups() {
            for (leaf, column) in group.columns().iter().enumerate() {
                match column.compression() {
                    _ if !read.leaf_included(leaf) => (),
                    Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::GZIP(_) => (),
                    other => {
                        return Err(format!(
                            "is packed with {other:?}; Snappy, gzip and no compression are read"
                        )
                        .into());
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns the columns that are read.
    fn columns(&self) -> ProjectionMask {
        let schema = self.metadata.parquet_schema();
        ProjectionMask::columns(schema, ["audio.bytes", "audio.path"])
    }

    fn reader(&self, group: usize) -> Result<ParquetRecordBatchReaderBuilder<File>> {
        let file = regular::open(&self.path)?;
        let batch_rows = self.fitting_rows(group).min(BATCH_ROWS);
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone());
        Ok(builder
            .with_row_groups(vec![group])
            .with_projection(self.columns())
            .with_batch_size(batch_rows))
    }

    /// Reads the path and the length of each row of a row group.
    fn read_group(&self, group: usize) -> Result<Vec<(Option<String>, RowLength)>> {
        let groups = self.metadata.metadata().row_groups();
        let rows_before: i64 = groups[..group].iter().map(|group| group.num_rows()).sum();
        let mut rows = vec![];
        for batch in self.reader(group)?.build()? {
            let batch = batch?;
            for index in 0..batch.num_rows() {
                let number = rows_before as usize + rows.len();
                let row = AudioRow::new(&self.path, number, &batch, index)?;
                let path = row.path.clone();
                rows.push((path, row.length().map_err(|e| e.to_string())));
            }
        }
        Ok(rows)
    }

    /// Returns the number of samples of a row at 16 kHz. Errors name the file.
    pub(super) fn length(&self, row: usize) -> Result<u64> {
        match self.errors.get(&row) {
            Some(error) => Err(error.as_str().into()),
            None => Ok(self.lengths.get(row)),
        }
    }

    /// Reads a row at 16 kHz. Errors name the file.
    pub(super) fn read(&self, row: usize) -> Result<Vec<f32>> {
        catch_panic(|| self.row(row)).at(&self.path)?.read()
    }

    fn row(&self, row: usize) -> Result<AudioRow> {
        let (group, index) = self.locate(row);
        let selection = vec![RowSelector::skip(index), RowSelector::select(1)];
        let reader = self.reader(group)?;
        let batch = reader
            .with_row_selection(RowSelection::from(selection))
            .build()?
            .next()
            .ok_or_else(|| format!("row {row} is gone"))??;
        AudioRow::new(&self.path, row, &batch, 0)
    }

    /// Returns the row group of a row, and the row's index in it.
    fn locate(&self, row: usize) -> (usize, usize) {
        let mut group = 0;
        let mut index = row;
        for row_group in self.metadata.metadata().row_groups() {
            let rows = row_group.num_rows() as usize;
            if index < rows {
                break;
            }
            group += 1;
            index -= rows;
        }
        (group, index)
    }
}
