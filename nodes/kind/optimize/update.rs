//! An update of the weights: sums the gradients of its batches, steps AdamW, and says what it did.
use super::options::NotFinite;
use super::{Metrics, Optimize, metrics};
use crate::Result;
use crate::data::audio::resample::audio_seconds;
use crate::node::Parameter;
use crate::node::report::Measurement;
use crate::node::step::Step;
use compute::adamw::{self, Update};
use compute::tensor::{Gradients, Param, len, read};
use std::time::{Duration, Instant};

impl Optimize {
    /// Accumulates gradients. With the last batch of an update, changes the weights and returns the
    /// metrics of the update. `left` is how long this rank has waited for the exchange of earlier
    /// gradients, `waiting` how long for the others.
    pub(super) fn learn(
        &mut self,
        step: &mut Step,
        gradients: Gradients,
        left: Duration,
        waiting: Duration,
    ) -> Result<Metrics> {
        let info = step.info;
        self.samples += info.samples;
        let begun = Instant::now();
        let gradients = self.accumulate(step, gradients);
        let adding = left + begun.elapsed();
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
            let reason = not_finite(&gradients, self.update, self.pass.finite());
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
        let lengths = gradients
            .iter()
            .map(|(name, gradient)| (name, len(gradient)));
        let mut moments = self.state.moments_of_all(lengths);
        let mut updates = vec![];
        for ((node, parameter), (name, gradient)) in parameters.into_iter().zip(&gradients) {
            let Some(moments) = moments.remove(name.as_str()) else {
                continue; // no two parameters have one name
            };
            let adamw = self
                .options
                .adamw(&node, &parameter.name, factor, self.update);
            let scale = clip * parameter.sign;
            let weight = parameter.weight;
            updates.push(Update::new(&adamw, weight, moments, gradient, scale));
        }
        adamw::step_all(updates);
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
}

/// Returns which gradient, or the loss, or what else is not finite.
fn not_finite(gradients: &[(String, Param)], update: u64, loss_is_finite: bool) -> String {
    for (name, gradient) in gradients {
        if read(gradient).iter().any(|x| !x.is_finite()) {
            return format!("the gradient of `{name}` is not finite at update {update}");
        }
    }
    if !loss_is_finite {
        return format!("the loss is not finite at update {update}");
    }
    format!(
        "the norm of the gradients is not finite at update {update}: each of them is, but they are so \
         large that their squares are not"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use compute::tensor::param;

    #[test]
    fn what_is_not_finite_is_named() {
        let gradients = |last: f32| {
            let of = |name: &str, x: f32| (name.to_owned(), param(vec![1.0, x]));
            vec![of("a.w", 2.0), of("b.w", last)]
        };
        let says = |last: f32, loss: bool| not_finite(&gradients(last), 7, loss);
        assert_eq!(
            says(f32::NAN, true),
            "the gradient of `b.w` is not finite at update 7"
        );
        assert_eq!(says(1.0, false), "the loss is not finite at update 7");
        assert!(
            says(1e30, true).starts_with("the norm of the gradients is not finite at update 7")
        );
    }
}
