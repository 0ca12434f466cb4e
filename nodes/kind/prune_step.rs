//! Gates on a student's units, and the penalty that closes them: λ1 (ŝ - t) + λ2 (ŝ - t)², ŝ the expected sparsity, t the
//! target of this update. Weights go down this slope, λ1 and λ2 climb it (DPHuBERT, section 3.2; Wang et al. 2020,
//! arXiv:1910.04732).
//!
//! Stands before the student: `gates` go to it, `penalty` to `optimize`. When the phase ends it sends the fixed gates,
//! and the student shrinks.
use crate::Result;
use crate::model::{Architecture, ExtractNorm, ModelOption};
use crate::node::port::{Carries, Gates, Port, Ports, Scalar, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{
    Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, Parameter, PhaseOutputs, shapes,
};
use crate::prune::{Finalize, Pruning, Unit, gate, penalty::penalty, vectors};
use compute::random::Key;
use compute::tensor::{Param, Tape, Vector, param, put, read_all};
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
    /// Its architecture, where there is no folder to look at.
    #[serde(default)]
    #[schemars(schema_with = "crate::model::described")]
    architecture: Option<serde_json::Value>,
    /// What has gates.
    units: Vec<Unit>,
    /// Share of parameters to remove.
    sparsity: f64,
    /// Updates over which the target climbs from 0.
    #[serde(default)]
    warmup_steps: u64,
    /// Share of each unit that is expected to be dropped at first.
    #[serde(default)]
    initial_drop: InitialDrop,
    /// How the student is cut at the end.
    #[serde(default)]
    finalize: Finalize,
}

#[derive(Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct InitialDrop {
    /// Of channels.
    conv: f64,
    /// Of heads.
    head: f64,
    /// Of inner units of the feed-forwards.
    ffn: f64,
    /// Of attention sub-layers.
    attention_layer: f64,
    /// Of feed-forward sub-layers.
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
    /// By the name of the unit, with which those of its vectors begin.
    fn by_unit(&self) -> [(&'static str, f64); 5] {
        [
            ("conv", self.conv),
            ("head", self.head),
            ("ffn", self.ffn),
            ("attention-layer", self.attention_layer),
            ("ffn-layer", self.ffn_layer),
        ]
    }
    fn of(&self, vector: &str) -> f64 {
        let unit = vector.split('.').next();
        self.by_unit()
            .into_iter()
            .find(|(name, _)| unit == Some(name))
            .map_or(self.ffn, |(_, p)| p)
    }
}

const GATES: &str = "gates";
const PENALTY: &str = "penalty";

impl Options {
    fn source(&self) -> ModelOption<'_> {
        ModelOption {
            option: "model",
            folder: self.model.as_deref(),
            architecture: self.architecture.as_ref(),
        }
    }
    fn wrong(&self, a: &Architecture) -> Vec<OptionError> {
        let mut wrong = vec![];
        let mut add = |way: &str, says: String| wrong.push(OptionError::at(way, says));
        if !(self.sparsity > 0.0 && self.sparsity < 1.0) {
            add(
                "sparsity",
                format!(
                    "option `sparsity`: {} is not between 0 and 1",
                    self.sparsity
                ),
            );
        }
        for (unit, p) in self.initial_drop.by_unit() {
            if !(p > 0.0 && p < 1.0) {
                add(
                    &format!("initial_drop.{unit}"),
                    format!("option `initial_drop.{unit}`: {p} is not between 0 and 1"),
                );
            }
        }
        if self.units.is_empty() {
            add("units", "option `units`: names nothing to prune".into());
        }
        for (i, unit) in self
            .units
            .iter()
            .enumerate()
            .filter(|(i, u)| self.units[..*i].contains(u))
        {
            add(
                &format!("units.{i}"),
                format!(
                    "option `units`: {} stands here for the second time",
                    serde_json::json!(unit)
                ),
            );
        }
        let cuts_exactly = self.units.contains(&Unit::Conv) && self.finalize == Finalize::Exact;
        if cuts_exactly && a.feat_extract_norm == ExtractNorm::Layer {
            let says = "\"conv\" cannot be cut exactly where layer norms run over all channels";
            add(
                "units",
                format!(
                    "option `units`: {says}; write `\"finalize\": \"reference\"` to accept the jump"
                ),
            );
        }
        if self.units.contains(&Unit::Conv) && !a.feature_projection {
            add(
                "units",
                "option `units`: \"conv\" cannot be pruned where no projection follows".into(),
            );
        }
        wrong
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
}

