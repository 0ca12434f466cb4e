//! A part: one Parquet file with rows of one layer, named by the hash of its bytes.
//!
//! Batches are shuffled, so rows are read in any order, and a row must be one read. `hidden` is
//! therefore stored plain, without dictionary or compression, and every row has a page of its own.
//! The values of a row are then the last bytes of its page, as many as the codec says, and the
//! file's offset index says where that page ends. The same holds for `binary`, which stands in place
//! of `hidden` where values are no floats, and for `index`, `value` and `rest`, in which the largest
//! logits are stored: a row of these is three reads. To other readers the file is ordinary Parquet.
//! Layout: <https://parquet.apache.org/docs/file-format/data-pages/>.
mod decode;
mod identity;
mod recent;
mod write;

use super::codec::{Encoded, EntryCodec};
use super::fingerprint::{self, Fingerprint};
use super::rows::{RowKey, UnwrittenRows};
use super::{file_hashes, files};
use crate::Result;
use crate::data::entry::Entry;
use crate::data::error::PathContext;
use crate::data::store::{self, StoredFile};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::UInt32Type;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use std::cell::RefCell;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, UnwindSafe};
use std::path::{Path, PathBuf};

pub(super) use decode::decode;
pub(super) use identity::identities;
pub(super) use write::write;

thread_local! {
    /// The bytes of the row that a thread decodes, kept so that each row need not get fresh memory.
    static BYTES: RefCell<Vec<u8>> = const { RefCell::new(vec![]) };
}

/// Indices of the columns.
const KEY: usize = 0;
const FRAMES: usize = 3;
const WIDTH: usize = 4;
const VALUES: usize = 5;

/// Returns the parts in `folder`, in the order of their names.
pub(super) fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = match store::list(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(vec![]),
        paths => paths.at(folder)?,
    };
    paths.retain(|path| hash_in_name(path).is_some());
    paths.sort();
    Ok(paths)
}

/// Whether a file of this name is a part.
pub(super) fn is_name(name: &str) -> bool {
    hash_in_name(Path::new(name)).is_some()
}

fn hash_in_name(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    let hash = name.strip_prefix("part-")?.strip_suffix(".parquet")?;
    files::is_short_hash(hash).then_some(hash)
}

/// Where the values of a row are in its part.
#[derive(Clone, Copy)]
pub(super) struct RowLocation {
    pub frames: u32,
    width: u32,
    /// The offset of the first byte in the file, in the first column of values.
    offset: u64,
    /// How much farther the first bytes in the other columns are, which belong to one row group.
    farther: [u32; 2],
}

impl RowLocation {
    /// Locates the last values of a row's page in each column, where each column has `pages` of its
    /// own; `None` if one is too short.
    fn in_pages(
        pages: &[Vec<Page>],
        row: usize,
        frames: u32,
        width: u32,
        codec: &EntryCodec,
    ) -> Option<RowLocation> {
        let sections = codec.sections(frames, width)?;
        let mut offsets = [0u64; 3];
        for (offset, (column, bytes)) in offsets.iter_mut().zip(pages.iter().zip(sections)) {
            let page = column.get(row)?;
            let end = page.offset.checked_add(page.size.into())?;
            let end = u64::try_from(end).ok()?;
            if bytes > page.size.max(0) as u64 {
                return None;
            }
            *offset = end.checked_sub(bytes)?;
        }
        let mut farther = [0; 2];
        for (farther, offset) in farther.iter_mut().zip(&offsets[1..pages.len()]) {
            *farther = offset.checked_sub(offsets[0])?.try_into().ok()?;
        }
        Some(RowLocation {
            frames,
            width,
            offset: offsets[0],
            farther,
        })
    }

    /// Returns the number of bytes of the values.
    pub(super) fn bytes(&self, codec: &EntryCodec) -> u64 {
        codec.bytes(self.frames, self.width).unwrap_or_default() // counted by `in_pages`
    }
}

/// Returns the keys and locations of a part's rows, without reading or checking their values.
///
/// # Errors
/// `std::io::Error` if the file cannot be opened, others if it is not a part of this cache.
pub(super) fn locations(
    path: &Path,
    fingerprint: &Fingerprint,
    codec: &EntryCodec,
) -> Result<Vec<(RowKey, RowLocation)>> {
    guarded(AssertUnwindSafe(|| {
        read_locations(path, fingerprint, codec)
    }))
}

/// Reads a part whose bytes are not verified yet: the parquet crate panics at some damaged footers.
fn guarded<T>(read: impl FnOnce() -> Result<T> + UnwindSafe) -> Result<T> {
    std::panic::catch_unwind(read).unwrap_or_else(|_| Err("its footer makes no sense".into()))
}

