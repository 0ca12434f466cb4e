//! Finds texts in a long list, and those that are there twice, by their sorted hashes: 16 bytes a
//! text. Texts of equal hash are compared, so a collision costs time and nothing else.
use super::Texts;
use rayon::prelude::*;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The hashes of a list, sorted.
pub(crate) struct TextIndex<'a> {
    texts: &'a Texts,
    /// Hash and index of each text.
    sorted: Vec<(u64, usize)>,
}

impl<'a> TextIndex<'a> {
    /// Hashes and sorts the texts of a list.
    pub(crate) fn new(texts: &'a Texts) -> TextIndex<'a> {
        TextIndex::with_hash(texts, hash)
    }

    fn with_hash(texts: &'a Texts, hash: fn(&str) -> u64) -> TextIndex<'a> {
        let hashes = texts.iter().map(|text| hash(&text));
        let mut sorted: Vec<(u64, usize)> = hashes.zip(0..).collect();
        sorted.par_sort_unstable();
        TextIndex { texts, sorted }
    }

    /// Returns the index of the first text that equals `text`.
    pub(crate) fn find(&self, text: &str) -> Option<usize> {
        let hash = hash(text);
        let first = self.sorted.partition_point(|(other, _)| *other < hash);
        let alike = self.sorted[first..]
            .iter()
            .take_while(|(other, _)| *other == hash);
        let mut indices = alike.map(|(_, index)| *index);
        indices.find(|index| self.texts.get(*index) == text)
    }

    /// Returns each index whose text is at an earlier index too, with the nearest of these before
    /// it; in order.
    pub(crate) fn repeated(&self) -> Vec<(usize, usize)> {
        let mut repeated = vec![];
        for alike in self.sorted.chunk_by(|(a, _), (b, _)| a == b) {
            let mut seen: Vec<(usize, String)> = vec![];
            if alike.len() == 1 {
                continue;
            }
            for (_, index) in alike {
                let text = self.texts.get(*index);
                let earlier = seen.iter_mut().find(|(_, other)| *other == text);
                match earlier {
                    Some((earlier, _)) => {
                        repeated.push((*earlier, *index));
                        *earlier = *index;
                    }
                    None => seen.push((*index, text)),
                }
            }
        }
        repeated.sort_unstable_by_key(|(_, index)| *index);
        repeated
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: [&str; 7] = ["a", "b", "a", "c", "b", "a", "d"];

    #[test]
    fn the_first_of_equal_texts_is_found() {
        let texts: Texts = LIST.into_iter().collect();
        let index = TextIndex::new(&texts);
        let found = ["a", "b", "c", "d", "e"].map(|text| index.find(text));
        assert_eq!(found, [Some(0), Some(1), Some(3), Some(6), None]);
    }

    #[test]
    fn repeated_texts_are_found_whatever_their_hashes() {
        let texts: Texts = LIST.into_iter().collect();
        for hash in [hash, |_: &str| 1] {
            let index = TextIndex::with_hash(&texts, hash);
            assert_eq!(index.repeated(), [(0, 2), (1, 4), (2, 5)]);
        }
        let unique: Texts = ["a", "b"].into_iter().collect();
        assert!(TextIndex::new(&unique).repeated().is_empty());
    }
}
