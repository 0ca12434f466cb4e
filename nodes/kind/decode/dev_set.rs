//! Warnings about the dev set, from its manifest and which of its files are there.
use super::{Options, can_be_read};
use crate::data::manifest::{self, Listing, Utterance, Utterances};
use crate::data::printable::printable;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

/// How many bytes of two manifests of equal length are compared.
const COMPARED_BYTES: u64 = 16 << 20;

/// Of how many utterances of the train set the files are looked for.
const MAX_LOOKED_FOR: usize = 10_000;

/// How many files are looked for before it is known whether one is there.
const LOOKED_FOR_TOGETHER: usize = 64;

/// Warns of a dev set that tells nothing: the train set itself, or one without audio.
pub(super) fn warnings(options: &Options) -> Vec<String> {
    let Some(dev) = &options.dev else {
        return vec![];
    };
    let train = Path::new(&options.manifest);
    let dev_path = Path::new(dev);
    let dev = printable(dev);
    if is_same(train, dev_path) {
        return vec![format!(
            "the dev set `{dev}` is the train set, so its loss does not tell how the model does on \
             other speech"
        )];
    }
    // A manifest that cannot be read is the run's error.
    match can_be_read(dev_path).then(|| manifest::read(dev_path)) {
        Some(Ok(listing)) => without_audio(options, &listing)
            .map(|reason| format!("the dev set `{dev}` has no audio: {reason}"))
            .into_iter()
            .collect(),
        _ => vec![],
    }
}

/// Returns why no utterance of a dev set can be used, if that is so.
fn without_audio(options: &Options, listing: &Listing) -> Option<String> {
    let utterances = &listing.utterances;
    if utterances.is_empty() {
        return Some("it lists no utterance".to_owned());
    }
    let count = utterances.len();
    let is_left_out = |row| {
        let samples = utterances.declared_samples(row);
        samples.is_some_and(|samples| options.is_too_short(samples) || options.is_too_long(samples))
    };
    if (0..count).all(is_left_out) {
        return Some(format!(
            "all {count} utterances are shorter than `min_seconds` or longer than `max_seconds`"
        ));
    }
    if has_audio(utterances, count) {
        return None;
    }
    // Where no audio is at all, a graph is checked without its data.
    let train = Path::new(&options.manifest);
    let train = can_be_read(train).then(|| manifest::read(train));
    if matches!(train, Some(Ok(train)) if has_audio(&train.utterances, MAX_LOOKED_FOR)) {
        return Some(format!(
            "none of the files of its {count} utterances is there"
        ));
    }
    None
}

/// Whether the file of one of at most `count` utterances is there, which are taken evenly.
fn has_audio(utterances: &Utterances, count: usize) -> bool {
    let stride = utterances.len().div_ceil(count).max(1);
    let rows = (0..utterances.len()).step_by(stride);
    let rows: Vec<u32> = rows.map(|row| row as u32).collect();
    let is_there = |utterance: Utterance| utterance.is_there();
    rows.chunks(LOOKED_FOR_TOGETHER)
        .any(|rows| utterances.map_parallel(rows, is_there).contains(&true))
}

/// Whether two manifests are one file, or have the same contents.
fn is_same(a: &Path, b: &Path) -> bool {
    if a.components().eq(b.components()) {
        return true;
    }
    if !can_be_read(a) || !can_be_read(b) {
        return false;
    }
    let real = |path| fs::canonicalize(path).ok();
    real(a).is_some() && real(a) == real(b) || is_equal(a, b).unwrap_or(false)
}

fn is_equal(a: &Path, b: &Path) -> io::Result<bool> {
    let length = |path| fs::metadata(path).map(|m| m.is_file().then_some(m.len()));
    let bytes = length(a)?;
    if bytes.is_none() || bytes != length(b)? {
        return Ok(false);
    }
    if first_bytes(a)? != first_bytes(b)? {
        return Ok(false);
    }
    // Two lists of Kaldi may cut the same recordings into other pieces.
    let hashes = [a, b].map(|path| manifest::hash(path).ok());
    Ok(hashes[0].is_some() && hashes[0] == hashes[1])
}

fn first_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = vec![];
    fs::File::open(path)?
        .take(COMPARED_BYTES)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}
