//! The units of sequences by number.
use super::Units;
use std::sync::Arc;

/// The units that sequences consist of, numbered from 1. Number 0 is the blank of connectionist
/// temporal classification.
///
/// A unit in angle brackets is a mark, such as the end of a sequence, which no error rate counts;
/// except `<unk>`, which stands for a unit that is not in the vocabulary.
#[derive(Clone, Debug, PartialEq)]
pub struct Vocabulary {
    /// What the units are.
    pub units: Units,
    names: Arc<[String]>,
}

impl Vocabulary {
    /// The letter between words.
    pub const SPACE: &str = "|";
    /// The unit that stands for those that are not in the vocabulary.
    pub const UNKNOWN: &str = "<unk>";

    /// Numbers the units of `names`, in their order.
    pub fn new(units: Units, names: &[String]) -> Vocabulary {
        Vocabulary {
            units,
            names: names.into(),
        }
    }

    /// Returns the number of units, the blank included.
    pub fn classes(&self) -> usize {
        self.names.len() + 1
    }

    /// Returns the number of a unit, or that of the unknown one.
    pub(crate) fn number(&self, unit: &str) -> Option<u32> {
        let find = |wanted: &str| self.names.iter().position(|name| name == wanted);
        let place = find(unit).or_else(|| find(Vocabulary::UNKNOWN))?;
        Some(place as u32 + 1)
    }

    /// Returns the units of a sequence that error rates count.
    pub(crate) fn counted<'a>(&'a self, sequence: &[u32]) -> Vec<&'a str> {
        let names = sequence.iter().filter_map(|number| {
            let place = (*number as usize).checked_sub(1)?;
            self.names.get(place).map(String::as_str)
        });
        names.filter(|name| !is_mark(name)).collect()
    }
}

fn is_mark(name: &str) -> bool {
    name.starts_with('<') && name.ends_with('>') && name.len() > 2 && name != Vocabulary::UNKNOWN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_numbered_from_one_and_marks_do_not_count() {
        let names = ["<eos>", "<unk>", "A", "|"].map(String::from);
        let vocabulary = Vocabulary::new(Units::Letters, &names);
        assert_eq!(vocabulary.classes(), 5);
        assert_eq!(vocabulary.number("A"), Some(3));
        assert_eq!(vocabulary.number("Z"), Some(2));
        assert_eq!(vocabulary.counted(&[3, 4, 2, 1]), ["A", "|", "<unk>"]);
        let without_unknown = Vocabulary::new(Units::Letters, &names[2..]);
        assert_eq!(without_unknown.number("Z"), None);
    }
}
