//! The metrics of losses over the batches of an update or of a pass: means of their parts, and what
//! rules make of the outcomes of rows.
use super::outcomes::Outcomes;
use crate::node::port::Scalar;
use compute::tensor::read_all;

/// Metrics by name, in the order in which the names first came; means come before the others.
#[derive(Default)]
pub struct PassMetrics {
    /// Each loss by its place, the sum of whose means is `loss`.
    losses: Vec<WeightedSum>,
    means: Vec<WeightedSum>,
    outcomes: Vec<Outcomes>,
}

#[derive(Default)]
struct WeightedSum {
    name: String,
    sum: f64,
    weight: f64,
}

impl WeightedSum {
    fn add(&mut self, value: f64, weight: f64) {
        self.sum += value * weight;
        self.weight += weight;
    }

    fn mean(&self) -> f64 {
        self.sum / self.weight.max(f64::MIN_POSITIVE)
    }
}

/// A number of which the mean is a metric, and its weight in that mean.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchMean {
    pub name: String,
    pub value: f64,
    pub weight: f64,
}

/// The losses of one batch, and the metrics of their parts.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchMetrics {
    /// Value and weight of each loss.
    pub losses: Vec<[f64; 2]>,
    pub means: Vec<BatchMean>,
    pub outcomes: Vec<Outcomes>,
}

/// How much a batch counts in the means.
#[derive(Clone, Copy)]
pub enum BatchWeight {
    /// As much as any other.
    Equal,
    /// By its frames, so that a mean does not depend on how a set is cut into batches.
    Frames,
}

impl BatchMetrics {
    /// Lists the losses of one batch, each with its weight; a penalty, which has none, counts as the
    /// heaviest of them. If several nodes send a loss, the names of their metrics begin with the
    /// node's.
    pub fn of(losses: &[Scalar], batch_weight: BatchWeight) -> BatchMetrics {
        let heaviest = losses.iter().map(|loss| loss.weight).fold(0.0, f64::max);
        let weight_of = |loss: &Scalar| match batch_weight {
            BatchWeight::Equal => 1.0,
            BatchWeight::Frames if loss.node.is_empty() => heaviest,
            BatchWeight::Frames => loss.weight,
        };
        let values = read_all(losses.iter().map(|loss| &loss.value));
        let values = values.iter().map(|value| value[0] as f64);
        let mut batch = BatchMetrics {
            losses: values
                .zip(losses.iter().map(weight_of))
                .map(<[f64; 2]>::from)
                .collect(),
            means: vec![],
            outcomes: vec![],
        };
        let several = losses.iter().filter(|loss| !loss.node.is_empty()).count() > 1;
        for loss in losses {
            let name = |metric: &str| match several && !loss.node.is_empty() {
                true => format!("{}/{metric}", loss.node),
                false => metric.to_owned(),
            };
            for (metric, value) in &loss.parts {
                batch.means.push(BatchMean {
                    name: name(metric),
                    value: *value as f64,
                    weight: weight_of(loss),
                });
            }
            for outcomes in &loss.outcomes {
                batch.outcomes.push(Outcomes {
                    metric: name(&outcomes.metric),
                    ..outcomes.clone()
                });
            }
        }
        batch
    }
}

impl PassMetrics {
    /// Adds the losses of one batch, as [`BatchMetrics::of`] lists them.
    pub fn add_batch(&mut self, losses: &[Scalar], batch_weight: BatchWeight) {
        self.add(BatchMetrics::of(losses, batch_weight));
    }

    /// Adds the metrics of one batch.
    pub fn add(&mut self, batch: BatchMetrics) {
        for (place, [value, weight]) in batch.losses.into_iter().enumerate() {
            if place == self.losses.len() {
                self.losses.push(WeightedSum::default());
            }
            self.losses[place].add(value, weight);
        }
        for mean in batch.means {
            self.add_mean(mean);
        }
        for outcomes in batch.outcomes {
            self.add_outcomes(outcomes);
        }
    }

    /// Adds what became of rows, without a loss.
    pub fn add_rows(&mut self, outcomes: &[Outcomes]) {
        for outcomes in outcomes {
            self.add_outcomes(outcomes.clone());
        }
    }

    fn add_mean(&mut self, mean: BatchMean) {
        let known = self.means.iter().position(|known| known.name == mean.name);
        let place = known.unwrap_or(self.means.len());
        if known.is_none() {
            self.means.push(WeightedSum {
                name: mean.name,
                ..WeightedSum::default()
            });
        }
        self.means[place].add(mean.value, mean.weight);
    }

