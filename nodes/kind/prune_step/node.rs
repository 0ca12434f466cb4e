//! The node of `prune-step`.
use super::{GATES, PENALTY};
use crate::Result;
use crate::model::Architecture;
use crate::node::port::{Gates, Scalar, Value};
use crate::node::step::Step;
use crate::node::{Node, Parameter, check_finite};
use crate::prune::outcome::PruningOutcome;
use crate::prune::penalty::{Penalty, penalty};
use crate::prune::{Finalize, expected, gate};
use compute::parallel;
use compute::random::Key;
use compute::tensor::{Param, Spans, Tape, Vector, len, param, put, read, read_all};
use std::collections::BTreeMap;

/// The gates' weights and the multipliers of the penalty.
pub(super) struct PruneStep {
    pub(super) architecture: Architecture,
    /// By gate vector.
    pub(super) log_alpha: BTreeMap<String, Param>,
    /// λ1 and λ2.
    pub(super) lambda: [Param; 2],
    /// The target sparsity after the warm-up.
    pub(super) sparsity: f64,
    /// The updates over which the target climbs.
    pub(super) warmup: u64,
    pub(super) finalize: Finalize,
    pub(super) noise: Key,
    /// The values of every log α, and of λ1 and λ2, and the update over whose batches they stand.
    pub(super) values: Option<(u64, Vec<Vec<f32>>)>,
}

impl PruneStep {
    /// Returns the target sparsity of an update. That of the first is 0, as in DPHuBERT's code.
    fn target(&self, update: u64) -> f64 {
        let done = update - 1;
        let progress = if done < self.warmup {
            done as f64 / self.warmup as f64
        } else {
            1.0
        };
        self.sparsity * progress
    }

    /// Takes the values of every log α and of λ1 and λ2, which are read with the first batch of an
    /// update: a GPU ends all queued work before it hands out a number.
    fn take_values(&mut self, update: u64) -> Vec<Vec<f32>> {
        match self.values.take() {
            Some((known, values)) if known == update => values,
            _ => read_all(self.log_alpha.values().chain(&self.lambda)),
        }
    }

    /// Draws the gates of a train batch, shared by its rows. `values` are those of every log α.
    fn sampled_gates(&self, values: &[Vec<f32>], step: &Step) -> BTreeMap<String, Vector<Tape>> {
        let number = step.info.step;
        let gates = Spans::new(self.log_alpha.values().map(len)); // of each vector
        let noise = &self.noise; // threads may not share the node, whose tensors may be on a GPU
        let draws = parallel::map(gates.rows(), |vector| {
            let first = gates.of(vector).start;
            gate::draw(&values[vector], |i| {
                gate::inside(noise.uniform(number, (first + i) as u64))
            })
        });
        let mut sampled = BTreeMap::new();
        for ((vector, log_alpha), draws) in self.log_alpha.iter().zip(draws) {
            let sample = gate::sample(log_alpha, draws, step.tape());
            sampled.insert(vector.clone(), sample);
        }
        sampled
    }

    /// Returns the gates without noise. A convolution keeps at least one channel; a layer may lose
    /// all of its units.
    fn fixed_gates(&self, tape: &Tape) -> BTreeMap<String, Vector<Tape>> {
        let values = read_all(self.log_alpha.values());
        let mut gates = BTreeMap::new();
        for (vector, values) in self.log_alpha.keys().zip(values) {
            let least = usize::from(vector.starts_with("conv"));
            let fixed = param(gate::fixed(&values, least));
            gates.insert(vector.clone(), put(&fixed, tape));
        }
        gates
    }

    /// Returns what the phase leaves of the model, to be compared with what was asked for.
    fn outcome(&self, vectors: &BTreeMap<String, Vector<Tape>>, step: &Step) -> PruningOutcome {
        let mut open = BTreeMap::new();
        for (vector, values) in self.log_alpha.keys().zip(read_all(self.log_alpha.values())) {
            open.insert(vector.clone(), gate::open(&values).0);
        }
        let unpruned = expected::parameters(&self.architecture, &BTreeMap::new()).count;
        let left = expected::parameters(&self.architecture, &open).count;
        let is_closed = |gates: &Vector<Tape>| read(gates).iter().all(|gate| *gate == 0.0);
        PruningOutcome {
            expected: 1.0 - left / unpruned,
            sparsity: self.sparsity,
            updates: step.info.update,
            warmup: self.warmup,
            closed: vectors
                .iter()
                .map(|(vector, gates)| (vector.clone(), is_closed(gates)))
                .collect(),
        }
    }
}

/// Returns the penalty with the numbers to log.
fn scalar(penalty: Penalty) -> Scalar {
    let [lambda1, lambda2] = penalty.lambda;
    let parts = [
        ("loss_reg", penalty.loss),
        ("sparsity_expected", penalty.sparsity),
        ("sparsity_target", penalty.target),
        ("lambda1", lambda1),
        ("lambda2", lambda2),
    ];
    Scalar {
        value: penalty.value,
        parts: parts.map(|(name, x)| (name.to_owned(), x as f32)).into(),
        outcomes: vec![],
        weight: 0.0,
        node: String::new(),
    }
}

fn send(step: &mut Step, vectors: BTreeMap<String, Vector<Tape>>, penalty: Scalar) {
    let gates = Gates {
        vectors,
        finalize: None,
    };
    step.send(GATES, Value::Gates(gates));
    step.send(PENALTY, Value::Scalar(penalty));
}

impl Node for PruneStep {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        if !step.trains() {
            let gates = self.fixed_gates(step.tape());
            let penalty = Scalar::zero(step.tape());
            send(step, gates, penalty);
            return Ok(());
        }
        let values = self.take_values(step.info.update);
        let gates = self.sampled_gates(&values, step);
        let penalty = penalty(
            &self.architecture,
            &self.log_alpha,
            &self.lambda,
            &values,
            self.target(step.info.update),
            step.tape(),
        );
        send(step, gates, scalar(penalty));
        self.values = Some((step.info.update, values));
        Ok(())
    }

    fn finish(&mut self, step: &mut Step) -> Result<()> {
        for (vector, values) in &self.log_alpha {
            check_finite([(format!("log_alpha.{vector}").as_str(), values)])?;
        }
        let vectors = self.fixed_gates(step.tape());
        for warning in self.outcome(&vectors, step).warnings() {
            step.context.warn(&warning);
        }
        let gates = Gates {
            vectors,
            finalize: Some(self.finalize),
        };
        step.send(GATES, Value::Gates(gates));
        Ok(())
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        let mut parameters = vec![];
        for (vector, log_alpha) in &mut self.log_alpha {
            parameters.push(Parameter::flat(format!("log_alpha.{vector}"), log_alpha));
        }
        for (i, lambda) in self.lambda.iter_mut().enumerate() {
            parameters.push(Parameter {
                sign: -1.0,
                ..Parameter::flat(format!("lambda{}", i + 1), lambda)
            });
        }
        parameters
    }
}
