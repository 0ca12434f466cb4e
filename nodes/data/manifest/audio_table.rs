//! A Parquet file of audio as Hugging Face's datasets write it: a column `audio` of struct<bytes,
//! path>. A row without bytes is the file at `path`. An utterance's id is `path`, or without one the
//! row's number from 0.
mod ids;
mod lengths;
mod pages;
mod row;
mod sizes;
#[cfg(test)]
mod tests;

use crate::Result;
use crate::data::error::PathContext;
use crate::data::panic::catch_panic;
use crate::data::store::{self, StoredFile};
use crate::data::texts::Texts;
use arrow::datatypes::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
    RowSelector,
};
use parquet::basic::Compression;
use parquet::file::metadata::PageIndexPolicy;
use row::AudioRow;
use std::path::{Path, PathBuf};

/// How many rows of a row group are in memory together, at most.
const BATCH_ROWS: usize = 16;

/// A Parquet file of audio, whose rows are read one by one.
pub(super) struct AudioTable {
    path: PathBuf,
    file: StoredFile,
    metadata: ArrowReaderMetadata,
    /// The number of the first row of each row group, and of all rows.
    group_starts: Vec<usize>,
}

impl AudioTable {
    /// Reads the ids of all rows. Errors name the file.
    pub(super) fn open(path: &Path) -> Result<(Texts, AudioTable)> {
        catch_panic(|| {
            let table = AudioTable::from_footer(path)?;
            Ok((table.ids()?, table))
        })
        .at(path)
    }

    /// Reads the footer and checks that the rows can be read.
    fn from_footer(path: &Path) -> Result<AudioTable> {
        let options = ArrowReaderOptions::new()
            .with_skip_arrow_metadata(true) // so that types are Parquet's own: binary and text
            .with_page_index_policy(PageIndexPolicy::Optional);
        let file = store::open(path)?;
        let metadata = ArrowReaderMetadata::load(&file, options)?;
        let mut group_starts = vec![0];
        for group in metadata.metadata().row_groups() {
            group_starts.push(group_starts[group_starts.len() - 1] + group.num_rows() as usize);
        }
        let table = AudioTable {
            path: path.into(),
            file,
            metadata,
            group_starts,
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
                        let codec = format!("{other:?}");
                        let codec = codec.split('(').next().unwrap_or_default();
                        return Err(format!(
                            "is packed with {codec}; Snappy, gzip and no compression are read: write \
                             it again with one of these"
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

    fn reader(&self, group: usize) -> Result<ParquetRecordBatchReaderBuilder<StoredFile>> {
        let file = self.file.reopen(&self.path)?;
        let batch_rows = self.fitting_rows(group).min(BATCH_ROWS);
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone());
        Ok(builder
            .with_row_groups(vec![group])
            .with_projection(self.columns())
            .with_batch_size(batch_rows))
    }

    /// Reads a row at 16 kHz. Errors name the file.
    pub(super) fn read(&self, row: usize) -> Result<Vec<f32>> {
        catch_panic(|| self.row(row)).at(&self.path)?.read()
    }

    fn row(&self, row: usize) -> Result<AudioRow> {
        let group = self.group_of(row);
        let mut found = None;
        self.visit_rows(group, &[row as u32], |row| found = Some(row))?;
        found.ok_or_else(|| format!("row {row} is gone").into())
    }

    /// Passes rows of a row group, whose numbers ascend, to `visit`.
    fn visit_rows(
        &self,
        group: usize,
        rows: &[u32],
        mut visit: impl FnMut(AudioRow),
    ) -> Result<()> {
        let mut selectors = vec![];
        let mut next = self.group_starts[group];
        for row in rows {
            selectors.push(RowSelector::skip(*row as usize - next));
            selectors.push(RowSelector::select(1));
            next = *row as usize + 1;
        }
        let reader = self.reader(group)?;
        let selection = RowSelection::from(selectors);
        let mut numbers = rows.iter();
        for batch in reader.with_row_selection(selection).build()? {
            let batch = batch?;
            for (index, row) in (0..batch.num_rows()).zip(&mut numbers) {
                visit(AudioRow::new(&self.path, *row as usize, &batch, index)?);
            }
        }
        Ok(())
    }

    /// Returns the row group of a row.
    fn group_of(&self, row: usize) -> usize {
        self.group_starts.partition_point(|start| *start <= row) - 1
    }
}
