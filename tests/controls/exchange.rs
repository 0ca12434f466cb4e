//! Exchanges the targets of a cache among rows of equal length.
use arrow::array::AsArray;
use arrow::datatypes::UInt32Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of a row key.
const KEY: usize = 16;

/// Replaces a row key by another.
type NewKeys = HashMap<Vec<u8>, Vec<u8>>;

/// A row of a cache: its utterance and its key.
type Row = (String, Vec<u8>);

/// Returns the parts of a cache, of all layers and logits.
pub(super) fn parts(cache: &Path) -> BTreeSet<PathBuf> {
    let folders = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.collect()
    };
    let fingerprints = folders(cache).into_iter().filter(|path| path.is_dir());
    let layers = fingerprints.flat_map(|path| folders(&path));
    let layers = layers.filter(|path| path.is_dir());
    let files = layers.flat_map(|path| folders(&path));
    files
        .filter(|path| path.extension().is_some_and(|end| end == "parquet"))
        .collect()
}

/// Returns the rows of a part by their number of samples.
fn rows_by_length(part: &Path, rows: &mut BTreeMap<u32, BTreeSet<Row>>) {
    let file = fs::File::open(part).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    for batch in reader.build().unwrap().map(Result::unwrap) {
        let column = |name| batch.column_by_name(name).unwrap();
        let keys = column("key").as_fixed_size_binary();
        let ids = column("id").as_string::<i32>();
        let samples = column("samples").as_primitive::<UInt32Type>();
        for row in 0..batch.num_rows() {
            let same_length = rows.entry(samples.value(row)).or_default();
            same_length.insert((ids.value(row).to_owned(), keys.value(row).to_owned()));
        }
    }
}

/// Gives each train row of a cache the key of a row of another utterance and equal length, so that
/// this row finds its targets. Returns how many rows that concerns, and how many have no partner.
pub(super) fn exchange_targets(cache: &Path, is_dev: impl Fn(&str) -> bool) -> (usize, usize) {
    let mut rows = BTreeMap::new();
    let parts = parts(cache);
    for part in &parts {
        rows_by_length(part, &mut rows);
    }
    let mut new_keys = NewKeys::new();
    let mut alone = 0;
    for same_length in rows.into_values() {
        let train: Vec<Row> = same_length
            .into_iter()
            .filter(|(id, _)| !is_dev(id))
            .collect();
        let of = |id: &str| train.iter().filter(|row| row.0 == id).count();
        // Rows are in the order of their utterances, so this many places on there is another.
        let shift = train.iter().map(|(id, _)| of(id)).max().unwrap_or(0);
        if 2 * shift > train.len() {
            alone += train.len();
            continue;
        }
        for (i, (_, key)) in train.iter().enumerate() {
            let (_, other) = &train[(i + shift) % train.len()];
            new_keys.insert(key.clone(), other.clone());
        }
    }
    for part in &parts {
        replace_keys(part, &new_keys);
    }
    (new_keys.len(), alone)
}

/// Replaces the keys of a part, which are stored plain, and names it by its new hash.
fn replace_keys(part: &Path, new_keys: &NewKeys) {
    let file = fs::File::open(part).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let (start, length) = reader.metadata().row_group(0).column(0).byte_range();
    let mut bytes = fs::read(part).unwrap();
    let mut at = start as usize;
    let end = at + length as usize;
    while at + KEY <= end {
        match new_keys.get(&bytes[at..at + KEY]) {
            Some(key) => {
                bytes[at..at + KEY].copy_from_slice(key);
                at += KEY;
            }
            None => at += 1,
        }
    }
    let hash = blake3::hash(&bytes).to_hex();
    let name = format!("part-{}.parquet", &hash[..KEY]);
    fs::remove_file(part).unwrap();
    fs::write(part.with_file_name(name), bytes).unwrap();
}
