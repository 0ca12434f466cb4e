//! Kaldi's `wav.scp`, `utterance path` a line; with a file `segments` beside it, whose lines are `utterance recording
//! start end [channel]` (seconds; end -1: to the end), `wav.scp` names recordings. Ids are the utterances'.
use super::{Utterance, all, lines, text};
use crate::Result;
use crate::data::audio::piece::Piece;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub fn read(path: &Path) -> Result<Vec<Utterance>> {
    let scp = text(path)?;
    let recordings = all(path, lines(&scp).map(|(at, line)| recording(at, line)))?;
    let mut by_name = BTreeMap::new();
    let once = |&(at, name, ref file): &(usize, &str, PathBuf)| match by_name
        .insert(name.to_owned(), file.clone())
    {
        Some(_) => Err(format!("line {at}: `{name}` stands twice").into()),
        None => Ok(()),
    };
    all(path, recordings.iter().map(once))?;
    let Some(path) = segments(path) else {
        return Ok(recordings
            .into_iter()
            .map(|(_, name, file)| Utterance::file(name.into(), file))
            .collect());
    };
    all(
        &path,
        lines(&text(&path)?).map(|(at, line)| segment(at, line, &by_name)),
    )
}

/// The file `segments` that belongs to `manifest`, where there is one.
pub fn segments(manifest: &Path) -> Option<PathBuf> {
    let path = manifest.with_file_name("segments");
    (manifest.file_name()? == "wav.scp" && path.is_file()).then_some(path)
}

fn recording(at: usize, line: &str) -> Result<(usize, &str, PathBuf)> {
    let says = |says: &str| Err(format!("line {at} {says}: {line}").into());
    match line
        .trim()
        .split_once(char::is_whitespace)
        .map(|(name, file)| (name, file.trim()))
    {
        None => says("is not `utterance path`"),
        Some((_, file)) if file.ends_with('|') || file.starts_with('|') => {
            says("is a command, which is not run; name its audio file, or one that it has written")
        }
        Some((_, file)) if file == "-" || is_in_archive(file) => {
            says("names a stream or an archive, not an audio file")
        }
        Some((name, file)) => Ok((at, name, file.into())),
    }
}

/// `wavs.ark:1234`: a place in a Kaldi archive.
fn is_in_archive(file: &str) -> bool {
    file.rsplit_once(".ark:")
        .is_some_and(|(_, place)| place.parse::<u64>().is_ok())
}

fn segment(at: usize, line: &str, recordings: &BTreeMap<String, PathBuf>) -> Result<Utterance> {
    let shape = || format!("line {at} is not `utterance recording start end`: {line}");
    let words: Vec<&str> = line.split_whitespace().collect();
    let (&[id, recording, from, to], channel) = words.split_first_chunk().ok_or_else(shape)?;
    let channel = match channel {
        [] => None,
        [channel] => Some(channel.parse().map_err(|_| shape())?),
        _ => return Err(shape().into()),
    };
    let seconds = |word: &str| {
        word.parse::<f64>()
            .ok()
            .filter(|seconds| seconds.is_finite())
            .ok_or_else(shape)
    };
    let (from, to) = (seconds(from)?, seconds(to)?);
    if from < 0.0 || to <= from && to != -1.0 {
        return Err(format!("line {at}: seconds {from} to {to} are no piece: {line}").into());
    }
    let missing = || format!("line {at}: recording `{recording}` is not in wav.scp: {line}");
    let path = recordings.get(recording).ok_or_else(missing)?.clone();
    let piece = Piece {
        from,
        to: Some(to).filter(|&to| to != -1.0),
        channel,
    };
    Ok(Utterance {
        piece,
        ..Utterance::file(id.into(), path)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Scratch, row};
    use super::*;

    #[test]
    fn utterances_are_files() {
        let scratch = Scratch::new("scp");
        let path = scratch.file("wav.scp", "b data/b 2.flac\r\na\t data/a.wav \n\n");
        let rows = read(&path).unwrap();
        assert_eq!(
            rows.iter().map(row).collect::<Vec<_>>(),
            [
                ("b", "data/b 2.flac", 0.0, None),
                ("a", "data/a.wav", 0.0, None)
            ]
        );
    }

    #[test]
    fn utterances_are_pieces() {
        let scratch = Scratch::new("segments");
        let path = scratch.file("wav.scp", "r1 1.flac\nr2 2.wav\n");
        scratch.file("segments", "b r2 0.5 2.25\na r1 0 -1\nc r2 3 4 1\n");
        let rows = read(&path).unwrap();
        let expected = [
            ("b", "2.wav", 0.5, Some(2.25)),
            ("a", "1.flac", 0.0, None),
            ("c", "2.wav", 3.0, Some(4.0)),
        ];
        assert_eq!(rows.iter().map(row).collect::<Vec<_>>(), expected);
        assert_eq!(
            rows.iter().map(|u| u.piece.channel).collect::<Vec<_>>(),
            [None, None, Some(1)]
        );
    }

    #[test]
    fn wrong_lines() {
        let scratch = Scratch::new("kaldi-wrong");
        let path = scratch.file(
            "wav.scp",
            "a sph2pipe -f wav a.sph |\nb\nc c.wav\nd d.ark:17\n",
        );
        let expected = [
            "wav.scp: line 1 is a command, which is not run; name its audio file, or one that it has written: a sph2pipe -f wav a.sph |",
            "wav.scp: line 2 is not `utterance path`: b",
            "wav.scp: line 4 names a stream or an archive, not an audio file: d d.ark:17",
        ];
        assert_eq!(scratch.wrong(&path), expected.join("\n"));
        scratch.file("wav.scp", "a a.wav\nb b.wav\na c.wav\n");
        assert_eq!(scratch.wrong(&path), "wav.scp: line 3: `a` stands twice");
        scratch.file("wav.scp", "a a.wav\n");
        scratch.file(
            "segments",
            "1 a 0 1\n2 a 0\n3 b 0 1\n4 a 2 1\n5 a nan 1\n6 a 0 1 left\n",
        );
        let expected = [
            "segments: line 2 is not `utterance recording start end`: 2 a 0",
            "segments: line 3: recording `b` is not in wav.scp: 3 b 0 1",
            "segments: line 4: seconds 2 to 1 are no piece: 4 a 2 1",
            "segments: line 5 is not `utterance recording start end`: 5 a nan 1",
            "segments: line 6 is not `utterance recording start end`: 6 a 0 1 left",
        ];
        assert_eq!(scratch.wrong(&path), expected.join("\n"));
    }
}
