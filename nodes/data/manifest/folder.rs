//! A folder, as LibriSpeech unpacks to: all audio files in it and below, in the order of their
//! paths. An utterance's id is its path relative to the folder.
use super::Utterance;
use crate::Result;
use crate::data::error::PathContext;
use std::path::{Path, PathBuf};

/// The extensions of audio files. Opus cannot be read; its files are listed so that they are
/// reported.
const EXTENSIONS: &[&str] = &[
    "aac", "aif", "aiff", "caf", "flac", "m4a", "mp3", "oga", "ogg", "opus", "wav",
];

/// Finds the utterances of a folder.
pub(super) fn read(root: &Path) -> Result<Vec<Utterance>> {
    let mut paths = vec![];
    find_audio(root, &mut paths).at(root)?;
    let mut utterances = vec![];
    for path in paths {
        let relative = path.strip_prefix(root).unwrap_or(&path);
        let id = relative.to_string_lossy().into_owned();
        utterances.push(Utterance::file(id, path));
    }
    utterances.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(utterances)
}

/// Appends the audio files in `folder` and below to `found`. Links to folders are not followed:
/// they could form a cycle.
fn find_audio(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            find_audio(&path, found)?;
        } else if is_audio(&path) {
            found.push(path);
        }
    }
    Ok(())
}

fn is_audio(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        EXTENSIONS
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::TestFolder;
    use super::*;

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
        let utterances = read(&scratch.0).unwrap();
        let ids: Vec<&str> = utterances.iter().map(|u| &*u.id).collect();
        let expected = [
            "103/1.WAV",
            "19/198/19-198-0000.flac",
            "19/198/19-198-0001.flac",
            "a.mp3",
        ];
        assert_eq!(ids, expected);
        assert!(read(&scratch.0.join("none")).is_err());
    }
}
