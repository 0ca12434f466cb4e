//! Labels of whole utterances: a line of a text file has an id and one label, or several that are
//! separated by tabs, one for each slot of a command.
//!
//! The labels of a slot are numbered in the order of their bytes, over all lines of the file, so one
//! file for all sets numbers them alike in all phases; or in the order in which the graph lists them.
use crate::Result;
use crate::data::error::{PathContext, error_at};
use crate::data::labels::{Labels, lines};
use crate::data::printable::printable;
use crate::data::suggestion::suggestion;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Reads the labels of a file as numbers; those of a row are of its slots. `names` are the classes
/// of a file with one label a line, in their order.
///
/// # Errors
/// The file cannot be read, a line has no label or another number of labels than the first, or a
/// label is not in `names`; they name the file and the line.
pub(super) fn read(path: &Path, names: Option<&[String]>) -> Result<Labels> {
    let lines = lines::read(path).at(path)?;
    number(&lines, names).map_err(|message| error_at(path, message))
}

fn number(
    lines: &BTreeMap<String, lines::Line>,
    names: Option<&[String]>,
) -> Result<Labels, String> {
    let mut in_order: Vec<&lines::Line> = lines.values().collect();
    in_order.sort_by_key(|line| line.number);
    let count = in_order
        .first()
        .map_or(0, |line| line.text.split('\t').count());
    let mut found: Vec<BTreeSet<&str>> = vec![BTreeSet::new(); count];
    for line in in_order {
        let number = line.number;
        let labels: Vec<&str> = line.text.split('\t').map(str::trim).collect();
        if labels.iter().any(|label| label.is_empty()) {
            return Err(format!("line {number} has no label"));
        }
        if labels.len() != count {
            let found = labels.len();
            return Err(format!(
                "line {number} has {found} labels, the first line {count}"
            ));
        }
        for (slot, label) in found.iter_mut().zip(labels) {
            slot.insert(label);
        }
    }
    let slots = match names {
        Some(names) => vec![named_classes(lines, &found, names)?],
        None => found.into_iter().map(numbered).collect(),
    };
    let mut labels = Labels::new();
    for (id, line) in lines {
        let row = line.text.split('\t').zip(&slots);
        labels.insert(
            id.clone(),
            row.map(|(label, slot)| slot[label.trim()]).collect(),
        );
    }
    Ok(labels)
}

/// Numbers labels in their order.
fn numbered<'a>(labels: impl IntoIterator<Item = &'a str>) -> BTreeMap<&'a str, u32> {
    labels.into_iter().zip(0..).collect()
}

/// Numbers the labels as `names` lists them.
fn named_classes<'a>(
    lines: &BTreeMap<String, lines::Line>,
    found: &[BTreeSet<&str>],
    names: &'a [String],
) -> Result<BTreeMap<&'a str, u32>, String> {
    if found.len() > 1 {
        let count = found.len();
        return Err(format!(
            "its lines have {count} labels, but `classes` names those of one"
        ));
    }
    let unknown = found
        .iter()
        .flatten()
        .find(|label| !names.iter().any(|name| name == *label));
    if let Some(label) = unknown {
        let lines = lines.values().filter(|line| line.text == **label);
        let number = lines.map(|line| line.number).min().unwrap_or(0);
        let hint = suggestion(label, names.iter().map(String::as_str));
        let label = printable(label);
        return Err(format!(
            "line {number}: `classes` does not name the label `{label}`{hint}"
        ));
    }
    Ok(numbered(names.iter().map(String::as_str)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(name: &str, text: &str, names: Option<&[String]>) -> Result<Labels, String> {
        let file = format!("labels-{name}-{}.tsv", std::process::id());
        let path = std::env::temp_dir().join(file);
        std::fs::write(&path, text).expect("written");
        let labels = read(&path, names).map_err(|error| error.to_string());
        std::fs::remove_file(&path).expect("removed");
        labels.map_err(|error| error.rsplit(".tsv: ").next().unwrap_or_default().to_owned())
    }

    fn row(id: &str, labels: &[u32]) -> (String, Vec<u32>) {
        (id.into(), labels.to_vec())
    }

    #[test]
    fn labels_are_numbered_by_slot() {
        let text = "1\tup\tred\n2\tdown\tred\n3\tup\tblue\n";
        let expected = [row("1", &[1, 1]), row("2", &[0, 1]), row("3", &[1, 0])];
        let labels = read_text("slots", text, None);
        assert_eq!(labels, Ok(expected.into_iter().collect()));
    }

    #[test]
    fn listed_classes_decide_the_numbers() {
        let names = ["yes", "no", "up"].map(str::to_owned);
        let labels = read_text("listed", "a yes\nb up\n", Some(&names));
        let expected = [row("a", &[0]), row("b", &[2])];
        assert_eq!(labels, Ok(expected.into_iter().collect()));
        let error = read_text("unknown", "a yes\nb yess\n", Some(&names));
        let message = "line 2: `classes` does not name the label `yess`; did you mean `yes`?";
        assert_eq!(error, Err(message.into()));
        let error = read_text("several", "a\tyes\tno\n", Some(&names));
        let message = "its lines have 2 labels, but `classes` names those of one";
        assert_eq!(error, Err(message.into()));
    }

    #[test]
    fn lines_without_their_labels_are_errors() {
        let error = |name, text| read_text(name, text, None).expect_err("a line is wrong");
        assert_eq!(error("empty", "a yes\nb\n"), "line 2 has no label");
        let message = "line 2 has 1 labels, the first line 2";
        assert_eq!(error("fewer", "b\tx\ty\na\tx\n"), message);
    }
}
