//! A table of utterances with their phones, or with a label each.
//!
//! It is tab-separated with a header, and has the columns `path` (relative to the table's folder),
//! `split` (`train`, and others to measure on), `phones` (`start:end:PHONE` in seconds, separated
//! by spaces) or `label` (any text), and optionally `speaker`. Rows without phones or label are left
//! out.
use crate::Result;
use crate::data::audio::resample::audio_seconds;
use crate::data::error::{PathContext, error_at};
use crate::data::printable::printable_path;
use crate::data::text;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The split to train on.
pub(super) const TRAIN: &str = "train";

/// What a table says of its utterances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TableKind {
    Phones,
    Labels,
}

/// The labelled utterances of a table.
pub(super) struct LabelTable {
    pub(super) kind: TableKind,
    pub(super) utterances: Vec<LabelledUtterance>,
}

/// An utterance and its phones or label.
pub(super) struct LabelledUtterance {
    pub(super) path: PathBuf,
    pub(super) split: String,
    target: Target,
}

enum Target {
    Phones(Vec<PhoneInterval>),
    Label(String),
}

struct PhoneInterval {
    /// In seconds.
    start: f64,
    /// In seconds.
    end: f64,
    phone: String,
}

impl LabelledUtterance {
    /// Returns all phones in order, or the label.
    pub(super) fn classes(&self) -> Vec<&str> {
        match &self.target {
            Target::Phones(phones) => phones.iter().map(|p| p.phone.as_str()).collect(),
            Target::Label(label) => vec![label],
        }
    }

    /// Returns the phone at the centre of frame `t`, or the label, which all points of the utterance
    /// have.
    pub(super) fn class_of(&self, t: usize) -> Option<&str> {
        match &self.target {
            Target::Phones(phones) => phone_of(phones, t),
            Target::Label(label) => Some(label),
        }
    }
}

/// Returns the phone at the centre of frame `t`.
fn phone_of(phones: &[PhoneInterval], t: usize) -> Option<&str> {
    let centre = audio_seconds(320 * t as u64 + 200);
    let begun = phones.partition_point(|interval| interval.start <= centre);
    let interval = phones[..begun].last()?;
    (centre < interval.end).then_some(&interval.phone)
}

/// Reads a table. Errors name the table, and the line or the recording.
pub(super) fn read(table: &Path) -> Result<LabelTable> {
    let text = text::read_list(table).at(table)?;
    let folder = table.parent().unwrap_or(Path::new(""));
    parse(&text, folder).map_err(|message| error_at(table, message))
}

fn parse(text: &str, folder: &Path) -> Result<LabelTable, String> {
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
        let target = cell(columns.target);
        if target.is_empty() {
            continue;
        }
        let target =
            match columns.kind {
                TableKind::Phones => Target::Phones(parse_phones(target).ok_or_else(|| {
                    format!("line {number}: its phones are not `start:end:PHONE`")
                })?),
                TableKind::Labels => Target::Label(target.to_owned()),
            };
        let split = cell(columns.split);
        let speaker = columns.speaker.map_or("", cell);
        if !speaker.is_empty() {
            if split == TRAIN {
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
            target,
        });
    }
    if let Some(path) = in_several_splits(&utterances) {
        let path = printable_path(path);
        return Err(format!("{path} is in `train` and in another split"));
    }
    Ok(LabelTable {
        kind: columns.kind,
        utterances,
    })
}

/// Returns a recording that is trained on and measured on.
fn in_several_splits(utterances: &[LabelledUtterance]) -> Option<&Path> {
    let (train, others): (Vec<_>, Vec<_>) = utterances.iter().partition(|u| u.split == TRAIN);
    let train: BTreeSet<&Path> = train.iter().map(|u| &*u.path).collect();
    let mut others = others.iter().map(|u| &*u.path);
    others.find(|path| train.contains(path))
}

