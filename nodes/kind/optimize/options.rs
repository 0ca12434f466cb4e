//! What the graph file says of an update, and what may be wrong with it.
use super::Optimize;
use super::schedule::Schedule;
use crate::Result;
use crate::data::column::METRICS;
use crate::node::port::{Carries, Port, Ports, Shape, Shapes};
use crate::node::{
    Config, KindOptions, Node, NodeContext, NodeInfo, OptimizerSettings, OptionError, PhaseOutputs,
    Role, shapes,
};
use compute::adamw::{AdamW, Form};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Adds the losses, clips, and moves the weights; writes metrics.jsonl and checkpoints.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Updates of the phase.
    pub steps: u64,
    /// The highest rate of each node with parameters; 0: it stays as it is.
    pub rates: BTreeMap<String, f64>,
    /// The rates' shape over updates, one for all nodes.
    #[serde(default)]
    pub(super) schedule: Schedule,
    /// How a gradient moves its weight.
    #[serde(default)]
    optimizer: Form,
    /// Decay of the two moments, in [0, 1).
    #[serde(default = "betas")]
    betas: [f64; 2],
    /// Added to the root of the second moment, above 0.
    #[serde(default = "eps")]
    eps: f64,
    /// Decoupled: w -= rate * weight_decay * w.
    #[serde(default)]
    weight_decay: f64,
    /// The most that the norm of all gradients together may be.
    #[serde(default)]
    pub(super) clip_norm: Option<f64>,
    /// Batches whose gradients are averaged for one update.
    #[serde(default = "one")]
    pub accumulate: u64,
    /// What a gradient that is NaN or infinite does.
    #[serde(default)]
    pub(super) not_finite: NotFinite,
    /// Updates between checkpoints.
    #[serde(default = "often")]
    pub checkpoint_every: u64,
    /// How many checkpoints stay.
    #[serde(default = "two")]
    pub keep: u64,
}

fn betas() -> [f64; 2] {
    [0.9, 0.999]
}
fn eps() -> f64 {
    1e-8
}
fn one() -> u64 {
    1
}
fn two() -> u64 {
    2
}
fn often() -> u64 {
    100
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum NotFinite {
    /// End the run; the last checkpoint stays.
    #[default]
    Stop,
    /// Leave weights and moments as they are, and go on.
    Skip,
}

/// Batches of an update: a signal is heeded between updates.
const MOST: u64 = 1 << 16;
pub(super) const IN: &str = "losses";
pub(super) const OUT: &str = "metrics";

impl Options {
    /// How update `update` moves the parameter `name` of `node`, at `factor` of its highest rate.
    pub(super) fn adamw(&self, node: &str, name: &str, factor: f64, update: u64) -> AdamW {
        let decay = if self.optimizer.decays(name) {
            self.weight_decay
        } else {
            0.0
        };
        let rate = self.rates[node] * factor;
        AdamW {
            form: self.optimizer,
            rate,
            betas: self.betas,
            eps: self.eps,
            decay,
            update,
        }
    }

    fn wrong(&self) -> Vec<OptionError> {
        let mut wrong = self.schedule.wrong(self.steps);
        let mut need = |holds: bool, way: &str, says: String| {
            if !holds {
                wrong.push(OptionError::at(way, format!("option `{way}`: {says}")));
            }
        };
        let positive = [
            ("steps", self.steps),
            ("accumulate", self.accumulate),
            ("checkpoint_every", self.checkpoint_every),
            ("keep", self.keep),
        ];
        for (name, value) in positive {
            need(value > 0, name, "must be at least 1".into());
        }
        for (node, rate) in &self.rates {
            need(
                *rate >= 0.0 && rate.is_finite(),
                &format!("rates.{node}"),
                format!("{rate} is not a number from 0"),
            );
        }
        for (i, beta) in self.betas.iter().enumerate() {
            need(
                (0.0..1.0).contains(beta),
                &format!("betas.{i}"),
                format!("{beta} is not from 0 to below 1"),
            );
        }
        need(
            self.eps as f32 > 0.0,
            "eps",
            format!("{} is not above 0 in f32", self.eps),
        );
        need(
            self.accumulate <= MOST,
            "accumulate",
            format!("must be at most {MOST}"),
        );
        need(
            self.weight_decay >= 0.0,
            "weight_decay",
            format!("{} is below 0", self.weight_decay),
        );
        need(
            self.clip_norm.is_none_or(|c| c > 0.0),
            "clip_norm",
            "must be above 0, or null".into(),
        );
        wrong
    }
}

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[Port::new(IN, Carries::Scalar).many()],
        outputs: &[Port::new(OUT, Carries::Batch(METRICS))],
    };
    const ROLE: Role = Role::Optimizer;
}

impl Config for Options {
    fn info(&self, _: &PhaseOutputs, _: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let wrong = self.wrong();
        if wrong.is_empty() {
            Ok(NodeInfo {
                outputs: shapes([(OUT, Shape::Plain)]),
                ..NodeInfo::default()
            })
        } else {
            Err(wrong)
        }
    }
    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        Ok(Box::new(Optimize::new(
            self.clone(),
            context.run.clock.from,
        )))
    }
    fn optimizer(&self) -> Option<OptimizerSettings> {
        Some(OptimizerSettings {
            steps: self.steps,
            rates: self.rates.clone(),
            accumulate: self.accumulate,
            checkpoint_every: self.checkpoint_every,
        })
    }
}
