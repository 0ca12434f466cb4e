//! Gates on a student's units, and the penalty that closes them, λ1 (ŝ - t) + λ2 (ŝ - t)² with the
//! expected sparsity ŝ and the target t of the update.
//!
//! The gates' weights minimise the penalty, λ1 and λ2 maximise it (DPHuBERT, Peng et al. 2023,
//! arXiv:2305.17651, section 3.2; Wang et al. 2020, arXiv:1910.04732).
//!
//! The node runs before the student, which takes `gates`; `optimize` takes `penalty`. When the
//! phase ends it sends the fixed gates, and the student shrinks.
mod node;

use crate::Result;
use crate::model::{Architecture, ExtractNorm, Unit, UnknownKeys};
use crate::node::contents::FileOption;
use crate::node::model_option::ModelOption;
use crate::node::port::{Carries, Port, Ports, Shape, Shapes};
use crate::node::{
    Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, PhaseOutputs, shapes,
};
use crate::prune::{Finalize, Pruning, gate, vectors};
use compute::tensor::param;
use node::PruneStep;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Gates on the student's units, and the penalty that closes them.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Model folder whose shapes the student has.
    #[serde(default)]
    model: Option<String>,
    /// The student's architecture, if there is no folder.
    #[serde(default)]
    #[schemars(schema_with = "crate::model::architecture_schema")]
    architecture: Option<serde_json::Value>,
    /// Units that have gates.
    units: Vec<Unit>,
    /// Share of parameters to remove.
    sparsity: f64,
    /// Updates over which the target climbs from 0 to `sparsity`.
    #[serde(default)]
    warmup_steps: u64,
    /// Expected share of the units that are dropped at first.
    #[serde(default)]
    initial_drop: InitialDrop,
    /// How the student is cut at the end.
    #[serde(default)]
    finalize: Finalize,
}

#[derive(Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct InitialDrop {
    /// Share of channels.
    conv: f64,
    /// Share of heads.
    head: f64,
    /// Share of inner units of the feed-forwards.
    ffn: f64,
    /// Share of attention sub-layers.
    attention_layer: f64,
    /// Share of feed-forward sub-layers.
    ffn_layer: f64,
}

impl Default for InitialDrop {
    fn default() -> Self {
        InitialDrop {
            conv: 0.01,
            head: 0.01,
            ffn: 0.5,
            attention_layer: 0.01,
            ffn_layer: 0.01,
        }
    }
}

impl InitialDrop {
    /// Returns the shares by the names of units. The name of a gate vector begins with its unit's.
    fn by_unit(&self) -> [(&'static str, f64); 5] {
        [
            ("conv", self.conv),
            ("head", self.head),
            ("ffn", self.ffn),
            ("attention-layer", self.attention_layer),
            ("ffn-layer", self.ffn_layer),
        ]
    }

    /// Returns the share of the units of a gate vector.
    fn of_vector(&self, vector: &str) -> f64 {
        let unit = vector.split('.').next();
        let mut shares = self.by_unit().into_iter();
        match shares.find(|(name, _)| unit == Some(name)) {
            Some((_, share)) => share,
            None => self.ffn,
        }
    }
}

const GATES: &str = "gates";
const PENALTY: &str = "penalty";

impl Options {
    fn model_option(&self) -> ModelOption<'_> {
        ModelOption {
            option: "model",
            folder: self.model.as_deref(),
            architecture: self.architecture.as_ref(),
            may_reshape: false,
            layers: None,
            unknown_keys: UnknownKeys::Allow, // only shapes are read
        }
    }

    /// Returns what is wrong with options by themselves.
    fn own_errors(&self) -> Vec<OptionError> {
        let mut errors = vec![];
        errors.extend(OptionError::unless(
            self.sparsity > 0.0 && self.sparsity < 1.0,
            "sparsity",
            format!("{} is not between 0 and 1", self.sparsity),
        ));
        for (unit, share) in self.initial_drop.by_unit() {
            errors.extend(OptionError::unless(
                share > 0.0 && share < 1.0,
                &format!("initial_drop.{unit}"),
                format!("{share} is not between 0 and 1"),
            ));
        }
        errors.extend(OptionError::unless(
            !self.units.is_empty(),
            "units",
            "names nothing to prune",
        ));
        for (i, unit) in self.units.iter().enumerate() {
            if self.units[..i].contains(unit) {
                let name = serde_json::json!(unit);
                errors.push(OptionError::element(
                    &format!("units.{i}"),
                    "units",
                    format!("{name} stands here for the second time"),
                ));
            }
        }
        errors
    }

