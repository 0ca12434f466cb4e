//! The parts of an update, for comparison with PyTorch's.
use super::Options;
use crate::model::parity::{close_to, load, values};
use compute::adamw::{AdamW, Form, Moments, clip_factor, norm, step};
use compute::tensor::{Param, param, read};
use serde_json::json;
use std::collections::BTreeMap;

/// Moments by parameter.
#[derive(Default)]
pub(crate) struct Adam(BTreeMap<String, Moments>);

impl Adam {
    /// Steps the parameter `name` with the gradient `g`, scaled by `factor`.
    pub(crate) fn step(
        &mut self,
        name: &str,
        p: &mut Param,
        g: &[f32],
        rate: f64,
        factor: f32,
        update: u64,
    ) {
        let moments = self
            .0
            .entry(name.to_owned())
            .or_insert_with(|| Moments::zeros(g.len()));
        let adamw = AdamW {
            form: Form::Adamw,
            rate,
            betas: [0.9, 0.999],
            eps: 1e-8,
            decay: 0.0,
            update,
        };
        step(&adamw, p, moments, &param(g.to_vec()), factor);
    }
}

/// Returns the norm of all gradients, and the factor that reduces it to `max`.
pub(crate) fn clip<'a>(gradients: impl Iterator<Item = &'a Vec<f32>>, max: f64) -> (f64, f32) {
    let gradients: Vec<Param> = gradients.cloned().map(param).collect();
    let norm = norm(&gradients);
    (norm, clip_factor(norm, Some(max)))
}

/// tests/golden/make.py
#[test]
fn updates_with_decay() {
    let golden = load("optimizers.safetensors");
    for form in ["adamw", "adamw-s3prl"] {
        let options: Options = serde_json::from_value(json!({
            "steps": 4,
            "rates": { "node": 0.01 },
            "schedule": { "warmup_steps": 4 },
            "optimizer": form,
            "betas": [0.9, 0.98],
            "eps": 1e-6,
            "weight_decay": 0.1,
        }))
        .expect("options");
        for name in ["weight", "bias"] {
            let theirs = |what: &str| values(&golden, &format!("{what}/{name}"));
            let start = theirs("before");
            let mut p = param(start.to_vec());
            let mut moments = Moments::zeros(start.len());
            for update in 1..=4 {
                let factor = options.schedule.factor(update, 4);
                let adamw = options.adamw("node", name, factor, update);
                let gradient = param(theirs(&format!("grad/{update}")).to_vec());
                step(&adamw, &mut p, &mut moments, &gradient, 1.0);
                let label = format!("{form}: {name} after {update}");
                let expected = theirs(&format!("{form}/{update}"));
                close_to(&label, &read(&p), expected, 1e-6);
            }
        }
    }
}
