//! A Parquet file that grows batch by batch, and appears whole or not at all.
use crate::Result;
use crate::data::file;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use std::fmt::Display;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

pub struct Table {
    path: PathBuf,
    growing: PathBuf,
    writer: ArrowWriter<File>,
}

impl Table {
    /// Begins the file, and the folder it stands in. Errors, here and below, name the file.
    pub fn create(path: &Path, schema: SchemaRef) -> Result<Table> {
        let at = |e: &dyn Display| format!("{}: {e}", path.display());
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| at(&e))?;
        }
        let growing = file::temporary(path);
        let to = File::create(&growing).map_err(|e| at(&e))?;
        let writer = ArrowWriter::try_new(to, schema, None).map_err(|e| at(&e))?;
        Ok(Table {
            path: path.to_owned(),
            growing,
            writer,
        })
    }

    /// A row group.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer
            .write(batch)
            .and_then(|()| self.writer.flush())
            .map_err(|e| self.at(&e))
    }

    /// Syncs the file and gives it its name.
    pub fn finish(mut self) -> Result<()> {
        self.writer.finish().map_err(|e| self.at(&e))?;
        self.writer
            .inner()
            .sync_all()
            .and_then(|()| file::settle(&self.growing, &self.path))
            .map_err(|e| self.at(&e))
    }

    fn at(&self, e: &dyn Display) -> crate::Error {
        format!("{}: {e}", self.path.display()).into()
    }
}

impl Drop for Table {
    /// What was not finished goes; what was has another name by now.
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.growing);
    }
}

/// The parquet crate panics at some damaged files.
pub fn calmly<T>(read: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err("is damaged".into()))
}
