//! Kaldi's `wav.scp`, with a line `utterance path` for each utterance.
//!
//! If a file `segments` is beside it, `wav.scp` names recordings, and a line of `segments` is an
//! utterance: `utterance recording start end [channel]`, in seconds; an end of -1 is the
//! recording's end. An utterance's id is its name.
use super::utterance::{AudioSource, DeclaredLengths};
use super::{RowErrors, Utterances, open_lines};
use crate::Result;
use crate::data::audio::piece::Piece;
use crate::data::error::PathContext;
use crate::data::store;
use crate::data::texts::TextIndex;
use std::path::{Path, PathBuf};

/// Reads the utterances of a `wav.scp`, or of the `segments` beside it.
pub(super) fn read(path: &Path) -> Result<Utterances> {
    let mut recordings = Utterances::of_paths();
    let mut numbers: Vec<u32> = vec![]; // of their lines
    visit_rows(path, |number, line| {
        let (name, file) = recording(number, line)?;
        let declared = DeclaredLengths::default();
        recordings.push_path(name, file, Piece::default(), declared);
        numbers.push(number as u32);
        Ok(())
    })?;
    let index = TextIndex::new(recordings.ids());
    refuse_repeated(path, &index, &recordings, &numbers)?;

    let Some(segments) = segments(path) else {
        return Ok(recordings);
    };
    let mut utterances = Utterances::of_paths();
    numbers.clear();
    visit_rows(&segments, |number, line| {
        let (id, recording, piece) = segment(number, line)?;
        let Some(row) = index.find(recording) else {
            let message = "is not in wav.scp";
            return Err(format!("line {number}: recording `{recording}` {message}: {line}").into());
        };
        if let AudioSource::File(file) = recordings.get(row).source {
            utterances.push_file(id, &file, piece, DeclaredLengths::default());
            numbers.push(number as u32);
        }
        Ok(())
    })?;
    let index = TextIndex::new(utterances.ids());
    refuse_repeated(&segments, &index, &utterances, &numbers)?;
    Ok(utterances)
}

/// Refuses names that stand twice in a list whose rows have these line numbers.
fn refuse_repeated(
    list: &Path,
    index: &TextIndex,
    rows: &Utterances,
    numbers: &[u32],
) -> Result<()> {
    let mut errors = RowErrors::default();
    for (_, row) in index.repeated() {
        let line = numbers[row];
        let name = rows.ids().get(row);
        errors.valid::<()>(
            list,
            Err(format!("line {line}: `{name}` stands twice").into()),
        );
    }
    errors.finish(list)
}

/// Passes the lines of a list that are not blank to `visit`, with their numbers from 1.
fn visit_rows(path: &Path, mut visit: impl FnMut(usize, &str) -> Result<()>) -> Result<()> {
    let mut lines = open_lines(path)?;
    let mut errors = RowErrors::default();
    while let Some(line) = lines.next().at(path)? {
        if line.text.trim().is_empty() {
            continue;
        }
        errors.valid(path, visit(line.number, line.text));
        if errors.are_too_many() {
            break;
        }
    }
    errors.finish(path)
}

/// Returns the path of the file `segments` beside `manifest`, if `manifest` is a `wav.scp` and has
/// one.
pub(super) fn segments(manifest: &Path) -> Option<PathBuf> {
    let path = manifest.with_file_name("segments");
    (manifest.file_name()? == "wav.scp" && store::exists(&path) && !path.is_dir()).then_some(path)
}

/// Parses a line of `wav.scp` to the recording's name and path.
fn recording(number: usize, line: &str) -> Result<(&str, &str)> {
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
    Ok((name, file))
}

/// Returns whether `file` is an offset in a Kaldi archive, such as `wavs.ark:1234`.
fn is_in_archive(file: &str) -> bool {
    file.rsplit_once(".ark:")
        .is_some_and(|(_, offset)| offset.parse::<u64>().is_ok())
}

/// Parses a line of `segments` to the utterance, its recording and its piece of it.
fn segment(number: usize, line: &str) -> Result<(&str, &str, Piece)> {
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
    let piece = Piece {
        from,
        to: Some(to).filter(|&to| to != -1.0),
        channel,
    };
    Ok((id, recording, piece))
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
        let rows: Vec<_> = read(&path).unwrap().iter().collect();
        assert_eq!(pieces(&rows), expected);
    }

    #[test]
    fn utterances_are_pieces() {
        let scratch = TestFolder::new("segments");
        let path = scratch.file("wav.scp", "r1 1.flac\nr2 2.wav\n");
        scratch.file("segments", "b r2 0.5 2.25\na r1 0 -1\nc r2 3 4 1\n");
        let rows: Vec<_> = read(&path).unwrap().iter().collect();
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
        scratch.file("segments", "1 a 0 1\n\n2 a 1 2\n1 a 2 3\n");
        assert_eq!(scratch.error(&path), "segments: line 4: `1` stands twice");
    }
}
