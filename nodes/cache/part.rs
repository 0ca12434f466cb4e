//! One file of the cache: rows of one layer in Parquet, called by the hash of its bytes.
//!
//! Batches are shuffled, so rows are read in any order and a row must be one read. `hidden` is therefore stored plain,
//! without dictionary or compression, and every row has a page of its own; the floats of a row are then the last
//! 4 x frames x width bytes of its page, and the file's offset index says where that page ends. Other readers see
//! ordinary Parquet. Layout: <https://parquet.apache.org/docs/file-format/data-pages/>.
use super::fingerprint::{self, Fingerprint};
use crate::Result;
use crate::cache::rows::{Key, Rows};
use crate::data::column;
use crate::data::column::Column;
use crate::data::entry::Entry;
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::UInt32Type;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::{KeyValue, PageIndexPolicy, ParquetMetaData};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

const KEY: usize = 0;
const FRAMES: usize = 3;
const WIDTH: usize = 4;
const HIDDEN: usize = 5;
/// `hidden` as it is in a part, where a row has one layer.
const FLOATS: Column = Column { name: "hidden" };

/// Writes one part into `folder`; its path.
pub fn write(folder: &Path, rows: Rows, fingerprint: &Fingerprint) -> Result<PathBuf> {
    let about = KeyValue::new("fingerprint".to_owned(), fingerprint.json().to_owned());
    let hidden = ColumnPath::from(vec![
        "hidden".to_owned(),
        "list".to_owned(),
        "item".to_owned(),
    ]);
    let properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_encoding(Encoding::PLAIN)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_write_batch_size(1) // the writer looks whether a page is full after so many values and the row they end in
        .set_column_data_page_row_count_limit(hidden, 1)
        .set_key_value_metadata(Some(vec![about]))
        .build();
    let batch = rows.batch()?;
    let mut bytes = vec![];
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    writer.close()?;
    let path = folder.join(format!(
        "part-{}.parquet",
        fingerprint::short(&blake3::hash(&bytes))
    ));
    super::write(&path, &bytes)?;
    Ok(path)
}

/// The parts in `folder`, in the order of their names.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        entries => entries.map_err(|e| format!("{}: {e}", folder.display()))?,
    };
    let paths = entries
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<Vec<_>, _>>();
    let mut paths = paths.map_err(|e| format!("{}: {e}", folder.display()))?;
    paths.retain(|path| hash_in_name(path).is_some());
    paths.sort();
    Ok(paths)
}

fn hash_in_name(path: &Path) -> Option<&str> {
    let hash = path
        .file_name()?
        .to_str()?
        .strip_prefix("part-")?
        .strip_suffix(".parquet")?;
    fingerprint::is_name(hash).then_some(hash)
}

/// Where a row lies in its part.
#[derive(Clone, Copy)]
pub struct Slot {
    pub frames: u32,
    width: u32,
    offset: u64,
}

impl Slot {
    /// Its last floats are those of the row.
    fn in_page(page: (i64, i32), frames: u32, width: u32) -> Option<Slot> {
        let end = u64::try_from(page.0.checked_add(page.1.into())?).ok()?;
        let bytes = 4 * frames as u64 * width as u64;
        (bytes <= page.1.max(0) as u64).then(|| Slot {
            frames,
            width,
            offset: end - bytes,
        })
    }
}

/// Where the rows of a part lie, without reading or checking their floats.
///
/// # Errors
/// `std::io::Error` if the file cannot be opened, others if it is no part of this cache.
pub fn slots(path: &Path, fingerprint: &Fingerprint) -> Result<Vec<(Key, Slot)>> {
    // The parquet crate panics at some damaged footers, and they are read before the bytes are hashed.
    std::panic::catch_unwind(|| read_slots(path, fingerprint))
        .unwrap_or_else(|_| Err("its footer makes no sense".into()))
}