fn read_locations(
    path: &Path,
    fingerprint: &Fingerprint,
    codec: &EntryCodec,
) -> Result<Vec<(RowKey, RowLocation)>> {
    let options = ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Required);
    let reader =
        ParquetRecordBatchReaderBuilder::try_new_with_options(store::open(path)?, options)?;
    check(&reader, fingerprint, codec)?;
    let pages: Vec<Vec<Page>> = (VALUES..VALUES + codec.columns())
        .map(|column| pages(reader.metadata(), column))
        .collect::<Option<_>>()
        .ok_or("its rows are not stored one a page, plain and uncompressed")?;
    let columns = ProjectionMask::roots(reader.parquet_schema(), [KEY, FRAMES, WIDTH]);
    let mut locations = Vec::with_capacity(pages[0].len());
    for batch in reader.with_projection(columns).build()? {
        let batch = batch?;
        let keys = batch.column(0).as_fixed_size_binary();
        let frames = u32s(&batch, 1);
        let width = u32s(&batch, 2);
        for row in 0..batch.num_rows() {
            let place = locations.len();
            let location = RowLocation::in_pages(&pages, place, frames[row], width[row], codec)
                .ok_or("a row has no page, or is longer than it")?;
            locations.push((keys.value(row).try_into()?, location));
        }
    }
    Ok(locations)
}

fn u32s(batch: &RecordBatch, column: usize) -> &[u32] {
    batch.column(column).as_primitive::<UInt32Type>().values()
}

/// Checks that a file is a part of this fingerprint.
fn check(
    reader: &ParquetRecordBatchReaderBuilder<StoredFile>,
    fingerprint: &Fingerprint,
    codec: &EntryCodec,
) -> Result<()> {
    let metadata = reader.metadata().file_metadata().key_value_metadata();
    let found = metadata
        .and_then(|pairs| pairs.iter().find(|pair| pair.key == "fingerprint"))
        .and_then(|pair| pair.value.as_deref());
    if found != Some(fingerprint.json()) {
        return Err("its metadata name another fingerprint".into());
    }
    let expected = UnwrittenRows::new(codec.clone()).into_batch()?.schema();
    if reader.schema().fields() != expected.fields() {
        return Err("its columns are not those of a part".into());
    }
    Ok(())
}

/// A page of the values.
#[derive(Clone, Copy)]
struct Page {
    offset: i64,
    size: i32,
}

/// Returns each row's page of a column; `None` if the file has another layout.
fn pages(metadata: &ParquetMetaData, column: usize) -> Option<Vec<Page>> {
    let mut pages = vec![];
    for (g, group) in metadata.row_groups().iter().enumerate() {
        let values = group.column(column);
        // RLE encodes the lengths of the lists.
        let plain = values
            .encodings()
            .all(|encoding| matches!(encoding, Encoding::PLAIN | Encoding::RLE));
        let uncompressed = values.compression() == Compression::UNCOMPRESSED;
        let index = metadata.page_index_for_row_group(g);
        let group_pages = index.offset_index(column)?.page_locations();
        let one_row_each = group_pages
            .iter()
            .enumerate()
            .all(|(row, page)| page.first_row_index == row as i64);
        let all_rows = group_pages.len() as i64 == group.num_rows();
        if !(plain && uncompressed && one_row_each && all_rows) {
            return None;
        }
        pages.extend(group_pages.iter().map(|page| Page {
            offset: page.offset,
            size: page.compressed_page_size,
        }));
    }
    Some(pages)
}

/// Reads one row of a verified part.
pub(super) fn read(
    path: &Path,
    location: RowLocation,
    codec: &EntryCodec,
) -> std::io::Result<Entry> {
    BYTES.with_borrow_mut(|bytes| {
        bytes.resize(location.bytes(codec) as usize, 0);
        read_bytes(path, location, codec, bytes)?;
        Ok(codec.decode(location.frames, location.width, bytes))
    })
}

/// Reads one row of a verified part as it is stored.
pub(super) fn read_encoded(
    path: &Path,
    location: RowLocation,
    codec: &EntryCodec,
) -> std::io::Result<Encoded> {
    let mut bytes = vec![0; location.bytes(codec) as usize];
    read_bytes(path, location, codec, &mut bytes)?;
    Ok(Encoded {
        frames: location.frames,
        width: location.width,
        bytes,
    })
}

fn read_bytes(
    path: &Path,
    location: RowLocation,
    codec: &EntryCodec,
    mut bytes: &mut [u8],
) -> std::io::Result<()> {
    let sections = codec.sections(location.frames, location.width);
    let farther = [0, location.farther[0], location.farther[1]];
    for (section, farther) in sections.unwrap_or_default().into_iter().zip(farther) {
        let of_column;
        (of_column, bytes) = bytes.split_at_mut(section as usize);
        let offset = location.offset + u64::from(farther);
        if !of_column.is_empty() && !recent::copy(path, offset, of_column) {
            store::read_exact_at(path, offset, of_column)?;
        }
    }
    Ok(())
}

/// Reads all bytes of a part and compares their hash with its name.
///
/// # Errors
/// `std::io::Error` if the file cannot be read, another if it is damaged.
pub(super) fn verify(path: &Path) -> Result<()> {
    let is_remote = store::is_address(path);
    let remote = is_remote.then(|| store::read(path)).transpose()?;
    let hash = match &remote {
        Some(bytes) => blake3::hash(bytes),
        None => file_hashes::hash_file(path)?,
    };
    if hash_in_name(path) != Some(fingerprint::short_hash(&hash).as_str()) {
        return Err("its bytes are not those it was written with".into());
    }
    if let Some(bytes) = remote {
        recent::keep(path, bytes);
    }
    Ok(())
}
