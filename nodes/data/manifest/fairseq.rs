//! fairseq's TSV: the first line is the root folder, every other line `path<TAB>samples`. An
//! utterance's id is its path as written.
use super::{Utterance, collect_rows, numbered_lines, read_text};
use crate::Result;
use crate::data::error::error_at;
use crate::data::printable::{printable, printable_path, shortened};
use std::path::Path;

/// Reads the utterances of a TSV.
pub(super) fn read(path: &Path) -> Result<Vec<Utterance>> {
    let text = read_text(path)?;
    let Some(root) = text.lines().next() else {
        let message = "is empty; the first line names the root folder";
        return Err(error_at(path, message));
    };
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
    let rows = numbered_lines(&text)
        .filter(|(number, _)| *number > 1)
        .map(|(number, line)| utterance(root, number, line));
    collect_rows(path, rows)
}

fn utterance(root: &Path, number: usize, line: &str) -> Result<Utterance> {
    let invalid = || format!("line {number} is not `path<TAB>samples`: {line}");
    let (id, samples) = line.split_once('\t').ok_or_else(invalid)?;
    let samples = samples.trim().parse().map_err(|_| invalid())?;
    Ok(Utterance {
        declared_frames: Some(samples),
        declared_samples: Some(samples),
        ..Utterance::file(id.into(), root.join(id))
    })
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
        let rows = read(&file(lines)).unwrap();
        let expected = [
            ("a b/1.flac", "some/speech/a b/1.flac", 0.0, None),
            ("2.wav", "some/speech/2.wav", 0.0, None),
        ];
        assert_eq!(pieces(&rows), expected);
        let frames: Vec<_> = rows.iter().map(|row| row.declared_frames).collect();
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
