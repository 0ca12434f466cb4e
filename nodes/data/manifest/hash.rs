//! A hash of what a manifest lists, which stays when the list or its audio moves.
//!
//! It is over the rows as parsed: id, piece and stated length of each, in order. A folder states no
//! lengths, so the sizes of its files stand for them. A Parquet file contains its audio, so its
//! bytes are hashed.
use super::utterance::{AudioSource, Utterance};
use super::{Utterances, folder, is_folder_of_store, kaldi, read};
use crate::Result;
use crate::data::error::PathContext;
use crate::data::store;
use blake3::{Hash, Hasher};
use std::path::Path;

/// How many bytes are hashed at a time.
const BLOCK_BYTES: usize = 64 << 10;

/// Returns BLAKE3 of a manifest's utterances.
///
/// # Errors
/// The manifest cannot be read, or is a pipe, which can be read only once.
pub(crate) fn hash(manifest: &Path) -> Result<Hash> {
    if is_folder_of_store(manifest) {
        let (listing, sizes) = folder::read_with_sizes(manifest)?;
        let mut sizes = sizes.into_iter();
        return Ok(hash_rows(&listing.utterances, |row, _| {
            row.extend(sizes.next().unwrap_or(u64::MAX).to_le_bytes());
        }));
    }
    if manifest.is_dir() {
        let utterances = read(manifest)?.utterances;
        return Ok(hash_rows(&utterances, |row, utterance| {
            row.extend(file_size(utterance).to_le_bytes());
        }));
    }
    let mut file = store::open(manifest).at(manifest)?;
    if let Some(segments) = kaldi::segments(manifest) {
        store::open(&segments).at(&segments)?;
    }
    if manifest.extension().is_some_and(|name| name == "parquet") {
        let mut hasher = Hasher::new();
        hasher.update_reader(&mut file).at(manifest)?;
        return Ok(hasher.finalize());
    }
    Ok(hash_rows(&read(manifest)?.utterances, |_, _| ()))
}

/// Hashes utterances, each with the bytes that `add_more` adds of it.
fn hash_rows(utterances: &Utterances, mut add_more: impl FnMut(&mut Vec<u8>, &Utterance)) -> Hash {
    let mut hasher = Hasher::new();
    let mut bytes = vec![];
    for utterance in utterances.iter() {
        add_row(&mut bytes, &utterance);
        add_more(&mut bytes, &utterance);
        if bytes.len() >= BLOCK_BYTES {
            hasher.update(&bytes);
            bytes.clear();
        }
    }
    hasher.update(&bytes);
    hasher.finalize()
}

fn add_row(bytes: &mut Vec<u8>, utterance: &Utterance) {
    let Utterance {
        id,
        piece,
        declared,
        ..
    } = utterance;
    bytes.extend((id.len() as u64).to_le_bytes());
    bytes.extend(id.as_bytes());
    bytes.extend(piece.from.to_le_bytes());
    // No piece ends at a negative second.
    bytes.extend(piece.to.unwrap_or(-1.0).to_le_bytes());
    for number in [
        piece.channel.map(|channel| channel as u64),
        declared.frames,
        declared.samples,
    ] {
        bytes.extend(number.unwrap_or(u64::MAX).to_le_bytes());
    }
}

/// Returns the size of an utterance's file; the largest number where there is none.
fn file_size(utterance: &Utterance) -> u64 {
    match &utterance.source {
        AudioSource::File(path) => std::fs::metadata(path).map_or(u64::MAX, |file| file.len()),
        AudioSource::Row(..) => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::TestFolder;
    use super::*;

    #[test]
    fn roots_do_not_count_but_rows_do() {
        let scratch = TestFolder::new("hash");
        let hash_of = |text: &str| hash(&scratch.file("x.tsv", text)).unwrap();
        let first = hash_of("a/root\n1.wav\t5\n2.wav\t6\n");
        assert_eq!(first, hash_of("another\n1.wav\t5\n2.wav\t6\n"));
        for other in [
            "a/root\n1.wav\t5\n",
            "a/root\n1.wav\t5\n2.wav\t7\n",
            "a/root\n2.wav\t6\n1.wav\t5\n",
            "a/root\n1.wav\t5\n3.wav\t6\n",
        ] {
            assert_ne!(first, hash_of(other), "{other}");
        }
    }

    #[test]
    fn segments_are_pieces() {
        let scratch = TestFolder::new("hash-kaldi");
        let list = scratch.file("wav.scp", "r somewhere/r.wav\n");
        let whole = hash(&list).unwrap();
        scratch.file("segments", "a r 0 1\n");
        let second = hash(&list).unwrap();
        scratch.file("wav.scp", "r elsewhere/r.wav\n");
        assert_eq!(hash(&list).unwrap(), second);
        scratch.file("segments", "a r 0 2\n");
        assert!(whole != second && hash(&list).unwrap() != second);
    }

    #[test]
    fn folders_are_names_and_sizes() {
        let scratch = TestFolder::new("hash-folder");
        for folder in ["a", "b"] {
            scratch.file(&format!("{folder}/s/1.wav"), "12");
            scratch.file(&format!("{folder}/2.wav"), "123");
        }
        let of = |folder: &str| hash(&scratch.0.join(folder)).unwrap();
        assert_eq!(of("a"), of("b"));
        scratch.file("b/2.wav", "1234");
        assert_ne!(of("a"), of("b"));
        assert!(hash(&scratch.0.join("none")).is_err());
    }
}
