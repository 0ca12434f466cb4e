//! The weights of the best dev pass so far, which a phase with the option `best` ends with.
use crate::Result;
use crate::data::file;
use crate::node::step::Step;
use compute::tensor::{param, read};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which dev pass is the best.
#[derive(Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Best {
    /// A name of metrics.jsonl that begins with `dev/`, such as `dev/accuracy`.
    pub(super) metric: String,
    /// Whether the largest or the smallest value is the best.
    goal: Goal,
}

#[derive(Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Goal {
    Max,
    Min,
}

/// The best dev pass: its value, its update, and the weights that were measured.
pub(super) struct BestPass {
    value: f32,
    update: u64,
    /// By `node.parameter`: shape and numbers.
    weights: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

/// What a checkpoint's tensors of the best pass are named by.
pub(super) const BEST: &str = "best";
/// Keys of a checkpoint's metadata.
const VALUE: &str = "best_value";
const UPDATE: &str = "best_update";

impl Best {
    /// Returns whether a value is better than that of the best pass so far. The first of equal
    /// values stays the best; a NaN never is.
    pub(super) fn improves(&self, value: f32, best: Option<&BestPass>) -> bool {
        match (best, self.goal) {
            (None, _) => !value.is_nan(),
            (Some(best), Goal::Max) => value > best.value,
            (Some(best), Goal::Min) => value < best.value,
        }
    }
}

impl BestPass {
    /// Copies the weights of all nodes of the stage.
    pub(super) fn copy(value: f32, update: u64, step: &mut Step) -> BestPass {
        let mut weights = BTreeMap::new();
        for (node, parameter) in step.parameters() {
            let name = format!("{node}.{}", parameter.name);
            let numbers = read(&*parameter.weight).into_owned();
            weights.insert(name, (parameter.shape, numbers));
        }
        BestPass {
            value,
            update,
            weights,
        }
    }

    /// Gives the nodes of the stage the weights of this pass.
    pub(super) fn restore(self, metric: &str, step: &mut Step) {
        let BestPass { value, update, .. } = self;
        step.context.say_once(&format!(
            "the weights are those of update {update}, whose {metric} of {value} is the best"
        ));
        let mut weights = self.weights;
        for (node, parameter) in step.parameters() {
            if let Some((_, numbers)) = weights.remove(&format!("{node}.{}", parameter.name)) {
                *parameter.weight = param(numbers);
            }
        }
    }

    /// Lists what a checkpoint has of the weights.
    pub(super) fn tensors(&self) -> Vec<file::Tensor<'_>> {
        let mut tensors: Vec<file::Tensor> = vec![];
        for (name, (shape, numbers)) in &self.weights {
            tensors.push((format!("{BEST}.{name}"), shape.clone(), numbers.into()));
        }
        tensors
    }

    /// Returns the entries of a checkpoint's metadata.
    pub(super) fn metadata(&self) -> [(&'static str, String); 2] {
        [
            (VALUE, self.value.to_string()),
            (UPDATE, self.update.to_string()),
        ]
    }

    /// Takes the pass out of a checkpoint; `None` if there had been none.
    ///
    /// # Errors
    /// The metadata are no numbers, or a parameter's tensor is missing.
    pub(super) fn take(tensors: &mut file::Tensors, step: &mut Step) -> Result<Option<BestPass>> {
        let entry = |key| tensors.metadata.get(key);
        let (Some(value), Some(update)) = (entry(VALUE), entry(UPDATE)) else {
            return Ok(None);
        };
        let value = value.parse()?;
        let update = update.parse()?;
        let mut weights = BTreeMap::new();
        for (node, parameter) in step.parameters() {
            let name = format!("{node}.{}", parameter.name);
            let numbers = tensors.take(&format!("{BEST}.{name}"), &parameter.shape)?;
            weights.insert(name, (parameter.shape, numbers));
        }
        Ok(Some(BestPass {
            value,
            update,
            weights,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_better_value_is_the_best() {
        let pass = |value| BestPass {
            value,
            update: 1,
            weights: BTreeMap::new(),
        };
        for (goal, better, worse) in [(Goal::Max, 2.0, 0.5), (Goal::Min, 0.5, 2.0)] {
            let best = Best {
                metric: "dev/accuracy".into(),
                goal,
            };
            assert!(best.improves(1.0, None) && !best.improves(f32::NAN, None));
            let known = pass(1.0);
            assert!(best.improves(better, Some(&known)));
            for value in [worse, 1.0, f32::NAN] {
                assert!(!best.improves(value, Some(&known)));
            }
        }
    }
}
