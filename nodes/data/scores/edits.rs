//! The edit distance (Levenshtein 1966). An error rate of words, letters or phones is the sum of the
//! edits of all utterances divided by the units of all references, so it may pass 1.

/// Returns the fewest insertions, deletions and substitutions that make one sequence of the other.
pub(crate) fn edits<T: PartialEq>(reference: &[T], hypothesis: &[T]) -> usize {
    // Of the units of the reference before this one: edits to each beginning of the hypothesis.
    let mut before: Vec<usize> = (0..=hypothesis.len()).collect();
    for (i, said) in reference.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, heard) in hypothesis.iter().enumerate() {
            let substituted = before[j] + usize::from(said != heard);
            row.push(substituted.min(before[j + 1] + 1).min(row[j] + 1));
        }
        before = row;
    }
    before[hypothesis.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::scores::golden;

    #[test]
    fn edits_of_words_and_letters_are_jiwers() {
        let golden = golden::read();
        let mut sums = [0.0; 4];
        for pair in golden["texts"].as_array().expect("texts") {
            let [reference, hypothesis] = [0, 1].map(|side| pair[side].as_str().expect("a text"));
            let words = [reference, hypothesis].map(|text| text.split(' ').collect::<Vec<_>>());
            let letters = [reference, hypothesis].map(|text| text.chars().collect::<Vec<_>>());
            let word_edits = edits(&words[0], &words[1]);
            assert_eq!(word_edits as u64, pair[2], "{pair}");
            assert_eq!(edits(&words[1], &words[0]), word_edits);
            let added = [
                word_edits,
                words[0].len(),
                edits(&letters[0], &letters[1]),
                letters[0].len(),
            ];
            for (sum, n) in sums.iter_mut().zip(added) {
                *sum += n as f64;
            }
        }
        let rate = |name: &str| golden[name].as_f64().expect("a rate");
        assert!((sums[0] / sums[1] - rate("wer")).abs() < 1e-12);
        assert!((sums[2] / sums[3] - rate("cer")).abs() < 1e-12);
    }

    #[test]
    fn an_empty_side_takes_an_edit_a_unit() {
        assert_eq!(edits(&[1, 2, 3], &[]), 3);
        assert_eq!(edits(&[], &[1, 2]), 2);
        assert_eq!(edits::<u32>(&[], &[]), 0);
    }
}