impl Config for Options {
    fn info(&self, phase_outputs: &PhaseOutputs, _: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let known = self.source().known(phase_outputs).map_err(|w| vec![w])?;
        let wrong = self.wrong(&known.architecture);
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let gates = vectors(&known.architecture, &self.units)
            .values()
            .map(|&n| n as u64)
            .sum::<u64>();
        let pruning = Pruning {
            architecture: known.architecture,
            units: self.units.clone(),
            sparsity: self.sparsity,
            finalize: self.finalize,
        };
        Ok(NodeInfo {
            outputs: shapes([
                (GATES, Shape::Gates(Box::new(pruning))),
                (PENALTY, Shape::Plain),
            ]),
            parameters: Some(gates + 2),
            estimated: known.estimated,
            reads: known.reads.into_iter().collect(),
            ..NodeInfo::default()
        })
    }
    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let architecture = self.source().architecture_at(context)?;
        let start = context.key("log_alpha");
        let draw = |(site, (vector, n)): (usize, (String, usize))| {
            let mean = gate::log_alpha(self.initial_drop.of(&vector));
            let values = (0..n as u64)
                .map(|i| (mean + 0.01 * start.normal(site as u64, i) as f64) as f32)
                .collect();
            (vector, param(values))
        };
        Ok(Box::new(PruneStep {
            log_alpha: vectors(&architecture, &self.units)
                .into_iter()
                .enumerate()
                .map(draw)
                .collect(),
            lambda: [param(vec![0.0]), param(vec![0.0])],
            architecture,
            sparsity: self.sparsity,
            warmup: self.warmup_steps,
            finalize: self.finalize,
            noise: context.key("gates"),
        }))
    }
}

struct PruneStep {
    architecture: Architecture,
    log_alpha: BTreeMap<String, Param>,
    lambda: [Param; 2],
    sparsity: f64,
    warmup: u64,
    finalize: Finalize,
    noise: Key,
}

impl Node for PruneStep {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        if step.trains() {
            // As the reference: the first update aims at 0.
            let done = step.info.update - 1;
            let target = self.sparsity
                * if done < self.warmup {
                    done as f64 / self.warmup as f64
                } else {
                    1.0
                };
            let numbers = read_all(self.log_alpha.values().chain(&self.lambda));
            let gates = self.sampled(&numbers, step.info.step, step.tape());
            step.send(
                GATES,
                Value::Gates(Gates {
                    vectors: gates,
                    finalize: None,
                }),
            );
            let (log_alpha, lambda) = (&self.log_alpha, &self.lambda);
            let penalty = penalty(
                &self.architecture,
                log_alpha,
                lambda,
                &numbers,
                target,
                step.tape(),
            );
            step.send(PENALTY, Value::Scalar(penalty));
        } else {
            step.send(
                GATES,
                Value::Gates(Gates {
                    vectors: self.fixed(step.tape()),
                    finalize: None,
                }),
            );
            step.send(PENALTY, Value::Scalar(Scalar::nothing(step.tape())));
        }
        Ok(())
    }

    fn finish(&mut self, step: &mut Step) -> Result<()> {
        let gates = Gates {
            vectors: self.fixed(step.tape()),
            finalize: Some(self.finalize),
        };
        step.send(GATES, Value::Gates(gates));
        Ok(())
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        let alphas = self
            .log_alpha
            .iter_mut()
            .map(|(vector, p)| Parameter::flat(format!("log_alpha.{vector}"), p));
        let lambdas = self.lambda.iter_mut().enumerate();
        let lambdas = lambdas.map(|(i, p)| Parameter {
            sign: -1.0,
            ..Parameter::flat(format!("lambda{}", i + 1), p)
        });
        alphas.chain(lambdas).collect()
    }
}

impl PruneStep {
    /// One draw a gate, shared by all rows of the batch. `numbers`: what every log α holds.
    fn sampled(
        &self,
        numbers: &[Vec<f32>],
        step: u64,
        tape: &Tape,
    ) -> BTreeMap<String, Vector<Tape>> {
        let mut from = 0;
        let mut draw = |((vector, a), numbers): ((&String, &Param), &Vec<f32>)| {
            let (noise, at) = (self.noise, from);
            from += numbers.len() as u64;
            let u = |i: usize| gate::inside(noise.uniform(step, at + i as u64));
            (vector.clone(), gate::sample(a, numbers, u, tape))
        };
        self.log_alpha.iter().zip(numbers).map(&mut draw).collect()
    }

    /// A convolution keeps a channel at least; a layer may lose all of its units.
    fn fixed(&self, tape: &Tape) -> BTreeMap<String, Vector<Tape>> {
        let fix = |(vector, a): (&String, Vec<f32>)| {
            let z = gate::fixed(&a, vector.starts_with("conv") as usize);
            (vector.clone(), put(&param(z), tape))
        };
        self.log_alpha
            .keys()
            .zip(read_all(self.log_alpha.values()))
            .map(fix)
            .collect()
    }
}
