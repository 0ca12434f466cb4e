//! One update: the losses' sum, backward, clip by global norm, AdamW at every node's rate; metrics, checkpoints, and the
//! way back. The only node that changes a weight.
use crate::Result;
use crate::data::metrics::MetricsFile;
use crate::node::Node;
use crate::node::port::{Scalar, Value};
use crate::node::report::Measurement;
use crate::node::step::{Step, StepInfo};
use compute::adamw;
use compute::tensor;
use compute::tensor::{Gradients, Param, plus, read};
use options::{IN, NotFinite, OUT};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Instant;
use sums::Sums;

pub mod checkpoint;
mod metrics;
mod options;
#[cfg(test)]
pub(crate) mod parity;
mod schedule;
mod sums;

#[cfg(not(feature = "cuda"))]
pub(crate) use compute::adamw::cpu::{Moments, add, norm, step};
#[cfg(feature = "cuda")]
pub(crate) use compute::adamw::cuda::{Moments, add, norm, step};
pub use options::Options;

struct Optimize {
    options: Options,
    /// By `node.parameter`.
    moments: BTreeMap<String, Moments>,
    /// Gradients of the batches of this update so far, where there is more than one.
    gathered: Vec<(String, Param)>,
    sums: Sums,
    metrics: Option<MetricsFile>,
    clock: Instant,
    samples: u64,
    update: u64,
}

impl Node for Optimize {
    fn start(&mut self, step: &mut Step) -> Result<()> {
        let run = &step.context.run;
        if !run.bench {
            self.metrics = Some(MetricsFile::open(&run.folder, &run.phase, run.clock.from)?);
        }
        if let Some(path) = step.resume {
            self.moments = checkpoint::restore(path, step)?;
        }
        self.clock = Instant::now();
        Ok(())
    }

    fn run(&mut self, step: &mut Step) -> Result<()> {
        let losses = step.scalars(IN);
        self.sums.add_batch(&losses, step.info.dev);
        let mut lines = vec![];
        if step.info.dev {
            if step.info.closes {
                self.clock = Instant::now(); // the time of a dev pass is no update's
                lines = self
                    .sums
                    .take()
                    .into_iter()
                    .map(|(n, v)| (format!("dev/{n}"), v))
                    .collect();
            }
        } else {
            let begun = Instant::now();
            let gradients = backward(losses, self.options.accumulate)?;
            step.record(Measurement::Backward(begun.elapsed()));
            lines = self.learn(step, gradients)?;
        }
        self.publish(step, lines)?;
        self.keep(step)
    }
}

fn backward(losses: Vec<Scalar>, accumulate: u64) -> Result<Gradients> {
    let loss = losses
        .into_iter()
        .map(|s| s.value)
        .reduce(plus)
        .ok_or("no loss came")?;
    Ok(tensor::backward(loss, 1.0 / accumulate as f32))
}

impl Optimize {
    /// Goes on after update `update`.
    fn new(options: Options, update: u64) -> Optimize {
        Optimize {
            options,
            moments: BTreeMap::new(),
            gathered: vec![],
            sums: Sums::default(),
            metrics: None,
            clock: Instant::now(),
            samples: 0,
            update,
        }
    }

    /// Gathers gradients; with the last batch of an update, moves the weights and says how it stands.
    fn learn(&mut self, step: &mut Step, mut gradients: Gradients) -> Result<Vec<(String, f32)>> {
        let (info, context) = (step.info, step.context);
        self.samples += info.samples;
        let mut parameters = step.parameters();
        parameters.retain(|(node, _)| self.options.rates.get(node).is_some_and(|rate| *rate > 0.0));
        let mut own: Vec<(String, Param)> = parameters
            .iter()
            .map(|(node, p)| (format!("{node}.{}", p.name), gradients.of(&*p.weight)))
            .collect();
        drop(gradients);
        for ((_, g), (_, before)) in own.iter_mut().zip(std::mem::take(&mut self.gathered)) {
            add(g, &before);
        }
        if !info.closes {
            self.gathered = own;
            return Ok(vec![]);
        }
        self.update = info.update;

        let norm = norm(own.iter().map(|(_, g)| g));
        let factor = self
            .options
            .schedule
            .factor(self.update, self.options.steps);
        if norm.is_finite() && self.sums.finite() {
            let clip = adamw::clip_factor(norm, self.options.clip_norm);
            for ((node, p), (name, g)) in parameters.iter_mut().zip(own) {
                let adamw = self.options.adamw(node, &p.name, factor, self.update);
                let moments = self
                    .moments
                    .entry(name)
                    .or_insert_with(|| Moments::zeros(tensor::len(&g)));
                self::step(&adamw, p.weight, moments, &g, clip * p.sign);
            }
        } else if self.options.not_finite == NotFinite::Stop {
            return Err(not_finite(&own, self.update).into());
        } else {
            context.say(format!(
                "update {} is left out: {}",
                self.update,
                not_finite(&own, self.update)
            ));
        }
        let mut lines = self.sums.take();
        lines.push(("grad_norm".into(), norm as f32));
        lines.extend(
            self.options
                .rates
                .iter()
                .map(|(node, rate)| (format!("rate/{node}"), (rate * factor) as f32)),
        );
        let seconds = std::mem::take(&mut self.samples) as f64 / 16000.0;
        let elapsed = std::mem::replace(&mut self.clock, Instant::now())
            .elapsed()
            .as_secs_f64();
        lines.push(("audio_seconds".into(), seconds as f32));
        lines.push(("audio_per_second".into(), (seconds / elapsed) as f32));
        metrics::report(context, self.update, &lines, seconds);
        Ok(lines)
    }

    /// Writes metrics.jsonl, then sends the metrics to other nodes. The checkpoint is written later
    /// in the same thread, so the lines of its updates are always in the file before it.
    fn publish(&mut self, step: &mut Step, lines: Vec<(String, f32)>) -> Result<()> {
        if let Some(metrics) = &mut self.metrics {
            let StepInfo { update, epoch, .. } = step.info;
            metrics.write(&step.context.run.phase, update, epoch, &lines)?;
        }
        step.send(OUT, Value::Batch(metrics::batch(&step.info, lines)?));
        Ok(())
    }

    /// A checkpoint where one is due, or where a signal ends the run; never inside an accumulation window.
    fn keep(&mut self, step: &mut Step) -> Result<()> {
        let stops = step.context.run.stop.load(Ordering::Relaxed)
            && (step.info.dev || step.info.closes)
            && !step.info.last;
        let due = step.info.checkpoint || stops;
        if due && let Some(metrics) = &self.metrics {
            metrics.sync()?;
            let folder = step.context.run.folder.join("checkpoint");
            checkpoint::write(&folder, self.update, &self.moments, step)?;
            checkpoint::tidy(&folder, &step.context.run.phase, self.options.keep);
        }
        if stops {
            step.end();
        }
        Ok(())
    }
}

fn not_finite(gradients: &[(String, Param)], update: u64) -> String {
    match gradients
        .iter()
        .find(|(_, g)| read(g).iter().any(|x| !x.is_finite()))
    {
        Some((name, _)) => format!("the gradient of `{name}` is not finite at update {update}"),
        None => format!("the loss is not finite at update {update}"),
    }
}
