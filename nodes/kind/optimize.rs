//! One update: sums the losses, runs the backward pass, clips the gradients by their global norm,
//! and steps AdamW at the rate of each node. Writes metrics and checkpoints, and resumes from them.
//! No other node changes a weight.
mod best;
pub mod checkpoint;
mod metrics;
mod options;
#[cfg(test)]
pub(crate) mod parity;
mod round;
mod schedule;

use crate::Result;
use crate::data::audio::resample::audio_seconds;
use crate::data::metrics::MetricsFile;
use crate::node::pass_metrics::{BatchMetrics, BatchWeight, PassMetrics};
use crate::node::port::{Scalar, Value};
use crate::node::report::Measurement;
use crate::node::step::{Step, StepInfo};
use crate::node::{Node, Parameter};
use best::BestPass;
use checkpoint::State;
use compute::adamw;
use compute::ranks::GradientSum;
use compute::tensor;
use compute::tensor::{Gradients, Param, plus, read};
use options::{IN, NotFinite, OUT};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

pub use options::Options;

struct Optimize {
    options: Options,
    /// What a checkpoint holds beside the weights.
    state: State,
    /// The gradients accumulated over earlier batches of this update, of the trained parameters.
    accumulated: GradientSum,
    pass: PassMetrics,
    /// The norm of the gradients at the last update.
    norm: f64,
    /// `None` in a benchmark, which keeps nothing, and on all ranks but the first.
    metrics: Option<MetricsFile>,
    /// The end of the last update or dev pass.
    last_end: Instant,
    /// The samples of this update so far.
    samples: u64,
    /// The last update.
    update: u64,
}

impl Node for Optimize {
    fn start(&mut self, step: &mut Step) -> Result<()> {
        let run = &step.context.run;
        if !run.bench && run.ranks.is_first() {
            self.metrics = Some(MetricsFile::open(&run.folder, &run.phase, run.clock.from)?);
        }
        if let Some(path) = step.resume {
            self.state = checkpoint::restore(path, step)?;
        }
        self.last_end = Instant::now();
        Ok(())
    }

    fn run(&mut self, step: &mut Step) -> Result<()> {
        let losses = step.scalars(IN);
        let weight = match step.info.dev {
            true => BatchWeight::Frames,
            false => BatchWeight::Equal,
        };
        let batch = BatchMetrics::of(&losses, weight);
        let mut gradients = None;
        if !step.info.dev {
            let started = Instant::now();
            gradients = Some(backward(losses, self.options.accumulate)?);
            step.record(Measurement::Backward(started.elapsed()));
        }
        let begun = Instant::now();
        let round = round::exchange(step.context, step.info, batch, self.norm)?;
        let waiting = begun.elapsed();
        step.info = round.info;
        for batch in round.batches {
            self.pass.add(batch);
        }
        let metrics = match gradients {
            Some(gradients) => self.learn(step, gradients, waiting)?,
            None => self.end_dev_batch(step),
        };
        self.publish(step, metrics)?;
        self.checkpoint(step, round.stop)?;
        if step.info.last {
            self.end_with_best(step);
        }
        Ok(())
    }
}

/// Returns the gradients of the sum of the losses, divided by the number of batches of an update.
fn backward(losses: Vec<Scalar>, accumulate: u64) -> Result<Gradients> {
    let values = losses.into_iter().map(|loss| loss.value);
    let total = values.reduce(plus).ok_or("no loss came")?;
    Ok(tensor::backward(total, 1.0 / accumulate as f32))
}

/// Names and values of metrics.
type Metrics = Vec<(String, f32)>;

impl Optimize {
    /// Builds the node in a phase of which `update` updates are done.
    fn new(options: Options, update: u64) -> Optimize {
        Optimize {
            options,
            state: State::default(),
            accumulated: GradientSum::default(),
            pass: PassMetrics::default(),
            norm: 0.0,
            metrics: None,
            last_end: Instant::now(),
            samples: 0,
            update,
        }
    }

    /// Returns the metrics of a dev pass after its last batch, and keeps the weights of the best.
    fn end_dev_batch(&mut self, step: &mut Step) -> Metrics {
        if !step.info.closes {
            return vec![];
        }
        self.last_end = Instant::now(); // no update includes the time of a dev pass
        let mut metrics = vec![];
        for (name, value) in self.pass.take() {
            metrics.push((format!("dev/{name}"), value));
        }
        self.keep_best(&metrics, step);
        metrics
    }

    fn keep_best(&mut self, metrics: &Metrics, step: &mut Step) {
        let Some(best) = &self.options.best else {
            return;
        };
        let measured = metrics.iter().find(|(name, _)| *name == best.metric);
        if let Some((_, value)) = measured
            && best.improves(*value, self.state.best.as_ref())
        {
            self.state.best = Some(BestPass::copy(*value, step.info.update, step));
        }
    }

    /// Gives the nodes the weights of the best dev pass, before they write them.
    fn end_with_best(&mut self, step: &mut Step) {
        let Some(best) = &self.options.best else {
            return;
        };
        match self.state.best.take() {
            Some(pass) => pass.restore(&best.metric, step),
            None => step.context.warn_once(&format!(
                "no dev pass had a {}, so the weights are those of the last update",
                best.metric
            )),
        }
    }

