//! Labels in Parquet, with the columns [`column::LABELS`] and one row per utterance, in the order
//! of ids.
use super::{Labels, rows};
use crate::Result;
use crate::data::column;
use crate::data::column::{ID, LABEL};
use crate::data::panic::catch_panic;
use crate::data::printable::printable;
use crate::data::regular;
use crate::data::table::TableWriter;
use crate::data::unicode::nfc;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::HashMap;
use std::path::Path;

/// Reads the columns `id` and `labels` of a file.
///
/// # Errors
/// The file cannot be read, or an id is in two rows.
pub(super) fn read(path: &Path) -> Result<Labels> {
    catch_panic(|| {
        let mut labels = Labels::new();
        let mut numbers = HashMap::new();
        for batch in ParquetRecordBatchReaderBuilder::try_new(regular::open(path)?)?.build()? {
            let batch = batch?;
            let ids = column::texts(&batch, ID)?;
            let rows = column::labels_by_row(&batch, LABEL)?;
            for (id, row) in ids.iter().zip(rows) {
                let id = nfc(id.unwrap_or_default()).into_owned();
                let number = numbers.len() + 1;
                if let Some(earlier) = numbers.insert(id.clone(), number) {
                    let id = printable(&id);
                    return Err(
                        format!("rows {earlier} and {number} both have the id `{id}`").into(),
                    );
                }
                labels.insert(id, row.to_vec());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_in_two_rows_is_an_error() {
        let name = format!("labels-twice-{}.parquet", std::process::id());
        let path = std::env::temp_dir().join(name);
        let batch = rows([("a", &[1][..]), ("b", &[2]), ("a", &[3])].into_iter()).expect("a batch");
        let mut table = TableWriter::create(&path, batch.schema()).expect("a file");
        table.write(&batch).expect("written");
        table.finish().expect("written");
        let error = read(&path).expect_err("twice").to_string();
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(error, "rows 1 and 3 both have the id `a`");
    }
}
