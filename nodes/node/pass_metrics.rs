//! The metrics of losses over the batches of an update or of a pass: means of their parts, and what
//! rules make of the outcomes of rows.
use super::outcomes::Outcomes;
use crate::node::port::Scalar;
use compute::tensor::read_all;

/// Metrics by name, in the order in which the names first came; means come before the others.
#[derive(Default)]
pub struct PassMetrics {
    means: Vec<WeightedSum>,
    outcomes: Vec<Outcomes>,
}

struct WeightedSum {
    name: String,
    sum: f64,
    weight: f64,
}

/// The losses of one batch, and the metrics of their parts.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchMetrics {
    /// The weight of the batch in the means.
    pub weight: f64,
    /// Numbers of which the mean is the metric, by its name.
    pub means: Vec<(String, f64)>,
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
    /// Lists the losses of one batch, and their sum under the name `loss`. If several nodes send a
    /// loss, the names of their metrics begin with the node's.
    pub fn of(losses: &[Scalar], batch_weight: BatchWeight) -> BatchMetrics {
        let weight = match batch_weight {
            BatchWeight::Equal => 1.0,
            BatchWeight::Frames => losses.iter().map(|loss| loss.weight).fold(0.0, f64::max),
        };
        let values = read_all(losses.iter().map(|loss| &loss.value));
        let total = values.iter().map(|value| value[0] as f64).sum::<f64>();
        let mut batch = BatchMetrics {
            weight,
            means: vec![("loss".to_owned(), total)],
            outcomes: vec![],
        };
        let several = losses.iter().filter(|loss| !loss.node.is_empty()).count() > 1;
        for loss in losses {
            let name = |metric: &str| match several && !loss.node.is_empty() {
                true => format!("{}/{metric}", loss.node),
                false => metric.to_owned(),
            };
            for (metric, value) in &loss.parts {
                batch.means.push((name(metric), *value as f64));
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
        for (name, value) in &batch.means {
            self.add_number(name, *value, batch.weight);
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

    fn add_number(&mut self, name: &str, value: f64, weight: f64) {
        match self.means.iter_mut().find(|metric| metric.name == name) {
            Some(metric) => {
                metric.sum += value * weight;
                metric.weight += weight;
            }
            None => self.means.push(WeightedSum {
                name: name.to_owned(),
                sum: value * weight,
                weight,
            }),
        }
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
        self.means.iter().all(|metric| metric.sum.is_finite())
    }

    /// Returns the outcomes of all rows so far.
    pub fn outcomes(&self) -> &[Outcomes] {
        &self.outcomes
    }

    /// Returns the metrics and clears them. One that its rows do not define is left out.
    pub fn take(&mut self) -> Vec<(String, f32)> {
        let PassMetrics { means, outcomes } = std::mem::take(self);
        let mut metrics = vec![];
        for metric in means {
            let mean = metric.sum / metric.weight.max(f64::MIN_POSITIVE);
            metrics.push((metric.name, mean as f32));
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
    use compute::tensor::Tape;

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