    fn add_outcomes(&mut self, outcomes: Outcomes) {
        let mut known = self.outcomes.iter_mut();
        match known.find(|known| known.metric == outcomes.metric) {
            Some(known) => known.rows.extend(outcomes.rows),
            None => self.outcomes.push(outcomes),
        }
    }

    /// Returns whether all sums are finite.
    pub fn finite(&self) -> bool {
        let mut sums = self.losses.iter().chain(&self.means);
        sums.all(|metric| metric.sum.is_finite())
    }

    /// Returns the outcomes of all rows so far.
    pub fn outcomes(&self) -> &[Outcomes] {
        &self.outcomes
    }

    /// Returns the metrics and clears them. One that its rows do not define is left out.
    pub fn take(&mut self) -> Vec<(String, f32)> {
        let PassMetrics {
            losses,
            means,
            outcomes,
        } = std::mem::take(self);
        let mut metrics = vec![];
        if !losses.is_empty() {
            let loss: f64 = losses.iter().map(WeightedSum::mean).sum();
            metrics.push(("loss".to_owned(), loss as f32));
        }
        for metric in means {
            metrics.push((metric.name.clone(), metric.mean() as f32));
        }
        for Outcomes { metric, rule, rows } in outcomes {
            let numbers: Vec<[f64; 2]> = rows.iter().map(|row| row.numbers).collect();
            if let Some(value) = rule.metric(&numbers) {
                metrics.push((metric, value as f32));
            }
        }
        metrics
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::outcomes::{Outcome, Rule};
    use compute::tensor::{Tape, put, tensor};

    fn loss(node: &str, part: f32, weight: f64, right: f64) -> Scalar {
        let row = Outcome {
            id: "a".into(),
            numbers: [right, 1.0],
        };
        Scalar {
            parts: vec![("loss_ce".into(), part)],
            outcomes: vec![Outcomes {
                metric: "accuracy".into(),
                rule: Rule::Ratio,
                rows: vec![row],
            }],
            weight,
            node: node.into(),
            ..Scalar::zero(&Tape::default())
        }
    }

    #[test]
    fn means_are_weighted_and_outcomes_are_counted() {
        let mut metrics = PassMetrics::default();
        metrics.add_batch(&[loss("a", 1.0, 3.0, 1.0)], BatchWeight::Frames);
        metrics.add_batch(&[loss("a", 5.0, 1.0, 0.0)], BatchWeight::Frames);
        let named = |name: &str, value| (name.to_owned(), value);
        let expected = [
            named("loss", 0.0),
            named("loss_ce", 2.0),
            named("accuracy", 0.5),
        ];
        assert_eq!(metrics.take(), expected);
        assert!(metrics.take().is_empty());
    }

    /// Each loss is a mean of its own, however a set is cut into batches.
    #[test]
    fn losses_of_other_weights_are_means_of_their_own() {
        let number = |value: f32, loss: Scalar| Scalar {
            value: put(&tensor(vec![value], ()), &Tape::default()),
            ..loss
        };
        // Of ten frames one loss counts all, the other those that are chosen: 1 and 4.
        let all = |x: f32, frames: f64| number(x, loss("all", x, frames, 1.0));
        let chosen = |x: f32, frames: f64| number(x, loss("chosen", x, frames, 1.0));
        let mut cut = PassMetrics::default();
        cut.add_batch(&[all(2.0, 4.0), chosen(10.0, 1.0)], BatchWeight::Frames);
        cut.add_batch(&[all(7.0, 6.0), chosen(5.0, 4.0)], BatchWeight::Frames);
        let taken = cut.take();
        assert_eq!(taken[0], ("loss".to_owned(), 5.0 + 6.0));
        assert_eq!(taken[1], ("all/loss_ce".to_owned(), 5.0));
        assert_eq!(taken[2], ("chosen/loss_ce".to_owned(), 6.0));
    }

    #[test]
    fn metrics_of_several_losses_have_their_nodes_name() {
        let mut metrics = PassMetrics::default();
        let losses = [loss("a", 1.0, 1.0, 1.0), loss("b", 5.0, 1.0, 0.0)];
        metrics.add_batch(&losses, BatchWeight::Equal);
        let taken = metrics.take();
        let names: Vec<&str> = taken.iter().map(|(name, _)| name.as_str()).collect();
        let expected = ["loss", "a/loss_ce", "b/loss_ce", "a/accuracy", "b/accuracy"];
        assert_eq!(names, expected);
    }
}