/// The indices of the columns.
struct TableColumns {
    path: usize,
    split: usize,
    /// The column of phones or labels.
    target: usize,
    kind: TableKind,
    speaker: Option<usize>,
}

impl TableColumns {
    fn parse(header: &str) -> Result<TableColumns, String> {
        let column = |name: &str| header.split('\t').position(|cell| cell == name);
        let required = |name: &str| {
            column(name).ok_or_else(|| format!("its first line names no column `{name}`"))
        };
        let (target, kind) = match (column("phones"), column("label")) {
            (Some(phones), None) => (phones, TableKind::Phones),
            (None, Some(label)) => (label, TableKind::Labels),
            (None, None) => {
                return Err("its first line names no column `phones` or `label`".to_owned());
            }
            (Some(_), Some(_)) => {
                return Err(
                    "its first line names the columns `phones` and `label`; take one of them out"
                        .to_owned(),
                );
            }
        };
        Ok(TableColumns {
            path: required("path")?,
            split: required("split")?,
            target,
            kind,
            speaker: column("speaker"),
        })
    }
}

fn parse_phones(text: &str) -> Option<Vec<PhoneInterval>> {
    text.split(' ').map(parse_interval).collect()
}

fn parse_interval(text: &str) -> Option<PhoneInterval> {
    let (start, rest) = text.split_once(':')?;
    let (end, phone) = rest.split_once(':')?;
    let [start, end]: [f64; 2] = [start.parse().ok()?, end.parse().ok()?];
    (start <= end).then(|| PhoneInterval {
        start,
        end,
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
        let LabelTable { kind, utterances } = parse(TABLE, Path::new("d")).expect("a table");
        assert_eq!((kind, utterances.len()), (TableKind::Phones, 2));
        assert_eq!(utterances[0].path, Path::new("d/a.wav"));
        assert_eq!(utterances[0].split, "train");
        assert_eq!(utterances[1].path, Path::new("d/c.wav"));
        assert_eq!(utterances[1].split, "dev");
        // Centres at 12.5, 32.5, 52.5 ms.
        let phones = [0, 1, 2].map(|t| utterances[0].class_of(t));
        assert_eq!(phones, [Some("SIL"), Some("AH"), None]);
        assert_eq!(utterances[1].class_of(0), None);
    }

    #[test]
    fn a_label_is_of_all_frames() {
        let text = "label\tsplit\tpath\nyes\ttrain\ta.wav\n\tdev\tb.wav\nno more\tdev\tc.wav\n";
        let LabelTable { kind, utterances } = parse(text, Path::new("")).expect("a table");
        let classes: Vec<_> = utterances.iter().map(|u| u.class_of(7)).collect();
        assert_eq!(
            (kind, classes),
            (TableKind::Labels, vec![Some("yes"), Some("no more")])
        );
    }

    #[test]
    fn errors_name_column_and_line() {
        let error = |text: &str| parse(text, Path::new("")).err().expect("an error");
        let neither = "its first line names no column `phones` or `label`";
        assert_eq!(error("path\tsplit"), neither);
        assert_eq!(
            error("label\tsplit"),
            "its first line names no column `path`"
        );
        let both = "its first line names the columns `phones` and `label`; take one of them out";
        assert_eq!(error("path\tsplit\tphones\tlabel"), both);
        for phone in ["K", "0.6:0.5:K", "nan:0.6:K"] {
            assert_eq!(
                error(&TABLE.replace("0.5:0.6:K", phone)),
                "line 4: its phones are not `start:end:PHONE`"
            );
        }
        assert_eq!(
            error(&TABLE.replace("c.wav\tB", "c.wav\tA")),
            "line 4: the speaker `A` is in `train` and in another split"
        );
        assert_eq!(
            error("path\tsplit\tlabel\na.wav\ttrain\tx\nb.wav\tdev\ty\na.wav\tdev\tx\n"),
            "a.wav is in `train` and in another split"
        );
    }
}
