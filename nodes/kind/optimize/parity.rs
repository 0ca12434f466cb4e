//! The pieces of an update, for comparison with PyTorch's.
use super::Options;
use super::{Moments, norm, step};
use crate::model::parity::{close_to, load, values};
use compute::adamw;
use compute::adamw::{AdamW, Form};
use compute::tensor::{Param, param, read};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Adam(BTreeMap<String, Moments>);

impl Adam {
    pub fn step(
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

/// The norm of all gradients, and the factor that brings it to `most`.
pub fn clip<'a>(gradients: impl Iterator<Item = &'a Vec<f32>>, most: f64) -> (f64, f32) {
    let gradients: Vec<Param> = gradients.cloned().map(param).collect();
    let norm = norm(&gradients);
    (norm, adamw::clip_factor(norm, Some(most)))
}

#[test]
fn updates_with_decay() {
    let theirs = load("optimizers.safetensors");
    for form in ["adamw", "adamw-s3prl"] {
        let options = serde_json::json!({ "steps": 4, "rates": { "node": 0.01 }, "schedule": { "warmup_steps": 4 },
            "optimizer": form, "betas": [0.9, 0.98], "eps": 1e-6, "weight_decay": 0.1 });
        let options: Options = serde_json::from_value(options).expect("options");
        for name in ["weight", "bias"] {
            let of = |what: &str| values(&theirs, &format!("{what}/{name}"));
            let (mut p, mut moments) = (
                param(of("before").to_vec()),
                Moments::zeros(of("before").len()),
            );
            for update in 1..=4 {
                let adamw = options.adamw("node", name, options.schedule.factor(update, 4), update);
                step(
                    &adamw,
                    &mut p,
                    &mut moments,
                    &param(of(&format!("grad/{update}")).to_vec()),
                    1.0,
                );
                close_to(
                    &format!("{form}: {name} after {update}"),
                    &read(&p),
                    of(&format!("{form}/{update}")),
                    1e-6,
                );
            }
        }
    }
}
