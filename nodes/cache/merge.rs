//! Joins small parts, and drops rows that stand in several: processes that fill one cache at once
//! write parts of their own.
//!
//! A part is removed only when each of its rows stands in a part that is complete: a reader, and a
//! process that is killed at any moment, leave a cache in which no row is lost. Of equal rows the one
//! that a run reads is kept: that of the first part by name.
mod lock;

use super::codec::EntryCodec;
use super::fingerprint::Fingerprint;
use super::layer::PART_BYTES;
use super::leftovers;
use super::part::{self, RowLocation};
use super::rows::{RowKey, UnwrittenRows};
use super::tools::{Damage, folders, layer_folders};
use crate::Result;
use crate::data::error::PathContext;
use crate::data::store;
use lock::MergeLock;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// What was merged.
#[derive(Debug, Default, PartialEq)]
pub struct Merged {
    /// Rows that stood in several parts, each counted for every part but one.
    pub doubled: usize,
    /// Parts that were removed.
    pub removed: usize,
    /// Parts that have their rows now.
    pub written: usize,
    /// Parts that cannot be read, and folders of a fingerprint that cannot be read or written: they stay
    /// as they are.
    pub unreadable: Vec<Damage>,
}

/// A part whose bytes are those that it was written with.
struct Part {
    path: PathBuf,
    rows: Vec<(RowKey, RowLocation)>,
    /// The indices of rows that no part before this one has.
    first: Vec<usize>,
}

impl Part {
    fn doubled(&self) -> usize {
        self.rows.len() - self.first.len()
    }

    fn is_small(&self, codec: &EntryCodec) -> bool {
        let rows = self.rows.iter();
        let bytes: u64 = rows.map(|(_, location)| location.bytes(codec)).sum();
        bytes < PART_BYTES as u64
    }
}

/// Merges the parts of a cache, or of one fingerprint's folder.
///
/// # Errors
/// `path` is no cache, or a folder of it cannot be locked: another process merges it.
pub fn merge(path: &Path) -> Result<Merged> {
    let mut merged = Merged::default();
    for folder in folders(path)? {
        let _lock = MergeLock::take(&folder)?;
        if let Err(error) = merge_folder(&folder, &mut merged) {
            let damage = Damage::of_other(folder, error.to_string());
            merged.unreadable.push(damage);
        }
    }
    leftovers::remove(path);
    Ok(merged)
}

fn merge_folder(folder: &Path, merged: &mut Merged) -> Result<()> {
    let fingerprint = Fingerprint::read(folder)?;
    let codec = fingerprint.codec(folder)?;
    for layer in layer_folders(folder)? {
        let codec = codec.of_entry(layer.entry)?;
        merge_layer(&layer.path, &fingerprint, &codec, merged)?;
    }
    Ok(())
}

fn merge_layer(
    folder: &Path,
    fingerprint: &Fingerprint,
    codec: &EntryCodec,
    merged: &mut Merged,
) -> Result<()> {
    let parts = read_parts(folder, fingerprint, codec, merged)?;
    let doubled: usize = parts.iter().map(Part::doubled).sum();
    let is_rewritten = |part: &&Part| part.doubled() > 0 || part.is_small(codec);
    let rewritten: Vec<&Part> = parts.iter().filter(is_rewritten).collect();
    if doubled == 0 && rewritten.len() < 2 {
        return Ok(());
    }
    let mut written = HashSet::new();
    let mut rows = UnwrittenRows::new(codec.clone());
    for part in &rewritten {
        let identities = part::identities(&part.path)?;
        for &row in &part.first {
            let (key, location) = part.rows[row];
            let identity = &identities[row];
            let values = part::read_encoded(&part.path, location, codec).at(&part.path)?;
            rows.push(key, &identity.id, identity.samples, &values);
            if rows.bytes() >= PART_BYTES {
                let full = std::mem::replace(&mut rows, UnwrittenRows::new(codec.clone()));
                written.insert(part::write(folder, full, fingerprint)?);
            }
        }
    }
    if rows.len() > 0 {
        written.insert(part::write(folder, rows, fingerprint)?);
    }
    merged.doubled += doubled;
    for part in rewritten {
        if !written.contains(&part.path) {
            store::remove(&part.path).at(&part.path)?;
            merged.removed += 1;
        }
    }
    merged.written += written.len();
    Ok(())
}

/// Reads which rows the parts of a layer have, in the order of their names.
fn read_parts(
    folder: &Path,
    fingerprint: &Fingerprint,
    codec: &EntryCodec,
    merged: &mut Merged,
) -> Result<Vec<Part>> {
    let mut parts = vec![];
    let mut seen = HashSet::new();
    for path in part::list(folder)? {
        let verified = part::verify(&path);
        let is_verified = verified.is_ok();
        match verified.and_then(|()| part::locations(&path, fingerprint, codec)) {
            Ok(rows) => {
                let numbers = 0..rows.len();
                let first = numbers.filter(|&row| seen.insert(rows[row].0)).collect();
                parts.push(Part { path, rows, first });
            }
            Err(error) => {
                merged
                    .unreadable
                    .push(Damage::of_part(path, is_verified, &error));
            }
        }
    }
    Ok(parts)
}
