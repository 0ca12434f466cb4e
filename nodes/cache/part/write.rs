//! Writes a part.
use super::location::{FINGERPRINT_KEY, LAYER_KEY};
use crate::Result;
use crate::cache::fingerprint::{Fingerprint, short_hash};
use crate::cache::rows::{self, UnwrittenRows};
use crate::data::store;
use crate::data::table::list_leaf;
use arrow::datatypes::Field;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use std::path::{Path, PathBuf};

/// Writes rows as a part into `folder` and returns its path.
pub(in crate::cache) fn write(
    folder: &Path,
    rows: UnwrittenRows,
    fingerprint: &Fingerprint,
) -> Result<PathBuf> {
    let batch = rows.into_batch()?;
    let properties = writer_properties(fingerprint, folder);
    let mut bytes = vec![];
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties))?;
    // Row by row: the writer makes an object of 32 bytes of each f16 value that it is given at once.
    for row in 0..batch.num_rows() {
        writer.write(&batch.slice(row, 1))?;
    }
    writer.close()?;
    let hash = short_hash(&blake3::hash(&bytes));
    let path = folder.join(format!("part-{hash}.parquet"));
    store::write_new(&path, &bytes)?;
    Ok(path)
}

fn writer_properties(fingerprint: &Fingerprint, folder: &Path) -> WriterProperties {
    let layer = folder.file_name().unwrap_or_default().to_string_lossy();
    let metadata = [(FINGERPRINT_KEY, fingerprint.json()), (LAYER_KEY, &*layer)];
    let metadata = metadata.map(|(key, value)| KeyValue::new(key.to_owned(), value.to_owned()));
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_encoding(Encoding::PLAIN)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        // The writer checks whether a page is full once per write batch.
        .set_write_batch_size(1)
        .set_column_data_page_row_count_limit(ColumnPath::from(rows::BINARY), 1)
        .set_key_value_metadata(Some(metadata.into()));
    for lists in [rows::HIDDEN].iter().chain(&rows::TOP_K) {
        let leaf = list_leaf(lists, Field::LIST_FIELD_DEFAULT_NAME);
        properties = properties.set_column_data_page_row_count_limit(leaf, 1);
    }
    properties.build()
}
