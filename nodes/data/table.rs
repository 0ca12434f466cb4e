//! Parquet files that are written batch by batch and appear complete or not at all.
use crate::Result;
use crate::data::error::PathContext;
use crate::data::file::{self, GrowingFile};
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use std::path::{Path, PathBuf};

/// Writes a Parquet file under a temporary name until it is finished. Errors name the final path.
pub(crate) struct TableWriter {
    path: PathBuf,
    writer: ArrowWriter<GrowingFile>,
}

impl TableWriter {
    /// Creates the folder of `path` and begins the file. Removes what writers of the same file have left
    /// that were killed.
    ///
    /// # Errors
    /// The file cannot be created, or something that is no regular file is in its place.
    pub(crate) fn create(path: &Path, schema: SchemaRef) -> Result<TableWriter> {
        file::create_parent(path)?;
        let path = &*file::replaced_by_output(path)?;
        file::remove_leftovers(file::folder_of(path), &|name| path.ends_with(name));
        let file = GrowingFile::create(path).at(path)?;
        let properties = properties(&schema);
        let writer = ArrowWriter::try_new(file, schema, Some(properties)).at(path)?;
        Ok(TableWriter {
            path: path.to_owned(),
            writer,
        })
    }

    /// Writes `batch` as a row group.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).at(&self.path)?;
        self.writer.flush().at(&self.path)
    }

    /// Completes and syncs the file, and renames it to its final path.
    pub(crate) fn finish(self) -> Result<()> {
        let file = self.writer.into_inner().at(&self.path)?;
        file.finish().at(&self.path)
    }
}

/// Returns how columns are written: lists of f32, which hardly repeat, without a dictionary and
/// statistics.
fn properties(schema: &SchemaRef) -> WriterProperties {
    let mut properties = WriterProperties::builder();
    for field in schema.fields() {
        let DataType::List(item) = field.data_type() else {
            continue;
        };
        if item.data_type() == &DataType::Float32 {
            let leaf = list_leaf(field.name(), item.name());
            properties = properties
                .set_column_dictionary_enabled(leaf.clone(), false)
                .set_column_statistics_enabled(leaf, EnabledStatistics::None);
        }
    }
    properties.build()
}

/// Returns the path, in a Parquet file, of the numbers of a column of lists.
pub(crate) fn list_leaf(column: &str, item: &str) -> ColumnPath {
    ColumnPath::from([column, "list", item].map(str::to_owned).to_vec())
}
