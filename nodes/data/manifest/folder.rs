//! A folder, as LibriSpeech unpacks to: all audio files in it and below, in the order of their
//! paths. An utterance's id is its path relative to the folder.
//!
//! Linked folders are followed. Names that begin with a dot are left out: macOS keeps data of its
//! own in `._NAME` beside NAME.
use super::utterance::DeclaredLengths;
use super::{LeftOut, Listing, Utterances};
use crate::Result;
use crate::data::audio::piece::Piece;
use crate::data::error::{PathContext, error_at};
use crate::data::{folder_tree, regular, store};
use std::path::{Path, PathBuf};

/// The extensions of audio files that are read.
const READ: &[&str] = &[
    "aac", "aif", "aifc", "aiff", "caf", "flac", "m4a", "mp3", "oga", "ogg", "wav", "wave",
];

/// The extensions of audio files that are not read, and their formats.
const NOT_READ: &[(&str, &str)] = &[
    ("3gp", "3GPP"),
    ("ac3", "AC-3"),
    ("amr", "AMR"),
    ("ape", "Monkey's Audio"),
    ("au", "Sun AU"),
    ("g722", "G.722"),
    ("gsm", "GSM 6.10"),
    ("mka", "Matroska"),
    ("mkv", "Matroska"),
    ("mp2", "MP2"),
    ("mp4", "MP4"),
    ("mov", "QuickTime"),
    ("opus", "Opus"),
    ("pcm", "samples without a header"),
    ("ra", "RealAudio"),
    ("raw", "samples without a header"),
    ("rf64", "RF64"),
    ("shn", "Shorten"),
    ("snd", "Sun AU"),
    ("sph", "NIST SPHERE"),
    ("spx", "Speex"),
    ("tta", "True Audio"),
    ("voc", "VOC"),
    ("w64", "Wave64"),
    ("weba", "WebM"),
    ("webm", "WebM"),
    ("wma", "WMA"),
    ("wv", "WavPack"),
    ("wv1", "NIST SPHERE"),
    ("wv2", "NIST SPHERE"),
];

/// Finds the utterances of a folder.
pub(super) fn read(root: &Path) -> Result<Listing> {
    if store::is_address(root) {
        return Ok(read_with_sizes(root)?.0);
    }
    let file_type = std::fs::metadata(root).at(root)?.file_type();
    if !file_type.is_dir() {
        let kind = regular::other_kind(file_type).unwrap_or("a file of an unknown name");
        return Err(error_at(
            root,
            format!("it is {kind}, neither a list nor a folder"),
        ));
    }
    let (paths, left_out) = audio_files(root)?;
    let mut files = vec![];
    for path in paths {
        let relative = path.strip_prefix(root).unwrap_or(&path);
        files.push((relative.to_string_lossy().into_owned(), path));
    }
    files.sort_by(|a, b| a.0.cmp(&b.0));
    let mut utterances = Utterances::below(root);
    for (id, path) in files {
        utterances.push_file(&id, &path, Piece::default(), DeclaredLengths::default());
    }
    Ok(Listing {
        utterances,
        left_out,
    })
}

/// Finds the utterances of a folder in an object store, and the size of each one's file: a store
/// tells both at once.
pub(super) fn read_with_sizes(root: &Path) -> Result<(Listing, Vec<u64>)> {
    let mut left_out = LeftOut::default();
    let mut files = vec![];
    for object in store::list_below(root).at(root)? {
        let path = &object.path;
        let id = path.strip_prefix(root).unwrap_or(path);
        let mut names = id.components().map(|name| name.as_os_str());
        if names.any(|name| name.as_encoded_bytes().starts_with(b".")) {
            left_out.hidden += 1;
        } else if left_out.is_read(path) {
            files.push((id.to_string_lossy().into_owned(), object.bytes));
        }
    }
    files.sort();
    let mut utterances = Utterances::below(root);
    let mut sizes = vec![];
    for (id, bytes) in files {
        utterances.push(&id, Piece::default(), DeclaredLengths::default());
        sizes.push(bytes);
    }
    let listing = Listing {
        utterances,
        left_out,
    };
    Ok((listing, sizes))
}

/// Returns the audio files of a folder in no order, and what is left out.
fn audio_files(root: &Path) -> Result<(Vec<PathBuf>, LeftOut)> {
    let tree = folder_tree::list(root, false).at(root)?;
    let mut left_out = LeftOut {
        hidden: tree.hidden,
        repeated_links: tree.repeated_links,
        ..LeftOut::default()
    };
    let mut found = vec![];
    for path in tree.files {
        if left_out.is_read(&path) {
            found.push(path);
        }
    }
    for path in tree.dead_links {
        if READ.contains(&&*extension(&path)) {
            found.push(path); // reported as a file that cannot be read
        } else {
            left_out.dead_links += 1;
        }
    }
    Ok((found, left_out))
}

impl LeftOut {
    /// Returns whether a file is audio that is read. Counts it if it is other audio.
    fn is_read(&mut self, path: &Path) -> bool {
        let extension = extension(path);
        if let Some((_, format)) = NOT_READ.iter().find(|(known, _)| *known == extension) {
            let kind = format!("{format} (.{extension})");
            *self.formats.entry(kind).or_default() += 1;
        }
        READ.contains(&&*extension)
    }
}

/// Returns the extension in lower case, empty without one.
fn extension(path: &Path) -> String {
    let extension = path.extension().unwrap_or_default();
    extension.to_string_lossy().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::super::tests::TestFolder;
    use super::*;

    fn ids(listing: &Listing) -> Vec<String> {
        listing.utterances.ids().iter().collect()
    }

    #[test]
    fn librispeech() {
        let scratch = TestFolder::new("folder");
        for name in [
            "19/198/19-198-0001.flac",
            "19/198/19-198-0000.flac",
            "103/1.WAV",
            "103/1.trans.txt",
            "a.mp3",
        ] {
            scratch.file(name, "");
        }
        let listing = read(&scratch.0).unwrap();
        let expected = [
            "103/1.WAV",
            "19/198/19-198-0000.flac",
            "19/198/19-198-0001.flac",
            "a.mp3",
        ];
        assert_eq!(ids(&listing), expected);
        assert!(listing.left_out.is_empty());
        assert!(read(&scratch.0.join("none")).is_err());
    }

    #[test]
    fn what_is_left_out_is_counted_by_kind() {
        let scratch = TestFolder::new("folder-kinds");
        for name in [
            "a.wav",
            "._a.wav",
            ".cache/b.wav",
            "x.SPH",
            "y.sph",
            "z.webm",
            "notes.txt",
        ] {
            scratch.file(name, "");
        }
        let listing = read(&scratch.0).unwrap();
        assert_eq!(ids(&listing), ["a.wav"]);
        let expected = "2 NIST SPHERE (.sph), 1 WebM (.webm) (convert these, for instance with \
                        `ffmpeg -i IN -ar 16000 OUT.flac`), 2 with a name that begins with a dot";
        assert_eq!(listing.left_out.to_string(), expected);
    }
}
