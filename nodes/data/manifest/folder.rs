//! A folder as LibriSpeech unpacks: all audio files below it in order of their paths. An id is the path relative to it.
use super::{Utterance, named};
use crate::Result;
use std::path::{Path, PathBuf};

/// Opus is not read; so that it is told of and not overlooked.
const EXTENSIONS: &[&str] = &[
    "aac", "aif", "aiff", "caf", "flac", "m4a", "mp3", "oga", "ogg", "opus", "wav",
];

pub fn read(root: &Path) -> Result<Vec<Utterance>> {
    let mut paths = vec![];
    walk(root, &mut paths).map_err(|e| named(root, e))?;
    let utterance = |path: PathBuf| {
        let id = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .to_string_lossy()
            .into_owned();
        Utterance::file(id, path)
    };
    let mut utterances: Vec<_> = paths.into_iter().map(utterance).collect();
    utterances.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(utterances)
}

/// Links to folders are not followed: they could lead in a circle.
fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let is_audio = |extension: &std::ffi::OsStr| {
            EXTENSIONS.iter().any(|e| extension.eq_ignore_ascii_case(e))
        };
        if entry.file_type()?.is_dir() {
            walk(&path, found)?;
        } else if path.extension().is_some_and(is_audio) {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::Scratch;
    use super::*;

    #[test]
    fn librispeech() {
        let scratch = Scratch::new("folder");
        let names = [
            "19/198/19-198-0001.flac",
            "19/198/19-198-0000.flac",
            "103/1.WAV",
            "103/1.trans.txt",
            "a.mp3",
        ];
        names.iter().for_each(|name| drop(scratch.file(name, "")));
        let ids: Vec<_> = read(&scratch.0)
            .unwrap()
            .into_iter()
            .map(|u| u.id)
            .collect();
        assert_eq!(
            ids,
            [
                "103/1.WAV",
                "19/198/19-198-0000.flac",
                "19/198/19-198-0001.flac",
                "a.mp3"
            ]
        );
        assert!(read(&scratch.0.join("none")).is_err());
    }
}
