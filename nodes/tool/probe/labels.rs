//! A table of utterances with their phones: tab-separated, a header, and the columns `path` (relative to the table's folder),
//! `split` (`train`, and others to measure on), `phones` (`start:end:PHONE` in seconds, with spaces between) and, if it is
//! there, `speaker`. Rows without phones are left out.
use crate::Result;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub struct Utterance {
    pub path: PathBuf,
    pub split: String,
    /// Start and end in seconds.
    phones: Vec<(f64, f64, String)>,
}

impl Utterance {
    pub fn phones(&self) -> impl Iterator<Item = &str> {
        self.phones.iter().map(|(.., phone)| phone.as_str())
    }
    /// The phone at the centre of frame `t`.
    pub fn phone_of(&self, t: usize) -> Option<&str> {
        let centre = (320 * t + 200) as f64 / 16_000.0;
        let after = self.phones.partition_point(|(start, ..)| *start <= centre);
        let (_, end, phone) = self.phones[..after].last()?;
        (centre < *end).then_some(phone)
    }
}

/// Errors name the table and the line.
pub fn read(table: &Path) -> Result<Vec<Utterance>> {
    let text = std::fs::read_to_string(table).map_err(|e| format!("{}: {e}", table.display()))?;
    let folder = table.parent().unwrap_or(Path::new(""));
    parse(&text, folder).map_err(|says| format!("{}: {says}", table.display()).into())
}

fn parse(text: &str, folder: &Path) -> Result<Vec<Utterance>, String> {
    let mut lines = text.lines().enumerate();
    let header: Vec<&str> = lines
        .next()
        .map(|(_, line)| line.split('\t').collect())
        .unwrap_or_default();
    let column = |name: &str| header.iter().position(|h| *h == name);
    let needed =
        |name: &str| column(name).ok_or_else(|| format!("its first line names no column `{name}`"));
    let (path, split, phones, speaker) = (
        needed("path")?,
        needed("split")?,
        needed("phones")?,
        column("speaker"),
    );
    let (mut utterances, mut speakers) = (vec![], [BTreeSet::new(), BTreeSet::new()]);
    for (at, line) in lines {
        let cells: Vec<&str> = line.split('\t').collect();
        let cell = |column: usize| cells.get(column).copied().unwrap_or_default();
        if cell(phones).is_empty() {
            continue;
        }
        let intervals: Option<Vec<_>> = cell(phones).split(' ').map(interval).collect();
        let intervals = intervals
            .ok_or_else(|| format!("line {}: its phones are not `start:end:PHONE`", at + 1))?;
        if let Some(speaker) = speaker.map(cell).filter(|speaker| !speaker.is_empty()) {
            let (here, there) = if cell(split) == "train" {
                (0, 1)
            } else {
                (1, 0)
            };
            speakers[here].insert(speaker);
            if speakers[there].contains(speaker) {
                return Err(format!(
                    "line {}: the speaker `{speaker}` is in `train` and in another split",
                    at + 1
                ));
            }
        }
        utterances.push(Utterance {
            path: folder.join(cell(path)),
            split: cell(split).into(),
            phones: intervals,
        });
    }
    Ok(utterances)
}

fn interval(text: &str) -> Option<(f64, f64, String)> {
    let (start, rest) = text.split_once(':')?;
    let (end, phone) = rest.split_once(':')?;
    Some((start.parse().ok()?, end.parse().ok()?, phone.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "id\tpath\tspeaker\tsplit\tphones\n\
        1\ta.wav\tA\ttrain\t0.00:0.02:SIL 0.02:0.05:AH\n2\tb.wav\tB\ttrain\t\n3\tc.wav\tB\tdev\t0.5:0.6:K\n";

    #[test]
    fn the_phone_at_a_frames_centre() {
        let found = parse(TABLE, Path::new("d")).expect("a table");
        let about: Vec<_> = found
            .iter()
            .map(|u| (u.path.to_str().expect("text"), u.split.as_str()))
            .collect();
        assert_eq!(about, [("d/a.wav", "train"), ("d/c.wav", "dev")]);
        // Centres at 12.5, 32.5, 52.5 ms.
        assert_eq!(
            [0, 1, 2].map(|t| found[0].phone_of(t)),
            [Some("SIL"), Some("AH"), None]
        );
        assert_eq!(found[1].phone_of(0), None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |text: &str| parse(text, Path::new("")).err().expect("a problem");
        assert_eq!(wrong(""), "its first line names no column `path`");
        assert_eq!(
            wrong(&TABLE.replace("0.5:0.6:K", "K")),
            "line 4: its phones are not `start:end:PHONE`"
        );
        let says = wrong(&TABLE.replace("c.wav\tB", "c.wav\tA"));
        assert_eq!(
            says,
            "line 4: the speaker `A` is in `train` and in another split"
        );
    }
}
