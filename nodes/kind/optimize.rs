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
mod update;

use crate::Result;
use crate::data::metrics::MetricsFile;
use crate::node::Node;
use crate::node::pass_metrics::{BatchMetrics, BatchWeight, PassMetrics};
use crate::node::port::{Scalar, Value};
use crate::node::report::Measurement;
use crate::node::step::{Step, StepInfo};
use best::BestPass;
use checkpoint::State;
use compute::ranks::GradientSum;
use compute::tensor;
use compute::tensor::{Gradients, plus};
use options::{IN, OUT};
use std::sync::atomic::Ordering;
use std::time::Instant;

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
        step.context.run.ranks.finish_exchange();
        let left = begun.elapsed();
        let begun = Instant::now();
        let round = round::exchange(step.context, step.info, batch, self.norm)?;
        let waiting = begun.elapsed();
        step.info = round.info;
        for batch in round.batches {
            self.pass.add(batch);
        }
        let metrics = match gradients {
            Some(gradients) => self.learn(step, gradients, left, waiting)?,
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