    /// Accumulates gradients. With the last batch of an update, changes the weights and returns the
    /// metrics of the update. `waiting` is how long this rank has waited for the others.
    fn learn(
        &mut self,
        step: &mut Step,
        gradients: Gradients,
        waiting: Duration,
    ) -> Result<Metrics> {
        let info = step.info;
        self.samples += info.samples;
        let begun = Instant::now();
        let gradients = self.accumulate(step, gradients);
        let adding = begun.elapsed();
        step.record(Measurement::Exchange { waiting, adding });
        let Some(gradients) = gradients else {
            return Ok(vec![]);
        };
        self.update = info.update;
        let options = &self.options;
        let norm = adamw::norm(gradients.iter().map(|(_, gradient)| gradient));
        self.norm = norm;
        let factor = options.schedule.factor(self.update, options.steps);
        if norm.is_finite() && self.pass.finite() {
            self.move_weights(step, gradients, norm, factor);
        } else {
            let reason = not_finite(&gradients, self.update);
            if options.not_finite == NotFinite::Stop {
                return Err(reason.into());
            }
            let update = self.update;
            step.context
                .say_once(&format!("update {update} is left out: {reason}"));
        }
        Ok(self.update_metrics(step, norm, factor))
    }

    /// Adds the gradients of the batches of a round to those before them in the update, and takes
    /// the sums after the last: of all parameters with a rate above 0, by `node.parameter`.
    fn accumulate(
        &mut self,
        step: &mut Step,
        mut gradients: Gradients,
    ) -> Option<Vec<(String, Param)>> {
        let mut names = vec![];
        let mut own = vec![];
        for (node, parameter) in self.trained_parameters(step) {
            names.push(format!("{node}.{}", parameter.name));
            own.push(gradients.of(&*parameter.weight));
        }
        drop(gradients);
        let ranks = &step.context.run.ranks;
        self.accumulated.add(own, ranks);
        if !step.info.closes {
            return None;
        }
        Some(
            names
                .into_iter()
                .zip(self.accumulated.take(ranks))
                .collect(),
        )
    }

    fn trained_parameters<'a>(&self, step: &'a mut Step) -> Vec<(String, Parameter<'a>)> {
        let mut parameters = step.parameters();
        let rates = &self.options.rates;
        parameters.retain(|(node, _)| rates.get(node).is_some_and(|rate| *rate > 0.0));
        parameters
    }

    /// Steps AdamW with gradients of this global norm, at `factor` of the highest rates.
    fn move_weights(
        &mut self,
        step: &mut Step,
        gradients: Vec<(String, Param)>,
        norm: f64,
        factor: f64,
    ) {
        let clip = adamw::clip_factor(norm, self.options.clip_norm);
        let parameters = self.trained_parameters(step);
        for ((node, parameter), (name, gradient)) in parameters.into_iter().zip(gradients) {
            let adamw = self
                .options
                .adamw(&node, &parameter.name, factor, self.update);
            let moments = self.state.moments_of(name, tensor::len(&gradient));
            let scale = clip * parameter.sign;
            adamw::step(&adamw, parameter.weight, moments, &gradient, scale);
        }
    }

    /// Ends the update and returns its metrics.
    fn update_metrics(&mut self, step: &Step, norm: f64, factor: f64) -> Metrics {
        let mut metrics = self.pass.take();
        metrics.push(("grad_norm".into(), norm as f32));
        for (node, rate) in &self.options.rates {
            metrics.push((format!("rate/{node}"), (rate * factor) as f32));
        }
        let audio_seconds = audio_seconds(std::mem::take(&mut self.samples));
        let started = std::mem::replace(&mut self.last_end, Instant::now());
        let seconds = started.elapsed().as_secs_f64();
        metrics.push(("audio_seconds".into(), audio_seconds as f32));
        metrics.push(("audio_per_second".into(), (audio_seconds / seconds) as f32));
        metrics::report(step.context, self.update, &metrics, audio_seconds);
        metrics
    }

    /// Writes metrics.jsonl, then sends the metrics to other nodes.
    ///
    /// The checkpoint is written later in the same thread, so metrics.jsonl always contains the
    /// updates of a checkpoint.
    fn publish(&mut self, step: &mut Step, metrics: Metrics) -> Result<()> {
        if let Some(file) = &mut self.metrics {
            let StepInfo { update, epoch, .. } = step.info;
            file.write(&step.context.run.phase, update, epoch, &metrics)?;
        }
        step.send(OUT, Value::Batch(metrics::batch(&step.info, metrics)?));
        Ok(())
    }

    /// Writes a checkpoint if one is due or a signal ends the run, but never between the batches of
    /// one update. `stop` tells that a signal had come to a rank before the round was exchanged.
    fn checkpoint(&mut self, step: &mut Step, stop: bool) -> Result<()> {
        let run = &step.context.run;
        let info = step.info;
        let between_updates = info.dev || info.closes;
        // A signal since then is one that other ranks do not know of yet.
        let stop = stop || run.ranks.count() == 1 && run.stop.load(Ordering::Relaxed);
        let stops = stop && between_updates && !info.last;
        if (info.checkpoint || stops)
            && let Some(metrics) = &self.metrics
        {
            metrics.sync()?;
            let folder = run.folder.join("checkpoint");
            checkpoint::write(&folder, self.update, &self.state, step)?;
            checkpoint::remove_old(&folder, &run.phase, self.options.keep);
        }
        if stops {
            step.end();
        }
        Ok(())
    }
}

/// Returns which gradient, or the loss, is not finite.
fn not_finite(gradients: &[(String, Param)], update: u64) -> String {
    for (name, gradient) in gradients {
        if read(gradient).iter().any(|x| !x.is_finite()) {
            return format!("the gradient of `{name}` is not finite at update {update}");
        }
    }
    format!("the loss is not finite at update {update}")
}