    /// Returns what is wrong with the units of a model.
    fn unit_errors(&self, architecture: &Architecture) -> Vec<OptionError> {
        let mut errors = vec![];
        let mut layers = 0..architecture.num_hidden_layers;
        let reuses = layers.any(|layer| architecture.reuses_attention(layer));
        let attention = [Unit::Head, Unit::AttentionLayer];
        errors.extend(OptionError::unless(
            !reuses || self.units.iter().all(|unit| !attention.contains(unit)),
            "units",
            "\"head\" and \"attention-layer\" cannot be pruned where a layer uses the attention map \
             of another, whose heads it needs",
        ));
        errors.extend(OptionError::unless(
            !architecture.is_lstm(),
            "units",
            "are of transformers and their extractor; the layers of this model are an LSTM, which \
             is not pruned",
        ));
        if self.units.contains(&Unit::Conv) {
            let exact = self.finalize == Finalize::Exact;
            errors.extend(OptionError::unless(
                !exact || architecture.feat_extract_norm != ExtractNorm::Layer,
                "units",
                "\"conv\" cannot be cut exactly where layer norms run over all channels; write \
                 `\"finalize\": \"reference\"` to accept the jump",
            ));
            errors.extend(OptionError::unless(
                architecture.feature_projection,
                "units",
                "\"conv\" cannot be pruned where no projection follows",
            ));
            errors.extend(OptionError::unless(
                !architecture.is_fbank(),
                "units",
                "\"conv\" is of convolutions over samples, but the model reads log-mel frames",
            ));
        }
        errors
    }
}

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[],
        outputs: &[
            Port::new(GATES, Carries::Gates),
            Port::new(PENALTY, Carries::Scalar),
        ],
    };
    const TRAINS: bool = true;
    const FILES: &[FileOption] = &[FileOption::files("model")];
}

impl Config for Options {
    fn info(&self, phase_outputs: &PhaseOutputs, _: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let mut errors = self.own_errors();
        let planned = match self.model_option().plan(phase_outputs) {
            Ok(planned) => planned,
            Err(error) => {
                errors.push(error);
                return Err(errors);
            }
        };
        if let Some(problem) = planned.architecture.only_teaches() {
            errors.push(OptionError::at("", format!("the model {problem}")));
            return Err(errors);
        }
        errors.extend(self.unit_errors(&planned.architecture));
        OptionError::fail_if_any(errors)?;
        let vectors = vectors(&planned.architecture, &self.units);
        let gates: u64 = vectors.values().map(|&gates| gates as u64).sum();
        let pruning = Pruning {
            architecture: planned.architecture,
            units: self.units.clone(),
            sparsity: self.sparsity,
            finalize: self.finalize,
        };
        Ok(NodeInfo {
            outputs: shapes([
                (GATES, Shape::Gates(Box::new(pruning))),
                (PENALTY, Shape::penalty(&[])),
            ]),
            parameters: Some(gates + 2),
            estimated: planned.estimated,
            reads: planned.reads,
            ..NodeInfo::default()
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let architecture = self.model_option().architecture_at(context)?;
        let key = context.key("log_alpha");
        let mut log_alpha = BTreeMap::new();
        for (site, (vector, gates)) in vectors(&architecture, &self.units).into_iter().enumerate() {
            let mean = gate::log_alpha(self.initial_drop.of_vector(&vector));
            let values =
                (0..gates as u64).map(|i| (mean + 0.01 * key.normal(site as u64, i) as f64) as f32);
            log_alpha.insert(vector, param(values.collect()));
        }
        Ok(Box::new(PruneStep {
            log_alpha,
            lambda: [param(vec![0.0]), param(vec![0.0])],
            architecture,
            sparsity: self.sparsity,
            warmup: self.warmup_steps,
            finalize: self.finalize,
            noise: context.key("gates"),
            values: None,
        }))
    }
}
