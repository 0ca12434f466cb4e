//! Parts that are damaged, or that belong to another cache.
use super::*;
use crate::data::table::TableWriter;
use arrow::array::{Int32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use std::path::Path;
use std::sync::Arc;

#[test]
fn a_damaged_part_is_set_aside_when_it_is_read() {
    let cache = TestCache::new("damaged");
    let config = fake(&[1]);
    assert_eq!(cache.serve(&config, &[6, 7]).rows, 2);
    let part = cache.files("parquet").remove(0);
    let mut bytes = fs::read(&part).unwrap();
    let floats = &hidden(&samples(6), 1).values[..2];
    let floats: Vec<u8> = floats.iter().flat_map(|x| x.to_le_bytes()).collect();
    let offset = bytes.windows(8).position(|window| window == floats);
    bytes[offset.unwrap()] ^= 1; // only the hash can tell
    fs::write(&part, bytes).unwrap();
    assert_eq!(tools::verify(&cache.root).unwrap()[0].path, part);
    assert_eq!(cache.serve(&config, &[]).rows, 0);
    assert!(part.exists());
    assert!(cache.lines.take().is_empty());
    assert_eq!(cache.serve(&config, &[7, 6]).rows, 2);
    let lines = cache.lines.take();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains(part.to_str().unwrap()), "{lines:?}");
    assert_eq!(cache.files("damaged").len(), 1);
    assert_eq!(cache.serve(&config, &[6, 7]), served([], 0));
}

#[test]
fn damage_to_any_byte_is_detected() {
    let cache = TestCache::new("bytes");
    assert_eq!(cache.serve(&fake(&[1]), &[1]).rows, 1);
    let part = cache.files("parquet").remove(0);
    let layer = part.parent().unwrap().to_owned();
    let fingerprint = Fingerprint::read(layer.parent().unwrap()).unwrap();
    let get = |bytes: &[u8]| {
        fs::write(&part, bytes).unwrap();
        let store = LayerStore::open(
            layer.clone(),
            fingerprint.clone(),
            EntryCodec::F32,
            &cache.context(),
        );
        store.unwrap().get(&row_key(&samples(1), &[]))
    };
    let good = fs::read(&part).unwrap();
    assert_eq!(get(&good), Some(hidden(&samples(1), 1)));
    for offset in 0..good.len() {
        for bits in [1, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[offset] ^= bits;
            assert_eq!(get(&bad), None, "byte {offset}");
        }
        assert_eq!(get(&good[..offset]), None, "cut at {offset}");
    }
}

#[test]
fn a_damaged_part_is_looked_into_without_a_panic() {
    let cache = TestCache::new("identities");
    assert_eq!(cache.serve(&fake(&[1]), &[1]).rows, 1);
    let path = cache.files("parquet").remove(0);
    let good = fs::read(&path).unwrap();
    let rows = part::identities(&path).unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].key, row_key(&samples(1), &[]));
    for offset in 0..good.len() {
        let mut bad = good.clone();
        bad[offset] ^= 0xff;
        fs::write(&path, bad).unwrap();
        let rows = part::identities(&path).map_or(0, |rows| rows.len());
        assert!(rows <= 1, "byte {offset}");
        fs::write(&path, &good[..offset]).unwrap();
        assert!(part::identities(&path).is_err(), "cut at {offset}");
    }
}

#[test]
fn a_part_of_another_cache_is_rejected() {
    let cache = TestCache::new("other");
    let other = TestCache::new("other-model");
    other.serve(&other.with_model(&[1], "two"), &[4]);
    cache.serve(&fake(&[1]), &[5]);
    let foreign = other.files("parquet").remove(0);
    let copy = cache.layer_folder().join(foreign.file_name().unwrap());
    fs::copy(&foreign, copy).unwrap();
    assert_eq!(cache.serve(&fake(&[1]), &[4, 5]).rows, 1);
    assert_eq!(cache.lines.take().len(), 1);
    // Its bytes are those that it was written with, so it keeps its name.
    assert_eq!(cache.files("damaged").len(), 0);
    assert!(!tools::verify(&cache.root).unwrap()[0].set_aside());
}

/// What lies in a layer's folder by the name of a part, and has other columns, has no rows.
#[test]
fn a_foreign_table_has_no_rows() {
    let cache = TestCache::new("foreign");
    assert_eq!(cache.serve(&fake(&[1]), &[1]).rows, 1);
    let folder = cache.layer_folder();
    let good = cache.files("parquet").remove(0);
    let foreign = folder.join("part-0123456789abcdef.parquet");
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int32, false)]));
    let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(Int32Array::from(vec![7]))]);
    let mut table = TableWriter::create(&foreign, schema).unwrap();
    table.write(&batch.unwrap()).unwrap();
    table.finish().unwrap();
    let counted = |paths: &[&Path]| stored_rows::count(&folder, paths).total();
    assert_eq!(counted(&[&foreign]), 0);
    assert_eq!(counted(&[&foreign, &good]), 1);
}
