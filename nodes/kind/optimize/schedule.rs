//! The rates' shape over updates, as a factor of the highest rate. Update k of N counts from 1 and takes what the
//! reference gives for a count of k; W updates warm up, H hold:
//!
//! k / W up to W, then linear: (N - k) / (N - W); cosine: (1 - cos(π (N - k) / (N - W))) / 2 (s3prl's warmup_cosine,
//! fairseq's cosine); constant: 1. Tri-stage (fairseq's, Park et al. 2019, arXiv:1904.08779): from 0.01 up to 1 at W, 1 up
//! to W + H, then down to f at N, each update by the same factor: f^((k - W - H) / (N - W - H)).
use crate::node::OptionError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

#[derive(Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// What follows the climb.
    #[serde(default)]
    r#type: Shape,
    /// Updates over which the rate climbs to its highest.
    #[serde(default)]
    warmup_steps: u64,
    /// Of "tri-stage": updates at the highest rate.
    #[serde(default)]
    hold_steps: u64,
    /// Of "tri-stage": the last rate, as a part of the highest; null: 0.01.
    #[serde(default)]
    final_scale: Option<f64>,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Shape {
    /// Down to 0 along a line.
    #[default]
    Linear,
    /// Down to 0 along half a wave.
    Cosine,
    /// The highest rate, then down by the same factor each update.
    TriStage,
    /// The highest rate.
    Constant,
}

/// Where tri-stage begins, and where it ends if nothing else is said.
const LOW: f64 = 0.01;

impl Schedule {
    /// `wrong` has found nothing for as many `updates`.
    pub fn factor(self, update: u64, updates: u64) -> f64 {
        let (warmup, flat) = (self.warmup_steps, self.warmup_steps + self.hold_steps);
        let left =
            |from: u64| updates.saturating_sub(update) as f64 / (updates - from).max(1) as f64;
        match self.r#type {
            Shape::TriStage if update <= warmup => {
                LOW + (1.0 - LOW) * update as f64 / warmup as f64
            }
            _ if update <= warmup => update as f64 / warmup as f64,
            Shape::TriStage if update <= flat => 1.0,
            Shape::TriStage => self.final_scale.unwrap_or(LOW).powf(1.0 - left(flat)),
            Shape::Constant => 1.0,
            Shape::Linear => left(warmup),
            Shape::Cosine => 0.5 * (1.0 - (PI * left(warmup)).cos()),
        }
    }

    /// What is wrong with it in a phase of `updates`.
    pub fn wrong(self, updates: u64) -> Vec<OptionError> {
        let mut wrong = vec![];
        let mut need = |holds: bool, name: &str, says: String| {
            let way = format!("schedule.{name}");
            wrong
                .extend((!holds).then(|| OptionError::at(&way, format!("option `{way}`: {says}"))));
        };
        let (warmup, hold, scale) = (self.warmup_steps, self.hold_steps, self.final_scale);
        need(
            warmup <= updates,
            "warmup_steps",
            format!("{warmup} is more than the {updates} of `steps`"),
        );
        let left = updates.saturating_sub(warmup);
        need(
            hold <= left || warmup > updates,
            "hold_steps",
            format!("{hold} is more than the {left} after the warm-up"),
        );
        need(
            scale.is_none_or(|s| s > 0.0 && s <= 1.0),
            "final_scale",
            "must be above 0 and at most 1".into(),
        );
        let other = self.r#type != Shape::TriStage;
        need(
            !other || hold == 0,
            "hold_steps",
            "only \"tri-stage\" holds".into(),
        );
        need(
            !other || scale.is_none(),
            "final_scale",
            "only \"tri-stage\" has one".into(),
        );
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(schedule: serde_json::Value, updates: u64) -> Vec<f64> {
        let schedule: Schedule = serde_json::from_value(schedule).expect("a schedule");
        (1..=updates).map(|u| schedule.factor(u, updates)).collect()
    }

    fn close(ours: &[f64], theirs: &[f64]) {
        assert_eq!(ours.len(), theirs.len());
        assert!(
            ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() < 1e-12),
            "{ours:?} is not {theirs:?}"
        );
    }

    #[test]
    fn linear_goes_up_then_down() {
        let ours = factors(serde_json::json!({ "warmup_steps": 4 }), 8);
        assert_eq!(ours, [0.25, 0.5, 0.75, 1.0, 0.75, 0.5, 0.25, 0.0]);
    }

    #[test]
    fn constant_stays() {
        let ours = factors(
            serde_json::json!({ "type": "constant", "warmup_steps": 2 }),
            4,
        );
        assert_eq!(ours, [0.5, 1.0, 1.0, 1.0]);
    }

    /// transformers' get_cosine_schedule_with_warmup gives the same.
    #[test]
    fn cosine_goes_down_in_half_a_wave() {
        let root = 3f64.sqrt() / 4.0;
        let down = [0.5 + root, 0.75, 0.5, 0.25, 0.5 - root, 0.0];
        close(
            &factors(
                serde_json::json!({ "type": "cosine", "warmup_steps": 2 }),
                8,
            ),
            &[&[0.5, 1.0], &down[..]].concat(),
        );
        close(&factors(serde_json::json!({ "type": "cosine" }), 6), &down);
    }

    /// fairseq's TriStageLRSchedule gives the same, with warmup_steps 4, hold_steps 2, decay_steps 4.
    #[test]
    fn tri_stage_goes_up_stays_and_goes_down() {
        let schedule = serde_json::json!({ "type": "tri-stage", "warmup_steps": 4, "hold_steps": 2, "final_scale": 0.0625 });
        let theirs = [
            0.2575, 0.505, 0.7525, 1.0, 1.0, 1.0, 0.5, 0.25, 0.125, 0.0625,
        ];
        close(&factors(schedule, 10), &theirs);
        let root = 10f64.sqrt();
        close(
            &factors(serde_json::json!({ "type": "tri-stage" }), 4),
            &[root / 10.0, 0.1, root / 100.0, 0.01],
        );
        close(
            &factors(
                serde_json::json!({ "type": "tri-stage", "hold_steps": 2 }),
                2,
            ),
            &[1.0, 1.0],
        );
    }
}
