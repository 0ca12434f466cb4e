//! One update: the losses' sum, backward, clip by global norm, AdamW at every node's rate; metrics, checkpoints, and the
//! way back. The only node that changes a weight.
use crate::Result;
use crate::column::METRICS;
use crate::node::{Config, Facts, Node, Place, Role, World, Wrong, shapes};
use crate::par::add;
use crate::port::{Carries, Port, Ports, Scalar, Shape, Shapes, Value};
use crate::report::Progress;
use crate::step::Step;
use crate::tensor::{self, Gradients, read, write};
use adamw::{AdamW, Moments};
use metrics::{Metrics, Sums};
use schedule::Schedule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Instant;

mod adamw;
pub mod checkpoint;
mod metrics;
mod schedule;

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
    schedule: Schedule,
    /// How a gradient moves its weight: AdamW as PyTorch's.
    #[serde(default)]
    optimizer: Optimizer,
    /// Decay of AdamW's two moments, in [0, 1).
    #[serde(default = "betas")]
    betas: [f64; 2],
    /// AdamW's ε, above 0.
    #[serde(default = "eps")]
    eps: f64,
    /// Decoupled: w -= rate * weight_decay * w.
    #[serde(default)]
    weight_decay: f64,
    /// The most that the norm of all gradients together may be.
    #[serde(default)]
    clip_norm: Option<f64>,
    /// Batches whose gradients are averaged for one update.
    #[serde(default = "one")]
    pub accumulate: u64,
    /// What a gradient that is NaN or infinite does.
    #[serde(default)]
    not_finite: NotFinite,
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

#[derive(Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Optimizer {
    #[default]
    Adamw,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum NotFinite {
    /// End the run; the last checkpoint stays.
    #[default]
    Stop,
    /// Leave weights and moments as they are, and go on.
    Skip,
}

/// Batches of an update: a signal is heeded between updates.
const MOST: u64 = 1 << 16;
const IN: &str = "losses";
const OUT: &str = "metrics";

impl Config for Options {
    fn ports(&self) -> Ports {
        const INPUTS: &[Port] = &[Port::new(IN, Carries::Scalar).many()];
        const OUTPUTS: &[Port] = &[Port::new(OUT, Carries::Batch(METRICS))];
        Ports { inputs: INPUTS, outputs: OUTPUTS }
    }
    fn facts(&self, _: &World, _: &Shapes) -> Result<Facts, Vec<Wrong>> {
        let mut wrong = vec![];
        let mut need = |holds: bool, way: &str, says: String| {
            if !holds {
                wrong.push(Wrong::at(way, format!("option `{way}`: {says}")));
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
            need(*rate >= 0.0 && rate.is_finite(), &format!("rates.{node}"), format!("{rate} is not a number from 0"));
        }
        for (i, beta) in self.betas.iter().enumerate() {
            need((0.0..1.0).contains(beta), &format!("betas.{i}"), format!("{beta} is not from 0 to below 1"));
        }
        need(self.eps as f32 > 0.0, "eps", format!("{} is not above 0 in f32", self.eps));
        need(self.accumulate <= MOST, "accumulate", format!("must be at most {MOST}"));
        need(self.weight_decay >= 0.0, "weight_decay", format!("{} is below 0", self.weight_decay));
        need(self.clip_norm.is_none_or(|c| c > 0.0), "clip_norm", "must be above 0, or null".into());
        let fits = self.schedule.warmup_steps <= self.steps;
        need(
            fits,
            "schedule.warmup_steps",
            format!("{} is more than the {} of `steps`", self.schedule.warmup_steps, self.steps),
        );
        if wrong.is_empty() {
            Ok(Facts { outputs: shapes([(OUT, Shape::Plain)]), ..Facts::default() })
        } else {
            Err(wrong)
        }
    }
    fn role(&self) -> Role<'_> {
        Role::Optimizer(self)
    }
    fn build(&self, place: &Place) -> Result<Box<dyn Node>> {
        Ok(Box::new(Optimize {
            options: self.clone(),
            moments: BTreeMap::new(),
            gathered: vec![],
            sums: Sums::default(),
            metrics: None,
            clock: Instant::now(),
            samples: 0,
            update: place.clock.from,
        }))
    }
}

