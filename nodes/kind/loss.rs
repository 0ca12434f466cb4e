//! How far a student is from its teacher: Σ over terms of weight · term, averaged or summed over the
//! layers (module `terms`).
//!
//! Student and target are paired by their place in `layers`. Every distance is a mean over valid
//! frames, or over those that a mask chooses (module `frames`).
mod check;
mod compared;
mod frames;
mod hiddens;
mod node;
mod parts;
mod terms;

use crate::Result;
use crate::data::column::{self, MAPS, TARGETS};
use crate::node::port::{self, Carries, Port, Ports, Shapes};
use crate::node::{
    Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, PhaseOutputs, SummaryMetric,
};
use compute::random::Key;
use frames::{Frames, MeanOver};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use terms::{COSINE, L1, Term, TermType};

/// The distance of the student's hiddens from the targets.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The distances that are summed.
    terms: Vec<Term>,
    /// A factor for each layer; null: 1. Of "gram-between" it is that of the later layer; "map-kl"
    /// has none.
    #[serde(default)]
    layer_weights: Option<Vec<f64>>,
    /// How the layers' distances are combined.
    #[serde(default)]
    reduce: Reduce,
    /// Frames that count: all, or by the input `mask` those that are masked or those that are not.
    #[serde(default)]
    frames: Frames,
    /// Number of frames that the mean divides by: "chosen", those that count, or "all". Without a
    /// frame that counts the distance is 0.
    #[serde(default)]
    mean_over: MeanOver,
    /// Number of layers besides the last that count in an epoch, drawn anew in each, the same in all
    /// nodes of a run; null: all. In dev passes all count.
    #[serde(default)]
    random_layers: Option<usize>,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Reduce {
    #[default]
    Mean,
    Sum,
}

const STUDENT: &str = "student";
const TARGET: &str = "target";
const STUDENT_MAPS: &str = "student_maps";
const TARGET_MAPS: &str = "target_maps";
const LABELS: &str = "labels";
const OUT: &str = "loss";
/// The metric of the weighted sum of all terms.
const ALL_TERMS: &str = "loss_distill";

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[
            Port::new(STUDENT, Carries::Hiddens).optional(),
            Port::new(TARGET, Carries::Batch(TARGETS))
                .tensors()
                .optional(),
            port::MASK,
            Port::new(STUDENT_MAPS, Carries::Maps).optional(),
            Port::new(TARGET_MAPS, Carries::Batch(MAPS)).optional(),
            Port::new(LABELS, Carries::Batch(column::LABELS)).optional(),
        ],
        outputs: &[Port::new(OUT, Carries::Scalar)],
    };
}

/// A loss as it runs.
struct Loss {
    options: Options,
    /// The draws of the layers that count.
    layer_draws: Key,
}

impl Config for Options {
    fn info(&self, _: &PhaseOutputs, inputs: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        self.checked(inputs)
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        // Neither node nor phase: all losses of a run draw the same layers.
        let layer_draws = Key::new(context.run.seed, &["random-layers"]);
        Ok(Box::new(Loss {
            options: self.clone(),
            layer_draws,
        }))
    }

    /// Returns the distance that is 0 for a student equal to its teacher, if the loss is L1 -
    /// cosine.
    fn summary(&self) -> Option<SummaryMetric> {
        let has = |wanted: TermType| {
            let mut terms = self.terms.iter();
            terms.any(|term| term.weight == 1.0 && term.r#type == wanted)
        };
        let is_l1_and_cosine = self.terms.len() == 2 && has(TermType::L1) && has(TermType::Cosine);
        is_l1_and_cosine.then(|| SummaryMetric {
            label: "L1 + 1 - cosine",
            terms: vec![(L1, 1.0), (COSINE, 1.0)],
            constant: 1.0,
        })
    }
}

/// The distances by their names in the reference data.
#[cfg(test)]
pub(crate) mod parity {
    mod baselines;
    mod decoupled;
    mod masking;
    mod relations;

    use super::terms::Distance;
    use compute::op::{cosine, l1, log_sigmoid_cosine, mse};

    pub(crate) const DISTANCES: [(&str, Distance); 4] = [
        ("l1", l1),
        ("mse", mse),
        ("cosine", cosine),
        ("log_sigmoid_cosine", log_sigmoid_cosine),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    #[test]
    fn the_summary_is_of_l1_minus_cosine_alone() {
        let label = |terms: Json| {
            let options: Options = serde_json::from_value(json!({ "terms": terms })).unwrap();
            options.summary().map(|summary| summary.label)
        };
        let l1 = json!({ "type": "l1" });
        let cosine = json!({ "type": "cosine" });
        assert_eq!(label(json!([l1, cosine])), Some("L1 + 1 - cosine"));
        assert_eq!(label(json!([cosine, l1])), Some("L1 + 1 - cosine"));
        assert_eq!(label(json!([l1])), None);
        assert_eq!(label(json!([l1, cosine, { "type": "mse" }])), None);
        assert_eq!(label(json!([l1, { "type": "log-sigmoid-cosine" }])), None);
        assert_eq!(
            label(json!([l1, { "type": "cosine", "weight": 0.5 }])),
            None
        );
    }
}
