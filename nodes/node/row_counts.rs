//! Rows, counted by name and length.
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// How often rows of a name and a length come. A count keeps a hash in place of each name, since a
/// corpus may have millions.
#[derive(Default)]
pub struct RowCounts(HashMap<u64, u64>);

impl RowCounts {
    /// Adds `rows` rows of a name and a number of samples.
    pub fn add(&mut self, id: &str, samples: u64, rows: u64) {
        let mut hasher = DefaultHasher::new();
        (id, samples).hash(&mut hasher);
        *self.0.entry(hasher.finish()).or_insert(0) += rows;
    }

    /// Returns the number of all rows.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Returns the number of rows that `other` has too.
    pub fn common(&self, other: &RowCounts) -> u64 {
        let counts = self.0.iter();
        counts
            .map(|(row, count)| *count.min(other.0.get(row).unwrap_or(&0)))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::RowCounts;

    #[test]
    fn rows_are_common_as_often_as_both_have_them() {
        let mut wanted = RowCounts::default();
        wanted.add("a", 640, 2);
        wanted.add("b", 640, 1);
        let mut stored = RowCounts::default();
        stored.add("a", 640, 1);
        stored.add("a", 320, 1);
        stored.add("b", 640, 3);
        assert_eq!([wanted.total(), wanted.common(&stored)], [3, 2]);
    }
}
