//! A long list of lengths in samples, in four bytes each: only audio of more than 74 hours at 16 kHz
//! has a longer one, which is kept aside.
use std::collections::BTreeMap;

/// What stands in place of a length that is kept aside.
const LONG: u32 = u32::MAX;

/// A list of lengths that grows at its end.
#[derive(Default)]
pub(crate) struct Lengths {
    short: Vec<u32>,
    /// The lengths from [`LONG`] on, by index.
    long: BTreeMap<usize, u64>,
}

impl Lengths {
    /// Returns the number of lengths.
    pub(crate) fn len(&self) -> usize {
        self.short.len()
    }

    /// Adds a length at the end.
    pub(crate) fn push(&mut self, length: u64) {
        let short = u32::try_from(length).unwrap_or(LONG);
        if short == LONG {
            self.long.insert(self.short.len(), length);
        }
        self.short.push(short);
    }

    /// Returns the length at `index`, which must be below the number of lengths.
    pub(crate) fn get(&self, index: usize) -> u64 {
        match self.short[index] {
            LONG => self.long[&index],
            short => short.into(),
        }
    }

    /// Returns all lengths in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> {
        (0..self.len()).map(|index| self.get(index))
    }
}

impl FromIterator<u64> for Lengths {
    fn from_iter<I: IntoIterator<Item = u64>>(items: I) -> Lengths {
        let mut lengths = Lengths::default();
        for length in items {
            lengths.push(length);
        }
        lengths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_any_size_come_back() {
        let pushed = [0, 5, LONG as u64 - 1, LONG as u64, u64::MAX, 7];
        let lengths: Lengths = pushed.into_iter().collect();
        assert_eq!(lengths.len(), 6);
        assert_eq!(lengths.iter().collect::<Vec<_>>(), pushed);
        assert_eq!(lengths.long.len(), 2);
    }
}