fn read_slots(path: &Path, fingerprint: &Fingerprint) -> Result<Vec<(Key, Slot)>> {
    let options = ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Required);
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(File::open(path)?, options)?;
    check(&reader, fingerprint)?;
    let pages = pages(reader.metadata())
        .ok_or("its rows are not stored one a page, plain and uncompressed")?;
    let columns = ProjectionMask::roots(reader.parquet_schema(), [KEY, FRAMES, WIDTH]);
    let mut slots = Vec::with_capacity(pages.len());
    for batch in reader.with_projection(columns).build()? {
        let batch = batch?;
        let (keys, frames, width) = (
            batch.column(0).as_fixed_size_binary(),
            u32s(&batch, 1),
            u32s(&batch, 2),
        );
        for row in 0..batch.num_rows() {
            let page = pages
                .get(slots.len())
                .ok_or("it has more rows than pages")?;
            let slot = Slot::in_page(*page, frames[row], width[row])
                .ok_or("a row is longer than its page")?;
            slots.push((keys.value(row).try_into()?, slot));
        }
    }
    Ok(slots)
}

fn u32s(batch: &RecordBatch, column: usize) -> &[u32] {
    batch.column(column).as_primitive::<UInt32Type>().values()
}

fn check(reader: &ParquetRecordBatchReaderBuilder<File>, fingerprint: &Fingerprint) -> Result<()> {
    let about = reader.metadata().file_metadata().key_value_metadata();
    let says = about
        .and_then(|all| all.iter().find(|kv| kv.key == "fingerprint"))
        .and_then(|kv| kv.value.as_deref());
    if says != Some(fingerprint.json()) {
        return Err("its metadata name another fingerprint".into());
    }
    if reader.schema().fields() != Rows::default().batch()?.schema().fields() {
        return Err("its columns are not those of a part".into());
    }
    Ok(())
}

/// NodeContext and size of each row's page of `hidden`; None if the file is laid out in another way.
fn pages(about: &ParquetMetaData) -> Option<Vec<(i64, i32)>> {
    let mut all = vec![];
    for (g, group) in about.row_groups().iter().enumerate() {
        let hidden = group.column(HIDDEN);
        let plain = hidden.encodings().all(|e| matches!(e, Encoding::PLAIN | Encoding::RLE)) // RLE: the lists' lengths
            && hidden.compression() == Compression::UNCOMPRESSED;
        let index = about.page_index_for_row_group(g);
        let pages = index.offset_index(HIDDEN)?.page_locations();
        let one_each = pages
            .iter()
            .enumerate()
            .all(|(row, page)| page.first_row_index == row as i64);
        let as_many = pages.len() as i64 == group.num_rows();
        if !(plain && one_each && as_many) {
            return None;
        }
        all.extend(pages.iter().map(|p| (p.offset, p.compressed_page_size)));
    }
    Some(all)
}

/// One row of a part that is intact.
pub fn read(path: &Path, slot: Slot) -> std::io::Result<Entry> {
    let mut bytes = vec![0; 4 * slot.frames as usize * slot.width as usize];
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(slot.offset))?;
    file.read_exact(&mut bytes)?;
    let values = bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|b| f32::from_le_bytes(*b))
        .collect();
    Ok(Entry {
        frames: slot.frames,
        values,
    })
}

/// Reads all bytes of a part and compares their hash with its name.
///
/// # Errors
/// `std::io::Error` if the file cannot be read, another if it is damaged.
pub fn verify(path: &Path) -> Result<()> {
    if Some(fingerprint::short(&fingerprint::hash_of(path)?).as_str()) != hash_in_name(path) {
        return Err("its bytes are not those it was written with".into());
    }
    Ok(())
}

/// Decodes every value of a part as any reader of Parquet would, and compares it with what [`read`] gives.
pub fn decode(path: &Path, fingerprint: &Fingerprint) -> Result<()> {
    let mut slots = slots(path, fingerprint)?.into_iter();
    for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?
        .with_batch_size(64)
        .build()?
    {
        let batch = batch?;
        for row in 0..batch.num_rows() {
            let (_, slot) = slots.next().ok_or("it has more rows than pages")?;
            let (decoded, read) = (
                column::floats(&batch, FLOATS, row)?,
                read(path, slot)?.values,
            );
            if !decoded
                .iter()
                .map(|x| x.to_bits())
                .eq(read.iter().map(|x| x.to_bits()))
            {
                return Err("a row is not frames x width floats".into());
            }
        }
    }
    Ok(())
}
