//! Labels in Parquet, with the columns [`column::LABELS`] and one row per utterance, in the order
//! of ids.
use super::{Labels, rows};
use crate::Result;
use crate::data::column;
use crate::data::column::{ID, LABEL};
use crate::data::table::{TableWriter, catch_panic};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::path::Path;

/// Reads the columns `id` and `labels` of a file.
pub(super) fn read(path: &Path) -> Result<Labels> {
    catch_panic(|| {
        let mut labels = Labels::new();
        for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?.build()? {
            let batch = batch?;
            let ids = column::texts(&batch, ID)?;
            let rows = column::labels_by_row(&batch, LABEL)?;
            for (id, row) in ids.iter().zip(rows) {
                labels.insert(id.unwrap_or_default().to_owned(), row.to_vec());
            }
        }
        Ok(labels)
    })
}

/// Writes `labels` to `path`. Errors name the file.
pub(crate) fn write(path: &Path, labels: &Labels) -> Result<()> {
    let batch = rows(labels.iter().map(|(id, row)| (id.as_str(), &row[..])))?;
    let mut table = TableWriter::create(path, batch.schema())?;
    table.write(&batch)?;
    table.finish()
}
