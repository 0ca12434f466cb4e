//! How often rows of a name and a length come, as the sorted hashes of all rows: a corpus may have
//! millions.
use rayon::prelude::*;
use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The rows of a phase or of a cache, counted by name and length.
#[derive(Default)]
pub struct RowCounts {
    /// Sorted; a row that comes twice is there twice.
    hashes: Vec<u64>,
}

/// Returns the hash by which rows of a name and a number of samples are counted.
pub fn row_hash(id: &str, samples: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (id, samples).hash(&mut hasher);
    hasher.finish()
}

impl RowCounts {
    /// Counts rows by their [`row_hash`].
    pub fn new(mut hashes: Vec<u64>) -> RowCounts {
        hashes.par_sort_unstable();
        RowCounts { hashes }
    }

    /// Returns the number of all rows.
    pub fn total(&self) -> u64 {
        self.hashes.len() as u64
    }

    /// Returns the number of rows that `other` has too.
    pub fn common(&self, other: &RowCounts) -> u64 {
        let mut own = self.hashes.iter().peekable();
        let mut others = other.hashes.iter().peekable();
        let mut common = 0;
        while let (Some(a), Some(b)) = (own.peek(), others.peek()) {
            match a.cmp(b) {
                Ordering::Less => drop(own.next()),
                Ordering::Greater => drop(others.next()),
                Ordering::Equal => {
                    common += 1;
                    own.next();
                    others.next();
                }
            }
        }
        common
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(rows: &[(&str, u64)]) -> RowCounts {
        let hashes = rows.iter().map(|(id, samples)| row_hash(id, *samples));
        RowCounts::new(hashes.collect())
    }

    #[test]
    fn rows_are_common_as_often_as_both_have_them() {
        let wanted = counts(&[("a", 640), ("b", 640), ("a", 640)]);
        let stored = counts(&[("a", 640), ("a", 320), ("b", 640), ("b", 640), ("b", 640)]);
        assert_eq!([wanted.total(), wanted.common(&stored)], [3, 2]);
        assert_eq!(stored.common(&wanted), 2);
        assert_eq!(RowCounts::default().common(&stored), 0);
    }
}
