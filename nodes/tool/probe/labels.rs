//! A table of utterances with their phones.
//!
//! It is tab-separated with a header, and has the columns `path` (relative to the table's folder),
//! `split` (`train`, and others to measure on), `phones` (`start:end:PHONE` in seconds, separated
//! by spaces) and optionally `speaker`. Rows without phones are left out.
use crate::Result;
use crate::data::error::{PathContext, error_at};
use crate::data::text;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// An utterance and its phones.
pub(super) struct LabelledUtterance {
    pub path: PathBuf,
    pub split: String,
    phones: Vec<PhoneInterval>,
}

struct PhoneInterval {
    /// In seconds.
    start: f64,
    /// In seconds.
    end: f64,
    phone: String,
}

impl LabelledUtterance {
    /// Returns all phones, in order.
    pub(super) fn phones(&self) -> impl Iterator<Item = &str> {
        self.phones.iter().map(|interval| interval.phone.as_str())
    }

    /// Returns the phone at the centre of frame `t`.
    pub(super) fn phone_of(&self, t: usize) -> Option<&str> {
        let centre = (320 * t + 200) as f64 / 16_000.0;
        let begun = self
            .phones
            .partition_point(|interval| interval.start <= centre);
        let interval = self.phones[..begun].last()?;
        (centre < interval.end).then_some(&interval.phone)
    }
}

/// Reads a table. Errors name the table and the line.
pub(super) fn read(table: &Path) -> Result<Vec<LabelledUtterance>> {
    let text = text::read_list(table).at(table)?;
    let folder = table.parent().unwrap_or(Path::new(""));
    parse(&text, folder).map_err(|message| error_at(table, message))
}

fn parse(text: &str, folder: &Path) -> Result<Vec<LabelledUtterance>, String> {
    let mut lines = text.lines().enumerate();
    let header = lines.next().map_or("", |(_, line)| line);
    let columns = TableColumns::parse(header)?;
    let mut utterances = vec![];
    let mut train_speakers = BTreeSet::new();
    let mut other_speakers = BTreeSet::new();
    for (i, line) in lines {
        let number = i + 1;
        let cells: Vec<&str> = line.split('\t').collect();
        let cell = |column: usize| cells.get(column).copied().unwrap_or_default();
        let phones = cell(columns.phones);
        if phones.is_empty() {
            continue;
        }
        let intervals: Option<Vec<_>> = phones.split(' ').map(parse_interval).collect();
        let intervals = intervals
            .ok_or_else(|| format!("line {number}: its phones are not `start:end:PHONE`"))?;
        let split = cell(columns.split);
        let speaker = columns.speaker.map_or("", cell);
        if !speaker.is_empty() {
            if split == "train" {
                train_speakers.insert(speaker);
            } else {
                other_speakers.insert(speaker);
            }
            if train_speakers.contains(speaker) && other_speakers.contains(speaker) {
                return Err(format!(
                    "line {number}: the speaker `{speaker}` is in `train` and in another split"
                ));
            }
        }
        utterances.push(LabelledUtterance {
            path: folder.join(cell(columns.path)),
            split: split.into(),
            phones: intervals,
        });
    }
    Ok(utterances)
}

/// The indices of the columns.
struct TableColumns {
    path: usize,
    split: usize,
    phones: usize,
    speaker: Option<usize>,
}

impl TableColumns {
    fn parse(header: &str) -> Result<TableColumns, String> {
        let column = |name: &str| header.split('\t').position(|cell| cell == name);
        let required = |name: &str| {
            column(name).ok_or_else(|| format!("its first line names no column `{name}`"))
        };
        Ok(TableColumns {
            path: required("path")?,
            split: required("split")?,
            phones: required("phones")?,
            speaker: column("speaker"),
        })
    }
}

fn parse_interval(text: &str) -> Option<PhoneInterval> {
    let (start, rest) = text.split_once(':')?;
    let (end, phone) = rest.split_once(':')?;
    Some(PhoneInterval {
        start: start.parse().ok()?,
        end: end.parse().ok()?,
        phone: phone.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "id\tpath\tspeaker\tsplit\tphones\n\
        1\ta.wav\tA\ttrain\t0.00:0.02:SIL 0.02:0.05:AH\n\
        2\tb.wav\tB\ttrain\t\n\
        3\tc.wav\tB\tdev\t0.5:0.6:K\n";

    #[test]
    fn the_phone_at_a_frames_centre() {
        let utterances = parse(TABLE, Path::new("d")).expect("a table");
        assert_eq!(utterances.len(), 2);
        assert_eq!(utterances[0].path, Path::new("d/a.wav"));
        assert_eq!(utterances[0].split, "train");
        assert_eq!(utterances[1].path, Path::new("d/c.wav"));
        assert_eq!(utterances[1].split, "dev");
        // Centres at 12.5, 32.5, 52.5 ms.
        let phones = [0, 1, 2].map(|t| utterances[0].phone_of(t));
        assert_eq!(phones, [Some("SIL"), Some("AH"), None]);
        assert_eq!(utterances[1].phone_of(0), None);
    }

    #[test]
    fn errors_name_column_and_line() {
        let error = |text: &str| parse(text, Path::new("")).err().expect("an error");
        assert_eq!(error(""), "its first line names no column `path`");
        assert_eq!(
            error(&TABLE.replace("0.5:0.6:K", "K")),
            "line 4: its phones are not `start:end:PHONE`"
        );
        assert_eq!(
            error(&TABLE.replace("c.wav\tB", "c.wav\tA")),
            "line 4: the speaker `A` is in `train` and in another split"
        );
    }
}
