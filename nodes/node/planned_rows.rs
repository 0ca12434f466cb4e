//! The rows that a phase will send, by their lengths, as the plan knows them.

/// Lengths of the rows of an epoch and of a dev pass.
pub struct PlannedRows {
    pub train: LengthCounts,
    pub dev: LengthCounts,
    /// Batches of an epoch.
    pub train_batches: u64,
    /// Of how many rows of the train set the lengths were read, if not of all.
    pub sampled: Option<SampledRows>,
}

/// A part of a set, from which lengths of all its rows are estimated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampledRows {
    pub read: u64,
    pub rows: u64,
}

/// How many rows have which length in samples. Rows of one length that follow each other take the
/// memory of one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LengthCounts {
    /// Lengths, each with the number of rows that have it.
    counts: Vec<(u64, u64)>,
}

impl LengthCounts {
    /// Returns the number of rows.
    pub fn rows(&self) -> u64 {
        self.counts.iter().map(|(_, rows)| rows).sum()
    }

    /// Sums a number of each row that depends on its length alone.
    pub fn sum(&self, of_length: impl Fn(u64) -> u64) -> u64 {
        let each = self.counts.iter();
        each.map(|(length, rows)| of_length(*length).saturating_mul(*rows))
            .fold(0, u64::saturating_add)
    }
}

impl FromIterator<u64> for LengthCounts {
    fn from_iter<I: IntoIterator<Item = u64>>(lengths: I) -> LengthCounts {
        let mut counts: Vec<(u64, u64)> = vec![];
        for length in lengths {
            match counts.last_mut() {
                Some((last, rows)) if *last == length => *rows += 1,
                _ => counts.push((length, 1)),
            }
        }
        LengthCounts { counts }
    }
}

#[cfg(test)]
mod tests {
    use super::LengthCounts;

    #[test]
    fn equal_neighbours_are_counted() {
        let counts: LengthCounts = [640, 640, 960, 640].into_iter().collect();
        assert_eq!(counts.counts, [(640, 2), (960, 1), (640, 1)]);
        assert_eq!([counts.rows(), counts.sum(|length| length / 320)], [4, 9]);
    }
}
