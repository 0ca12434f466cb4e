//! Kaldi's `wav.scp`, with a line `utterance path` for each utterance.
//!
//! If a file `segments` is beside it, `wav.scp` names recordings, and a line of `segments` is an
//! utterance: `utterance recording start end [channel]`, in seconds; an end of -1 is the
//! recording's end. An utterance's id is its name.
use super::{Utterance, collect_rows, numbered_lines, read_text};
use crate::Result;
use crate::data::audio::piece::Piece;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Reads the utterances of a `wav.scp`, or of the `segments` beside it.
pub(super) fn read(path: &Path) -> Result<Vec<Utterance>> {
    let text = read_text(path)?;
    let recordings = numbered_lines(&text).map(|(number, line)| recording(number, line));
    let recordings = collect_rows(path, recordings)?;
    let mut paths: BTreeMap<&str, &Path> = BTreeMap::new();
    let mut duplicates = vec![];
    for recording in &recordings {
        let KaldiRecording { line, name, path } = recording;
        if paths.insert(name, path).is_some() {
            duplicates.push(Err(format!("line {line}: `{name}` stands twice").into()));
        }
    }
    collect_rows::<()>(path, duplicates)?;

    let Some(path) = segments(path) else {
        let utterance =
            |recording: KaldiRecording| Utterance::file(recording.name.into(), recording.path);
        return Ok(recordings.into_iter().map(utterance).collect());
    };
    let text = read_text(&path)?;
    let rows = numbered_lines(&text).map(|(number, line)| segment(number, line, &paths));
    collect_rows(&path, rows)
}

/// Returns the path of the file `segments` beside `manifest`, if `manifest` is a `wav.scp` and has
/// one.
pub(super) fn segments(manifest: &Path) -> Option<PathBuf> {
    let path = manifest.with_file_name("segments");
    (manifest.file_name()? == "wav.scp" && path.exists() && !path.is_dir()).then_some(path)
}

/// A line of `wav.scp`.
struct KaldiRecording<'a> {
    /// The line's number, from 1.
    line: usize,
    name: &'a str,
    path: PathBuf,
}

fn recording(number: usize, line: &str) -> Result<KaldiRecording<'_>> {
    let invalid = |message: &str| Err(format!("line {number} {message}: {line}").into());
    let Some((name, file)) = line.trim().split_once(char::is_whitespace) else {
        return invalid("is not `utterance path`");
    };
    let file = file.trim();
    if file.ends_with('|') || file.starts_with('|') {
        return invalid(
            "is a command, which is not run; name its audio file, or one that it has written",
        );
    }
    if file == "-" || is_in_archive(file) {
        return invalid("names a stream or an archive, not an audio file");
    }
    Ok(KaldiRecording {
        line: number,
        name,
        path: file.into(),
    })
}

/// Returns whether `file` is an offset in a Kaldi archive, such as `wavs.ark:1234`.
fn is_in_archive(file: &str) -> bool {
    file.rsplit_once(".ark:")
        .is_some_and(|(_, offset)| offset.parse::<u64>().is_ok())
}

fn segment(number: usize, line: &str, recordings: &BTreeMap<&str, &Path>) -> Result<Utterance> {
    let invalid = || format!("line {number} is not `utterance recording start end`: {line}");
    let words: Vec<&str> = line.split_whitespace().collect();
    let (&[id, recording, from, to], rest) = words.split_first_chunk().ok_or_else(invalid)?;
    let channel = match rest {
        [] => None,
        [channel] => Some(channel.parse().map_err(|_| invalid())?),
        _ => return Err(invalid().into()),
    };
    let from = seconds(from).ok_or_else(invalid)?;
    let to = seconds(to).ok_or_else(invalid)?;
    if from < 0.0 || to <= from && to != -1.0 {
        return Err(format!("line {number}: seconds {from} to {to} are no piece: {line}").into());
    }
    let Some(path) = recordings.get(recording) else {
        let message = format!("line {number}: recording `{recording}` is not in wav.scp: {line}");
        return Err(message.into());
    };
    let piece = Piece {
        from,
        to: Some(to).filter(|&to| to != -1.0),
        channel,
    };
    Ok(Utterance {
        piece,
        ..Utterance::file(id.into(), path.to_path_buf())
    })
}

fn seconds(word: &str) -> Option<f64> {
    word.parse()
        .ok()
        .filter(|seconds: &f64| seconds.is_finite())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{TestFolder, pieces};
    use super::*;

    #[test]
    fn utterances_are_files() {
        let scratch = TestFolder::new("scp");
        let path = scratch.file("wav.scp", "b data/b 2.flac\r\na\t data/a.wav \n\n");
        let expected = [
            ("b", "data/b 2.flac", 0.0, None),
            ("a", "data/a.wav", 0.0, None),
        ];
        assert_eq!(pieces(&read(&path).unwrap()), expected);
    }

    #[test]
    fn utterances_are_pieces() {
        let scratch = TestFolder::new("segments");
        let path = scratch.file("wav.scp", "r1 1.flac\nr2 2.wav\n");
        scratch.file("segments", "b r2 0.5 2.25\na r1 0 -1\nc r2 3 4 1\n");
        let rows = read(&path).unwrap();
        let expected = [
            ("b", "2.wav", 0.5, Some(2.25)),
            ("a", "1.flac", 0.0, None),
            ("c", "2.wav", 3.0, Some(4.0)),
        ];
        assert_eq!(pieces(&rows), expected);
        let channels: Vec<_> = rows.iter().map(|row| row.piece.channel).collect();
        assert_eq!(channels, [None, None, Some(1)]);
    }

    #[test]
    fn wrong_recordings() {
        let scratch = TestFolder::new("scp-wrong");
        let lines = "a sph2pipe -f wav a.sph |\nb\nc c.wav\nd d.ark:17\n";
        let path = scratch.file("wav.scp", lines);
        let expected = [
            "wav.scp: line 1 is a command, which is not run; name its audio file, or one that it \
             has written: a sph2pipe -f wav a.sph |",
            "wav.scp: line 2 is not `utterance path`: b",
            "wav.scp: line 4 names a stream or an archive, not an audio file: d d.ark:17",
        ];
        assert_eq!(scratch.error(&path), expected.join("\n"));
        scratch.file("wav.scp", "a a.wav\nb b.wav\na c.wav\n");
        assert_eq!(scratch.error(&path), "wav.scp: line 3: `a` stands twice");
    }

    #[test]
    fn wrong_segments() {
        let scratch = TestFolder::new("segments-wrong");
        let path = scratch.file("wav.scp", "a a.wav\n");
        let lines = "1 a 0 1\n2 a 0\n3 b 0 1\n4 a 2 1\n5 a nan 1\n6 a 0 1 left\n";
        scratch.file("segments", lines);
        let expected = [
            "segments: line 2 is not `utterance recording start end`: 2 a 0",
            "segments: line 3: recording `b` is not in wav.scp: 3 b 0 1",
            "segments: line 4: seconds 2 to 1 are no piece: 4 a 2 1",
            "segments: line 5 is not `utterance recording start end`: 5 a nan 1",
            "segments: line 6 is not `utterance recording start end`: 6 a 0 1 left",
        ];
        assert_eq!(scratch.error(&path), expected.join("\n"));
    }
}
