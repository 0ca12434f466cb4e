//! What a probe found.
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Values by split, except `train`.
pub(super) type BySplit<T> = BTreeMap<String, T>;

/// The accuracies of all layers.
#[derive(Deserialize, Serialize)]
pub struct ProbeResult {
    #[serde(flatten)]
    pub counts: Counts,
    /// The share of the most frequent class of training, which a classifier without input would
    /// reach.
    pub constant: BySplit<f64>,
    pub layers: Vec<LayerAccuracy>,
}

/// How much was trained on and measured.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
pub enum Counts {
    /// Frames, each with a phone.
    Frames {
        /// The number of phones in training.
        phones: usize,
        /// The number of frames that were trained on.
        train_frames: usize,
        /// The number of frames that were measured.
        frames: BySplit<usize>,
    },
    /// Utterances, each with a label.
    Utterances {
        /// The number of labels in training.
        labels: usize,
        /// The number of utterances that were trained on.
        train_utterances: usize,
        /// The number of utterances that were measured.
        utterances: BySplit<usize>,
    },
}

/// The accuracy of one layer.
#[derive(Deserialize, Serialize)]
pub struct LayerAccuracy {
    pub layer: usize,
    /// The share of frames or utterances whose phone or label is predicted.
    pub accuracy: BySplit<f64>,
}

impl Counts {
    /// Returns what is counted, in the plural.
    pub fn unit(&self) -> &'static str {
        match self {
            Counts::Frames { .. } => "frames",
            Counts::Utterances { .. } => "utterances",
        }
    }

    /// Returns how many were measured.
    pub fn measured(&self) -> &BTreeMap<String, usize> {
        match self {
            Counts::Frames { frames, .. } => frames,
            Counts::Utterances { utterances, .. } => utterances,
        }
    }
}

impl ProbeResult {
    /// Returns the accuracy of the best layer, a mean over the splits whose names end in `test`, or
    /// in `dev` where there are none; `None` without such a split.
    pub fn best(&self) -> Option<f64> {
        let ending = |end: &str| -> Vec<&str> {
            let names = self.counts.measured().keys().map(String::as_str);
            names.filter(|name| name.ends_with(end)).collect()
        };
        let mut splits = ending("test");
        if splits.is_empty() {
            splits = ending("dev");
        }
        let accuracies = self.layers.iter().filter_map(|layer| {
            let of_splits = splits.iter().map(|split| layer.accuracy.get(*split));
            let sum: Option<f64> = of_splits.map(|accuracy| accuracy.copied()).sum();
            sum.filter(|_| !splits.is_empty())
                .map(|sum| sum / splits.len() as f64)
        });
        accuracies.reduce(f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Returns the best of two layers with these accuracies of each split.
    fn best(splits: &[(&str, [f64; 2])]) -> Option<f64> {
        let by_split = |value: &dyn Fn([f64; 2]) -> serde_json::Value| {
            let values = splits
                .iter()
                .map(|(name, layers)| (name.to_string(), value(*layers)));
            serde_json::Value::Object(values.collect())
        };
        let result = json!({
            "phones": 2, "train_frames": 9,
            "frames": by_split(&|_| 5.into()),
            "constant": by_split(&|_| 0.5.into()),
            "layers": [
                { "layer": 0, "accuracy": by_split(&|layers| layers[0].into()) },
                { "layer": 4, "accuracy": by_split(&|layers| layers[1].into()) },
            ],
        });
        let result: ProbeResult = serde_json::from_value(result).expect("a result");
        result.best()
    }

    #[test]
    fn the_best_layer_is_that_of_the_test_splits() {
        let dev = ("dev", [0.9, 0.1]);
        assert_eq!(best(&[dev]), Some(0.9));
        assert_eq!(best(&[dev, ("test", [0.3, 0.4])]), Some(0.4));
        let clean = ("clean-test", [0.5, 0.25]);
        let other = ("other-test", [0.25, 0.75]);
        // One layer for all splits: their mean decides.
        assert_eq!(best(&[dev, clean, other]), Some(0.5));
        assert_eq!(
            best(&[("clean-dev", [0.25, 0.5]), ("dev", [0.5, 0.75])]),
            Some(0.625)
        );
    }

    #[test]
    fn without_such_a_split_no_layer_is_the_best() {
        assert_eq!(
            best(&[("tests", [0.9, 0.8]), ("development", [0.9, 0.8])]),
            None
        );
        assert_eq!(best(&[]), None);
    }
}
