//! Labels as Parquet: the columns `id`, `frames` and `labels`, as `label` sends them, in the order of ids.
use super::{Labels, rows};
use crate::Result;
use crate::data::column;
use crate::data::column::{ID, LABEL};
use crate::data::table::{Table, calmly};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::path::Path;

pub fn read(path: &Path) -> Result<Labels> {
    calmly(|| {
        let mut labels = Labels::new();
        for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?.build()? {
            let batch = batch?;
            let ids = column::texts(&batch, ID)?
                .iter()
                .map(|id| id.unwrap_or_default().to_owned());
            labels.extend(
                ids.zip(
                    column::labels_by_row(&batch, LABEL)?
                        .into_iter()
                        .map(<[u32]>::to_vec),
                ),
            );
        }
        Ok(labels)
    })
}

pub fn write(path: &Path, labels: &Labels) -> Result<()> {
    let batch = rows(labels.iter().map(|(id, labels)| (id.as_str(), &labels[..])))?;
    let mut table = Table::create(path, batch.schema())?;
    table.write(&batch)?;
    table.finish()
}
