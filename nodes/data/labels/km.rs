//! fairseq's `.km`: one line per utterance, in the order of a manifest, with its labels separated
//! by spaces. The line of an utterance without labels is empty.
use super::Labels;
use crate::Result;
use crate::data::file;
use crate::data::text;
use crate::data::unicode::nfc;
use std::num::ParseIntError;
use std::path::Path;

/// Reads a file whose lines are in the order of `ids`.
pub(super) fn read(path: &Path, ids: Vec<String>) -> Result<Labels> {
    let text = text::read_list(path)?;
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() != ids.len() {
        return Err(format!(
            "{} lines for the {} utterances of its manifest",
            lines.len(),
            ids.len()
        )
        .into());
    }
    let mut labels = Labels::new();
    for (number, (id, line)) in (1..).zip(ids.into_iter().zip(lines)) {
        let row =
            parse(line).map_err(|e| format!("line {number} is not numbers of clusters: {e}"))?;
        labels.insert(nfc(&id).into_owned(), row);
    }
    Ok(labels)
}

fn parse(line: &str) -> Result<Vec<u32>, ParseIntError> {
    line.split_ascii_whitespace()
        .map(|word| word.parse::<u16>().map(u32::from))
        .collect()
}

/// Writes the labels of `ids`, in their order, to `path` atomically.
pub(crate) fn write(path: &Path, labels: &Labels, ids: &[String]) -> Result<()> {
    let mut text = String::new();
    for id in ids {
        let row = labels.get(id).map_or(&[][..], Vec::as_slice);
        let words: Vec<String> = row.iter().map(u32::to_string).collect();
        text += &words.join(" ");
        text.push('\n');
    }
    file::write_atomic(path, text.as_bytes())
}
