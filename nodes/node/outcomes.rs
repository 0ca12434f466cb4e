//! Metrics over a whole dev or test pass that are no means of batches: shares, F1.
//!
//! A loss node puts what became of each row into [`Scalar::outcomes`](super::port::Scalar): one
//! [`Outcomes`] a metric, with two numbers a row. A [`Rule`] turns the numbers of all rows of a pass
//! into the metric, so that it does not depend on how the rows are cut into batches:
//!
//! ```text
//! accuracy     Rule::Ratio      right labels, labels
//! wer, per     Rule::Ratio      edits, units of the reference
//! f1           Rule::MacroF1    predicted class, class
//! eer          Rule::EqualError score, whether it is a target
//! ```
//!
//! In training the rows of an update are a pass of their own. A node that can only judge at the end
//! of a pass gathers what it needs in itself and sends its outcomes in the step for which
//! [`Step::ends_pass`](super::step::Step::ends_pass) is true; a row may stand for a pair of
//! utterances, or for whatever the metric counts.
//!
//! A test phase writes the rows to `outcomes.tsv` in the node's folder ([`write_outcomes`]), from
//! which the interval of a metric is found by drawing rows again ([`bootstrap`]).
use crate::Result;
use crate::data::error::{PathContext, error_at};
use crate::data::file;
use crate::data::scores::equal_error_rate;
use compute::random::Key;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// What became of the rows of a batch, for one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcomes {
    /// The metric's name in metrics.jsonl, without `dev/`.
    pub metric: String,
    pub rule: Rule,
    pub rows: Vec<Outcome>,
}

/// What became of one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The id of the utterance, or another name for what was judged.
    pub id: String,
    /// Two numbers whose meaning the rule says.
    pub numbers: [f64; 2],
}

/// How the numbers of all rows become a metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The sum of the first numbers divided by the sum of the second.
    Ratio,
    /// The mean over classes of 2 TP / (2 TP + FP + FN), of (predicted class, class); over classes
    /// that are predicted or are a row's.
    MacroF1,
    /// The equal error rate of trials, each with its score and 1 for a target, 0 for another.
    EqualError,
}

impl Rule {
    /// Returns the metric of these rows; `None` if they do not define it.
    pub fn metric(self, rows: &[[f64; 2]]) -> Option<f64> {
        match self {
            Rule::Ratio => {
                let first: f64 = rows.iter().map(|row| row[0]).sum();
                let second: f64 = rows.iter().map(|row| row[1]).sum();
                (second > 0.0).then(|| first / second)
            }
            Rule::MacroF1 => macro_f1(rows),
            Rule::EqualError => {
                let trials = rows.iter().map(|[score, target]| (*score, *target > 0.0));
                equal_error_rate(&trials.collect::<Vec<_>>())
            }
        }
    }

    fn name(self) -> String {
        let name = serde_json::to_value(self).unwrap_or_default();
        name.as_str().unwrap_or_default().to_owned()
    }
}

fn macro_f1(rows: &[[f64; 2]]) -> Option<f64> {
    // By class: rows that are right, and rows that have the class or are predicted to.
    let mut counts: BTreeMap<u64, [f64; 2]> = BTreeMap::new();
    for [predicted, class] in rows.iter().map(|row| row.map(|number| number as u64)) {
        for side in [predicted, class] {
            let count = counts.entry(side).or_default();
            count[1] += 1.0;
            count[0] += if predicted == class { 1.0 } else { 0.0 };
        }
    }
    let sum: f64 = counts.values().map(|[right, all]| right / all).sum();
    (!counts.is_empty()).then(|| sum / counts.len() as f64)
}

/// Returns the bounds between which a metric of rows that are drawn again, with repetition, lies 95
/// times of 100; `None` if the rows do not define the metric.
///
/// The draws are always the same (percentile bootstrap, Efron 1979).
pub fn bootstrap(rule: Rule, rows: &[[f64; 2]]) -> Option<[f64; 2]> {
    const DRAWS: usize = 1000;
    let key = Key::new(0, &["bootstrap"]);
    let mut metrics = vec![];
    for draw in 0..DRAWS as u64 {
        let mut drawn = Vec::with_capacity(rows.len());
        for place in 0..rows.len() as u64 {
            let row = f64::from(key.uniform(draw, place)) * rows.len() as f64;
            drawn.push(rows[(row as usize).min(rows.len() - 1)]);
        }
        metrics.extend(rule.metric(&drawn));
    }
    metrics.sort_by(f64::total_cmp);
    let last = metrics.len().checked_sub(1)?;
    let quantile = |share: f64| metrics[(share * last as f64).round() as usize];
    Some([quantile(0.025), quantile(0.975)])
}

/// The name of the file of outcomes in a node's folder.
pub const OUTCOMES_FILE: &str = "outcomes.tsv";
const HEADER: &str = "metric\trule\tfirst\tsecond\tid";

