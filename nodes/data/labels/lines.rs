//! Text of utterances, one a line: the id and what belongs to it, with a tab between them, or with a
//! space as in Kaldi's `text` and `utt2spk`.
use crate::Result;
use crate::data::printable::printable;
use crate::data::text;
use crate::data::unicode::nfc;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

/// A line of an utterance.
#[derive(Debug, PartialEq)]
pub(crate) struct Line {
    /// From 1.
    pub(crate) number: usize,
    /// What follows the id, without white space at its ends.
    pub(crate) text: String,
}

/// Reads the lines of a file by their ids, which are in the Unicode form NFC. Empty lines are passed
/// over; an id without text has an empty one.
///
/// # Errors
/// The file cannot be read, or two lines have the same id; they do not name the file.
pub(crate) fn read(path: &Path) -> Result<BTreeMap<String, Line>> {
    parse(&text::read_list(path)?)
}

fn parse(text: &str) -> Result<BTreeMap<String, Line>> {
    let mut lines: BTreeMap<String, Line> = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_end();
        if line.trim_start().is_empty() {
            continue;
        }
        // An id that is a path may hold spaces, but no tab.
        let separated = line.split_once('\t');
        let separated = separated.or_else(|| line.trim_start().split_once([' ', '\u{3000}']));
        let (id, text) = separated.unwrap_or((line, ""));
        let id = nfc(id.trim()).into_owned();
        let line = Line {
            number,
            text: text.trim().to_owned(),
        };
        match lines.entry(id) {
            Entry::Vacant(entry) => {
                entry.insert(line);
            }
            Entry::Occupied(earlier) => {
                let id = printable(earlier.key());
                let first = earlier.get().number;
                return Err(format!("lines {first} and {number} both have the id `{id}`").into());
            }
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tabs_and_spaces_separate_ids_from_text() {
        let text = "a b.wav\tyes\tno\nutt-1  HELLO WORLD \r\n\n\nutt-2\n";
        let lines = parse(text).expect("lines");
        let found: Vec<(&str, usize, &str)> = lines
            .iter()
            .map(|(id, line)| (id.as_str(), line.number, line.text.as_str()))
            .collect();
        let expected = [
            ("a b.wav", 1, "yes\tno"),
            ("utt-1", 2, "HELLO WORLD"),
            ("utt-2", 5, ""),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn an_id_in_two_lines_is_an_error() {
        let error = parse("a\t1\nb\t1\na 2\n").expect_err("twice").to_string();
        assert_eq!(error, "lines 1 and 3 both have the id `a`");
    }
}
