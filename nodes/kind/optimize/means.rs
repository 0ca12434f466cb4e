//! Means of losses and their parts over the batches of an update or of a dev pass.
use crate::node::port::Scalar;
use compute::tensor::read_all;

/// Weighted means by name, in the order in which the names first came.
#[derive(Default)]
pub(super) struct MetricMeans(Vec<WeightedSum>);

struct WeightedSum {
    name: String,
    sum: f64,
    weight: f64,
}

impl MetricMeans {
    /// Adds the losses of one batch, and their sum under the name `loss`.
    ///
    /// Train batches have equal weights. Dev batches are weighted by their frames, so that a mean
    /// does not depend on how the set is cut into batches. If several nodes send a loss, the names
    /// of their parts begin with the node's.
    pub(super) fn add_batch(&mut self, losses: &[Scalar], dev: bool) {
        let weight = if dev {
            losses.iter().map(|loss| loss.weight).fold(0.0, f64::max)
        } else {
            1.0
        };
        let values = read_all(losses.iter().map(|loss| &loss.value));
        let total = values.iter().map(|value| value[0] as f64).sum::<f64>();
        self.add("loss", total, weight);
        let several = losses.iter().filter(|loss| !loss.node.is_empty()).count() > 1;
        for loss in losses {
            for (name, value) in &loss.parts {
                if several && !loss.node.is_empty() {
                    self.add(&format!("{}/{name}", loss.node), *value as f64, weight);
                } else {
                    self.add(name, *value as f64, weight);
                }
            }
        }
    }

    fn add(&mut self, name: &str, value: f64, weight: f64) {
        match self.0.iter_mut().find(|metric| metric.name == name) {
            Some(metric) => {
                metric.sum += value * weight;
                metric.weight += weight;
            }
            None => self.0.push(WeightedSum {
                name: name.to_owned(),
                sum: value * weight,
                weight,
            }),
        }
    }

    /// Returns whether all sums are finite.
    pub(super) fn finite(&self) -> bool {
        self.0.iter().all(|metric| metric.sum.is_finite())
    }

    /// Returns the means and clears them.
    pub(super) fn take(&mut self) -> Vec<(String, f32)> {
        let mut means = vec![];
        for metric in std::mem::take(&mut self.0) {
            let mean = metric.sum / metric.weight.max(f64::MIN_POSITIVE);
            means.push((metric.name, mean as f32));
        }
        means
    }
}
