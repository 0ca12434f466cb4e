//! fairseq's TSV: the first line is the root folder, every other line `path<TAB>samples`. An
//! utterance's id is its path as written.
use super::utterance::DeclaredLengths;
use super::{RowErrors, Utterances, open_lines};
use crate::Result;
use crate::data::audio::piece::Piece;
use crate::data::error::{PathContext, error_at};
use crate::data::printable::{printable, printable_path, shortened};
use std::path::Path;

/// Reads the utterances of a TSV.
pub(super) fn read(path: &Path) -> Result<Utterances> {
    let mut lines = open_lines(path)?;
    let Some(first) = lines.next().at(path)? else {
        let message = "is empty; the first line names the root folder";
        return Err(error_at(path, message));
    };
    let root = first.text;
    if root.contains('\t') {
        let message = format!(
            "line 1 is `{}`, but the first line of a TSV names the root folder that the paths \
             below it are relative to",
            printable(&shortened(root))
        );
        return Err(error_at(path, message));
    }
    let root = Path::new(root.trim());
    if root.is_file() {
        let root = printable_path(root);
        let message = format!("line 1 names the root folder; {root} is a file");
        return Err(error_at(path, message));
    }
    let mut utterances = Utterances::below(root);
    let mut errors = RowErrors::default();
    while let Some(line) = lines.next().at(path)? {
        if line.text.trim().is_empty() {
            continue;
        }
        if let Some((id, samples)) = errors.valid(path, row(line.number, line.text)) {
            let declared = DeclaredLengths {
                frames: Some(samples),
                samples: Some(samples),
            };
            utterances.push(id, Piece::default(), declared);
        }
        if errors.are_too_many() {
            break;
        }
    }
    errors.finish(path)?;
    Ok(utterances)
}

/// Parses a line to the path and the number of samples.
fn row(number: usize, line: &str) -> Result<(&str, u64)> {
    let invalid = || format!("line {number} is not `path<TAB>samples`: {line}");
    let (id, samples) = line.split_once('\t').ok_or_else(invalid)?;
    let samples = samples.trim().parse().map_err(|_| invalid())?;
    Ok((id, samples))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{TestFolder, pieces};
    use super::*;

    #[test]
    fn rows_and_wrong_lines() {
        let scratch = TestFolder::new("tsv");
        let file = |text: &str| scratch.file("x.tsv", text);
        let lines = "some/speech\r\na b/1.flac\t16000\r\n2.wav\t5\r\n\r\n";
        let rows: Vec<_> = read(&file(lines)).unwrap().iter().collect();
        let expected = [
            ("a b/1.flac", "some/speech/a b/1.flac", 0.0, None),
            ("2.wav", "some/speech/2.wav", 0.0, None),
        ];
        assert_eq!(pieces(&rows), expected);
        let frames: Vec<_> = rows.iter().map(|row| row.declared.frames).collect();
        assert_eq!(frames, [Some(16_000), Some(5)]);

        let expected = [
            "x.tsv: line 3 is not `path<TAB>samples`: b.flac",
            "x.tsv: line 5 is not `path<TAB>samples`: c.flac\\t-5",
        ];
        let error = scratch.error(&file("root\na.flac\t5\nb.flac\n\nc.flac\t-5"));
        assert_eq!(error, expected.join("\n"));
        let error = scratch.error(&file(""));
        assert_eq!(
            error,
            "x.tsv: is empty; the first line names the root folder"
        );
        assert!(read(&file("root\n")).unwrap().is_empty());
        assert!(read(&file("\u{feff}root\na\t1\n")).is_ok());
        let error = scratch.error(&file("a.wav\t5\nb.wav\t5\n"));
        assert!(
            error.starts_with("x.tsv: line 1 is `a.wav\\t5`, but"),
            "{error}"
        );
        let error = scratch.error(&scratch.0.join("y.tsv"));
        assert!(error.starts_with("y.tsv: No such file"), "{error}");
    }
}