/// Writes outcomes as a table of text, a row each.
///
/// # Errors
/// They name the file.
pub fn write_outcomes(path: &Path, metrics: &[Outcomes]) -> Result<()> {
    let mut text = format!("{HEADER}\n");
    for Outcomes { metric, rule, rows } in metrics {
        let rule = rule.name();
        for Outcome { id, numbers } in rows {
            let [first, second] = numbers;
            let id = id.replace(['\n', '\r'], " ");
            text += &format!("{metric}\t{rule}\t{first}\t{second}\t{id}\n");
        }
    }
    file::write_atomic(path, text.as_bytes())
}

/// Reads what [`write_outcomes`] wrote.
///
/// # Errors
/// They name the file, and the line that is not as it was written.
pub fn read_outcomes(path: &Path) -> Result<Vec<Outcomes>> {
    let text = std::fs::read_to_string(path).at(path)?;
    let mut metrics: Vec<Outcomes> = vec![];
    for (number, line) in (1..).zip(text.lines()).skip(1) {
        let (metric, rule, outcome) =
            parse(line).ok_or_else(|| error_at(path, format!("line {number} is no outcome")))?;
        match metrics.iter_mut().find(|known| known.metric == metric) {
            Some(known) => known.rows.push(outcome),
            None => metrics.push(Outcomes {
                metric: metric.to_owned(),
                rule,
                rows: vec![outcome],
            }),
        }
    }
    Ok(metrics)
}

fn parse(line: &str) -> Option<(&str, Rule, Outcome)> {
    let mut cells = line.splitn(5, '\t');
    let metric = cells.next()?;
    let rule = serde_json::from_value(cells.next()?.into()).ok()?;
    let first = cells.next()?.parse().ok()?;
    let second = cells.next()?.parse().ok()?;
    let id = cells.next()?.to_owned();
    let numbers = [first, second];
    Some((metric, rule, Outcome { id, numbers }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_of_sums() {
        assert_eq!(
            Rule::Ratio.metric(&[[1.0, 2.0], [0.0, 6.0]]),
            Some(1.0 / 8.0)
        );
        assert_eq!(Rule::Ratio.metric(&[[0.0, 0.0]]), None);
        assert_eq!(Rule::Ratio.metric(&[]), None);
    }

    /// scikit-learn 1.7: f1_score([0, 0, 1, 2, 2, 2], [0, 1, 1, 2, 2, 3], average="macro").
    #[test]
    fn f1_is_scikit_learns() {
        let classes = [0, 0, 1, 2, 2, 2];
        let predictions = [0, 1, 1, 2, 2, 3];
        let rows = predictions.iter().zip(classes);
        let rows: Vec<[f64; 2]> = rows.map(|(p, c)| [f64::from(*p), f64::from(c)]).collect();
        let f1 = Rule::MacroF1.metric(&rows).expect("an F1");
        assert!((f1 - 0.533_333_333_333_333_3).abs() < 1e-12, "{f1}");
        assert_eq!(Rule::MacroF1.metric(&[]), None);
    }

    /// Of 400 rows of which a quarter is right, the deviation of the share is 0.0217.
    #[test]
    fn the_interval_holds_the_share_and_is_as_wide_as_its_deviation_says() {
        let rows: Vec<[f64; 2]> = (0..400)
            .map(|i| [f64::from(u8::from(i % 4 == 0)), 1.0])
            .collect();
        let [low, high] = bootstrap(Rule::Ratio, &rows).expect("an interval");
        let deviation = (0.25f64 * 0.75 / 400.0).sqrt();
        for (bound, expected) in [
            (low, 0.25 - 1.96 * deviation),
            (high, 0.25 + 1.96 * deviation),
        ] {
            assert!((bound - expected).abs() < 0.006, "{low} to {high}");
        }
        assert_eq!(bootstrap(Rule::Ratio, &rows), Some([low, high]));
        assert_eq!(bootstrap(Rule::Ratio, &[]), None);
    }

    #[test]
    fn outcomes_are_read_as_they_were_written() {
        let outcome = |id: &str, numbers| Outcome {
            id: id.into(),
            numbers,
        };
        let written = [
            Outcomes {
                metric: "wer".into(),
                rule: Rule::Ratio,
                rows: vec![outcome("a\tb", [0.1, 3.0]), outcome("", [2.0, 0.0])],
            },
            Outcomes {
                metric: "f1".into(),
                rule: Rule::MacroF1,
                rows: vec![outcome("c", [1.0, 2.0])],
            },
        ];
        let path = std::env::temp_dir().join(format!("outcomes-{}.tsv", std::process::id()));
        write_outcomes(&path, &written).expect("written");
        assert_eq!(read_outcomes(&path).expect("read"), written);
        std::fs::write(&path, format!("{HEADER}\nwer\tratio\tx\t1\tid\n")).expect("written");
        let error = read_outcomes(&path).expect_err("no number").to_string();
        assert!(error.ends_with("line 2 is no outcome"), "{error}");
        std::fs::remove_file(&path).expect("removed");
    }
}