impl Options {
    fn adamw(&self, rate: f64, update: u64) -> AdamW {
        let Optimizer::Adamw = self.optimizer;
        AdamW { rate, betas: self.betas, eps: self.eps, decay: self.weight_decay, update }
    }
}

struct Optimize {
    options: Options,
    /// By `node.parameter`.
    moments: BTreeMap<String, Moments>,
    /// Gradients of the batches of this update so far, where there is more than one.
    gathered: Vec<(String, Vec<f32>)>,
    sums: Sums,
    metrics: Option<Metrics>,
    clock: Instant,
    samples: u64,
    update: u64,
}

impl Node for Optimize {
    fn start(&mut self, step: &mut Step) -> Result<()> {
        if !step.place.bench {
            self.metrics = Some(Metrics::open(step.place)?);
        }
        if let Some(path) = step.resume {
            self.moments = checkpoint::restore(path, step)?;
        }
        self.clock = Instant::now();
        Ok(())
    }

    fn run(&mut self, step: &mut Step) -> Result<()> {
        let losses = step.scalars(IN);
        let several = losses.iter().filter(|l| !l.node.is_empty()).count() > 1;
        let weight = losses.iter().map(|l| l.weight).fold(0.0, f64::max);
        // An update's batches count alike; dev batches by their frames, so that their cut does not matter.
        let each = if step.head.dev { weight } else { 1.0 };
        let total = losses.iter().map(|l| read(&l.value)[0] as f64).sum::<f64>();
        self.sums.add("loss", total, each);
        for (loss, (name, value)) in losses.iter().flat_map(|l| l.parts.iter().map(move |p| (l, p))) {
            let name = if several && !loss.node.is_empty() { format!("{}/{name}", loss.node) } else { name.clone() };
            self.sums.add(&name, *value as f64, each);
        }
        let mut lines = vec![];
        if step.head.dev {
            if step.head.closes {
                self.clock = Instant::now(); // the time of a dev pass is no update's
                lines = self.sums.take().into_iter().map(|(n, v)| (format!("dev/{n}"), v)).collect();
            }
        } else {
            let gradients = backward(losses, self.options.accumulate)?;
            lines = self.learn(step, gradients)?;
        }
        self.publish(step, lines)?;
        self.keep(step)
    }
}

fn backward(losses: Vec<Scalar>, accumulate: u64) -> Result<Gradients> {
    let loss = losses.into_iter().map(|s| s.value).reduce(|a, b| a + b).ok_or("no loss came")?;
    Ok(tensor::backward(loss, 1.0 / accumulate as f32))
}

impl Optimize {
    /// Gathers gradients; with the last batch of an update, moves the weights and says how it stands.
    fn learn(&mut self, step: &mut Step, mut gradients: Gradients) -> Result<Vec<(String, f32)>> {
        let (head, place) = (step.head, step.place);
        self.samples += head.samples;
        let mut parameters = step.parameters();
        parameters.retain(|(node, _)| self.options.rates.get(node).is_some_and(|rate| *rate > 0.0));
        let mut own: Vec<(String, Vec<f32>)> =
            parameters.iter().map(|(node, p)| (format!("{node}.{}", p.name), gradients.take(&*p.weight))).collect();
        drop(gradients);
        for ((_, g), (_, before)) in own.iter_mut().zip(std::mem::take(&mut self.gathered)) {
            add(g, &before);
        }
        if !head.closes {
            self.gathered = own;
            return Ok(vec![]);
        }
        self.update = head.update;

        let norm = adamw::norm(own.iter().map(|(_, g)| g));
        let factor = self.options.schedule.factor(self.update, self.options.steps);
        if norm.is_finite() && self.sums.finite() {
            let clip = adamw::clip_factor(norm, self.options.clip_norm);
            for ((node, p), (name, g)) in parameters.iter_mut().zip(&own) {
                let moments = self.moments.entry(name.clone()).or_insert_with(|| Moments::zeros(g.len()));
                let adamw = self.options.adamw(self.options.rates[node] * factor, self.update);
                adamw.step(write(p.weight), moments, g, clip * p.sign);
            }
        } else if self.options.not_finite == NotFinite::Stop {
            return Err(not_finite(&own, self.update).into());
        } else {
            place.say(format!("update {} is left out: {}", self.update, not_finite(&own, self.update)));
        }
        let mut lines = self.sums.take();
        lines.push(("grad_norm".into(), norm as f32));
        lines.extend(self.options.rates.iter().map(|(node, rate)| (format!("rate/{node}"), (rate * factor) as f32)));
        let seconds = std::mem::take(&mut self.samples) as f64 / 16000.0;
        let elapsed = std::mem::replace(&mut self.clock, Instant::now()).elapsed().as_secs_f64();
        lines.push(("audio_seconds".into(), seconds as f32));
        lines.push(("audio_per_second".into(), (seconds / elapsed) as f32));
        self.report(place, &lines, seconds);
        Ok(lines)
    }

