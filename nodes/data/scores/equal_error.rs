//! The equal error rate of a verification: where as many trials of two speakers are accepted, of
//! those, as trials of one speaker are rejected. Between the thresholds of two scores the rates are
//! interpolated, as along scikit-learn's `roc_curve`.

/// Returns the equal error rate of trials, each with its score and whether it is a target: two
/// utterances of one speaker. `None` without both kinds, or if a score is not a number.
pub(crate) fn equal_error_rate(trials: &[(f64, bool)]) -> Option<f64> {
    let targets = trials.iter().filter(|(_, target)| *target).count() as f64;
    let others = trials.len() as f64 - targets;
    if targets == 0.0 || others == 0.0 || trials.iter().any(|(score, _)| score.is_nan()) {
        return None;
    }
    let mut sorted = trials.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    // Shares of the targets and of the others that are accepted, from the highest threshold down.
    let mut accepted = [0.0, 0.0];
    for equal_scores in sorted.chunk_by(|a, b| a.0 == b.0) {
        let mut next = accepted;
        for (_, target) in equal_scores {
            if *target {
                next[0] += 1.0 / targets;
            } else {
                next[1] += 1.0 / others;
            }
        }
        // Rejected targets minus accepted others: falls from 1 to -1.
        let gap = 1.0 - accepted[0] - accepted[1];
        let fall = next[0] - accepted[0] + next[1] - accepted[1];
        if gap <= fall {
            return Some(accepted[1] + gap / fall * (next[1] - accepted[1]));
        }
        accepted = next;
    }
    Some(accepted[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::scores::golden;

    #[test]
    fn equal_error_rates_are_scikit_learns() {
        for case in golden::read()["trials"].as_array().expect("trials") {
            let numbers = |name: &str| -> Vec<f64> {
                let array = case[name].as_array().expect("numbers");
                array
                    .iter()
                    .map(|n| n.as_f64().expect("a number"))
                    .collect()
            };
            let labels = numbers("labels").into_iter().map(|label| label == 1.0);
            let trials: Vec<(f64, bool)> = numbers("scores").into_iter().zip(labels).collect();
            let rate = equal_error_rate(&trials).expect("a rate");
            assert!(
                (rate - case["eer"].as_f64().expect("a rate")).abs() < 1e-9,
                "{rate}"
            );
        }
    }

    #[test]
    fn separated_and_reversed_trials_have_the_ends_of_the_scale() {
        assert_eq!(equal_error_rate(&[(0.9, true), (0.1, false)]), Some(0.0));
        assert_eq!(equal_error_rate(&[(0.1, true), (0.9, false)]), Some(1.0));
        assert_eq!(equal_error_rate(&[(0.5, true), (0.5, false)]), Some(0.5));
        assert_eq!(equal_error_rate(&[(0.5, true)]), None);
        assert_eq!(equal_error_rate(&[(f64::NAN, true), (0.5, false)]), None);
    }
}
