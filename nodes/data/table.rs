//! Parquet files that are written batch by batch and appear complete or not at all.
use crate::Result;
use crate::data::error::PathContext;
use crate::data::file;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Writes a Parquet file under a temporary name until it is finished. Errors name the final path.
pub(crate) struct TableWriter {
    path: PathBuf,
    growing: PathBuf,
    writer: ArrowWriter<File>,
}

impl TableWriter {
    /// Creates the folder of `path` and begins the file.
    pub(crate) fn create(path: &Path, schema: SchemaRef) -> Result<TableWriter> {
        file::create_parent(path)?;
        let growing = file::temporary(path);
        let file = File::create(&growing).at(path)?;
        let writer = ArrowWriter::try_new(file, schema, None).at(path)?;
        Ok(TableWriter {
            path: path.to_owned(),
            growing,
            writer,
        })
    }

    /// Writes `batch` as a row group.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).at(&self.path)?;
        self.writer.flush().at(&self.path)
    }

    /// Completes and syncs the file, and renames it to its final path.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.writer.finish().at(&self.path)?;
        self.writer.inner().sync_all().at(&self.path)?;
        file::rename_and_sync(&self.growing, &self.path).at(&self.path)
    }
}

impl Drop for TableWriter {
    /// Removes an unfinished file; a finished one no longer has the temporary name.
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.growing);
    }
}