    fn report(&self, place: &Place, lines: &[(String, f32)], audio_seconds: f64) {
        let of = |name: &str| lines.iter().find(|(n, _)| n == name).map(|(_, v)| *v);
        let progress = Progress {
            update: self.update,
            updates: place.clock.updates.unwrap_or(0),
            loss: of("loss").unwrap_or(f32::NAN),
            sparsity: of("sparsity_expected").zip(of("sparsity_target")),
            audio_seconds,
            audio_per_second: of("audio_per_second").unwrap_or(f32::NAN),
        };
        place.report.update(&place.phase, progress);
    }

    /// metrics.jsonl first, then whoever listens.
    fn publish(&mut self, step: &mut Step, lines: Vec<(String, f32)>) -> Result<()> {
        if let Some(metrics) = &mut self.metrics {
            metrics.write(step, &lines)?;
        }
        step.send(OUT, Value::Batch(metrics::batch(&step.head, lines)?));
        Ok(())
    }

    /// A checkpoint where one is due, or where a signal ends the run; never inside an accumulation window.
    fn keep(&mut self, step: &mut Step) -> Result<()> {
        let stops = step.place.stop.load(Ordering::Relaxed) && (step.head.dev || step.head.closes) && !step.head.last;
        let due = step.head.checkpoint || stops;
        if due && let Some(metrics) = &self.metrics {
            metrics.sync()?;
            let folder = step.place.run.join("checkpoint");
            checkpoint::write(&folder, self.update, &self.moments, step)?;
            checkpoint::tidy(&folder, &step.place.phase, self.options.keep);
        }
        if stops {
            step.end();
        }
        Ok(())
    }
}

fn not_finite(gradients: &[(String, Vec<f32>)], update: u64) -> String {
    match gradients.iter().find(|(_, g)| g.iter().any(|x| !x.is_finite())) {
        Some((name, _)) => format!("the gradient of `{name}` is not finite at update {update}"),
        None => format!("the loss is not finite at update {update}"),
    }
}

/// The pieces of an update, for comparison with PyTorch's.
#[cfg(test)]
pub(crate) mod parity {
    use super::adamw::{self, AdamW, Moments};
    use crate::tensor::{Param, write};
    use std::collections::BTreeMap;

    #[derive(Default)]
    pub struct Adam(BTreeMap<String, Moments>);

    impl Adam {
        pub fn step(&mut self, name: &str, p: &mut Param, g: &[f32], rate: f64, factor: f32, update: u64) {
            let moments = self.0.entry(name.to_owned()).or_insert_with(|| Moments::zeros(g.len()));
            AdamW { rate, betas: [0.9, 0.999], eps: 1e-8, decay: 0.0, update }.step(write(p), moments, g, factor);
        }
    }

    /// The norm of all gradients, and the factor that brings it to `most`.
    pub fn clip<'a>(gradients: impl Iterator<Item = &'a Vec<f32>>, most: f64) -> (f64, f32) {
        let norm = adamw::norm(gradients);
        (norm, adamw::clip_factor(norm, Some(most)))
    }
}
