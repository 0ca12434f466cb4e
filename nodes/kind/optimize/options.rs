//! The options of `optimize`, and their checks.
use super::Optimize;
use super::best::Best;
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
    /// The highest learning rate of each node with parameters; 0: its parameters do not change.
    pub rates: BTreeMap<String, f64>,
    /// How the rates of all nodes change over updates.
    #[serde(default)]
    pub(super) schedule: Schedule,
    /// Which form of AdamW changes the weights.
    #[serde(default)]
    optimizer: Form,
    /// Decay rates of the two moments, in [0, 1).
    #[serde(default = "default_betas")]
    betas: [f64; 2],
    /// Added to the root of the second moment, above 0.
    #[serde(default = "default_eps")]
    eps: f64,
    /// Decoupled weight decay: w -= rate * weight_decay * w.
    #[serde(default)]
    weight_decay: f64,
    /// The largest norm of all gradients together; null: they are not clipped.
    #[serde(default)]
    pub(super) clip_norm: Option<f64>,
    /// Batches whose gradients are averaged for one update.
    #[serde(default = "default_accumulate")]
    pub accumulate: u64,
    /// What happens when a gradient or the loss is NaN or infinite.
    #[serde(default)]
    pub(super) not_finite: NotFinite,
    /// Updates between checkpoints.
    #[serde(default = "default_checkpoint_every")]
    pub checkpoint_every: u64,
    /// The number of newest checkpoints that are kept.
    #[serde(default = "default_keep")]
    pub keep: u64,
    /// The dev pass whose weights the phase ends with; null: it ends with the last.
    #[serde(default)]
    pub(super) best: Option<Best>,
}

fn default_betas() -> [f64; 2] {
    [0.9, 0.999]
}

fn default_eps() -> f64 {
    1e-8
}

fn default_accumulate() -> u64 {
    1
}

fn default_checkpoint_every() -> u64 {
    100
}

fn default_keep() -> u64 {
    2
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum NotFinite {
    /// End the run; the last checkpoint is kept.
    #[default]
    Stop,
    /// Leave weights and moments as they are, and go on.
    Skip,
}

/// The most batches of an update, which a signal does not interrupt.
const MAX_ACCUMULATE: u64 = 1 << 16;
pub(super) const IN: &str = "losses";
pub(super) const OUT: &str = "metrics";

impl Options {
    /// Returns how update `update` changes the parameter `name` of `node`, at `factor` of the
    /// node's highest rate.
    pub(super) fn adamw(&self, node: &str, name: &str, factor: f64, update: u64) -> AdamW {
        let decay = if self.optimizer.decays(name) {
            self.weight_decay
        } else {
            0.0
        };
        AdamW {
            form: self.optimizer,
            rate: self.rates[node] * factor,
            betas: self.betas,
            eps: self.eps,
            decay,
            update,
        }
    }

    fn errors(&self) -> Vec<OptionError> {
        let mut errors = self.schedule.errors(self.steps);
        let counts = [
            ("steps", self.steps),
            ("accumulate", self.accumulate),
            ("checkpoint_every", self.checkpoint_every),
            ("keep", self.keep),
        ];
        for (option, count) in counts {
            errors.extend(OptionError::unless(count > 0, option, "must be at least 1"));
        }
        for (node, rate) in &self.rates {
            errors.extend(OptionError::unless(
                *rate >= 0.0 && rate.is_finite(),
                &format!("rates.{node}"),
                format!("{rate} is not a number from 0"),
            ));
        }
        for (i, beta) in self.betas.iter().enumerate() {
            errors.extend(OptionError::unless(
                (0.0..1.0).contains(beta),
                &format!("betas.{i}"),
                format!("{beta} is not from 0 to below 1"),
            ));
        }
        errors.extend(OptionError::unless(
            self.eps as f32 > 0.0,
            "eps",
            format!("{} is not above 0 in f32", self.eps),
        ));
        errors.extend(OptionError::unless(
            self.accumulate <= MAX_ACCUMULATE,
            "accumulate",
            format!("must be at most {MAX_ACCUMULATE}"),
        ));
        errors.extend(OptionError::unless(
            self.weight_decay >= 0.0,
            "weight_decay",
            format!("{} is below 0", self.weight_decay),
        ));
        errors.extend(OptionError::unless(
            self.clip_norm.is_none_or(|norm| norm > 0.0),
            "clip_norm",
            "must be above 0, or null",
        ));
        errors
    }
}

impl Options {
    /// Warns of learning rates with which AdamW moves weights further than they are large.
    fn warnings(&self) -> Vec<String> {
        let large = self.rates.iter().filter(|(_, rate)| **rate > 1.0);
        large
            .map(|(node, rate)| {
                format!(
                    "the learning rate {rate} of `{node}` is above 1: an update moves each weight by \
                     about its rate; 0.0001 to 0.001 is usual"
                )
            })
            .collect()
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
        OptionError::fail_if_any(self.errors())?;
        Ok(NodeInfo {
            outputs: shapes([(OUT, Shape::Plain)]),
            warnings: self.warnings(),
            ..NodeInfo::default()
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let resumed = context.run.clock.from;
        Ok(Box::new(Optimize::new(self.clone(), resumed)))
    }

    fn optimizer(&self) -> Option<OptimizerSettings> {
        Some(OptimizerSettings {
            steps: self.steps,
            rates: self.rates.clone(),
            accumulate: self.accumulate,
            checkpoint_every: self.checkpoint_every,
            fixed_rates: self.schedule.fixed_rates(),
            best_metric: self.best.as_ref().map(|best| best.metric.clone()),
        })
    }
}
