//! Where the rows of a part are, by its footer.
use crate::Result;
use crate::cache::codec::EntryCodec;
use crate::cache::fingerprint::Fingerprint;
use crate::cache::rows::{RowKey, UnwrittenRows};
use crate::data::printable::printable;
use crate::data::store::{self, StoredFile};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::UInt32Type;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use std::panic::{AssertUnwindSafe, UnwindSafe};
use std::path::Path;

/// Indices of the columns.
pub(super) const KEY: usize = 0;
const FRAMES: usize = 3;
const WIDTH: usize = 4;
pub(super) const VALUES: usize = 5;

/// The key of a part's metadata for the fingerprint.
pub(super) const FINGERPRINT_KEY: &str = "fingerprint";
/// The key for the name of the layer's folder; parts that were written before layers were named lack it.
pub(super) const LAYER_KEY: &str = "layer";

/// Where the values of a row are in its part.
#[derive(Clone, Copy)]
pub(in crate::cache) struct RowLocation {
    pub(in crate::cache) frames: u32,
    pub(super) width: u32,
    /// The offset of the first byte in the file, in the first column of values.
    pub(super) offset: u64,
    /// How much farther the first bytes in the other columns are, which belong to one row group.
    pub(super) farther: [u32; 2],
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
    pub(in crate::cache) fn bytes(&self, codec: &EntryCodec) -> u64 {
        codec.bytes(self.frames, self.width).unwrap_or_default() // counted by `in_pages`
    }
}

/// Returns the keys and locations of a part's rows, without reading or checking their values.
///
/// # Errors
/// `std::io::Error` if the file cannot be opened, others if it is not a part of this cache.
pub(in crate::cache) fn locations(
    path: &Path,
    fingerprint: &Fingerprint,
    codec: &EntryCodec,
) -> Result<Vec<(RowKey, RowLocation)>> {
    guarded(AssertUnwindSafe(|| {
        read_locations(path, fingerprint, codec)
    }))
}

/// Reads a part whose bytes are not verified yet: the parquet crate panics at some damaged footers.
pub(super) fn guarded<T>(read: impl FnOnce() -> Result<T> + UnwindSafe) -> Result<T> {
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
    check(path, &reader, fingerprint, codec)?;
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

/// Checks that a file is a part of this fingerprint, and of the layer whose folder it is in.
fn check(
    path: &Path,
    reader: &ParquetRecordBatchReaderBuilder<StoredFile>,
    fingerprint: &Fingerprint,
    codec: &EntryCodec,
) -> Result<()> {
    if metadata_of(reader, FINGERPRINT_KEY) != Some(fingerprint.json()) {
        return Err("its metadata name another fingerprint".into());
    }
    check_layer(path, reader)?;
    let expected = UnwrittenRows::new(codec.clone()).into_batch()?.schema();
    if reader.schema().fields() != expected.fields() {
        return Err("its columns are not those of a part".into());
    }
    Ok(())
}

/// Checks that a part is of the layer whose folder it is in.
pub(super) fn check_layer(
    path: &Path,
    reader: &ParquetRecordBatchReaderBuilder<StoredFile>,
) -> Result<()> {
    let folder = path.parent().and_then(Path::file_name);
    let folder = folder.unwrap_or_default().to_string_lossy();
    match metadata_of(reader, LAYER_KEY).filter(|layer| *layer != folder) {
        Some(layer) => {
            Err(format!("its metadata name another layer, `{}`", printable(layer)).into())
        }
        None => Ok(()),
    }
}

/// Returns what a file's metadata say under a key.
fn metadata_of<'a>(
    reader: &'a ParquetRecordBatchReaderBuilder<StoredFile>,
    key: &str,
) -> Option<&'a str> {
    let pairs = reader.metadata().file_metadata().key_value_metadata()?;
    let pair = pairs.iter().find(|pair| pair.key == key)?;
    pair.value.as_deref()
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
