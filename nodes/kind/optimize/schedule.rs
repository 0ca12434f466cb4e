//! The learning rate over updates, as a factor of the highest rate.
//!
//! Update k of N counts from 1, with W updates of warm-up and H of hold. The factor is k / W up to
//! W, then
//!
//! ```text
//! linear    (N - k) / (N - W)
//! cosine    (1 - cos(π (N - k) / (N - W))) / 2
//! constant  1
//! ```
//!
//! Tri-stage (Park et al. 2019, arXiv:1904.08779) climbs from 0.01 to 1 at W, stays at 1 up to W +
//! H, then decays by the same factor each update to f at N: f^((k - W - H) / (N - W - H)).
//!
//! Linear and cosine are s3prl's, cosine and tri-stage are fairseq's, for a count of k.
use crate::node::OptionError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

#[derive(Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Schedule {
    /// How the rate changes after the warm-up.
    #[serde(default)]
    r#type: Decay,
    /// Updates over which the rate climbs to its highest.
    #[serde(default)]
    warmup_steps: u64,
    /// Of "tri-stage": updates at the highest rate.
    #[serde(default)]
    hold_steps: u64,
    /// Of "tri-stage": the last rate, divided by the highest; null: 0.01.
    #[serde(default)]
    final_scale: Option<f64>,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Decay {
    /// Linearly down to 0.
    #[default]
    Linear,
    /// Down to 0 along half a cosine wave.
    Cosine,
    /// The highest rate, then down by the same factor each update.
    TriStage,
    /// Stays at the highest rate.
    Constant,
}

/// The first factor of tri-stage, and the default of its last.
const TRI_STAGE_MIN: f64 = 0.01;

impl Schedule {
    /// Returns the factor of update `update` of `updates`, for which [`Schedule::errors`] is empty.
    pub(super) fn factor(self, update: u64, updates: u64) -> f64 {
        let warmup = self.warmup_steps;
        let hold_end = self.warmup_steps + self.hold_steps;
        // The share of the updates after `start` that are left.
        let left =
            |start: u64| updates.saturating_sub(update) as f64 / (updates - start).max(1) as f64;
        match self.r#type {
            Decay::TriStage if update <= warmup => {
                TRI_STAGE_MIN + (1.0 - TRI_STAGE_MIN) * update as f64 / warmup as f64
            }
            _ if update <= warmup => update as f64 / warmup as f64,
            Decay::TriStage if update <= hold_end => 1.0,
            Decay::TriStage => {
                let last = self.final_scale.unwrap_or(TRI_STAGE_MIN);
                last.powf(1.0 - left(hold_end))
            }
            Decay::Constant => 1.0,
            Decay::Linear => left(warmup),
            Decay::Cosine => 0.5 * (1.0 - (PI * left(warmup)).cos()),
        }
    }

    /// Returns the number of first updates whose factors are the same whatever the number of all.
    pub(super) fn fixed_rates(self) -> u64 {
        match self.r#type {
            Decay::Constant => u64::MAX,
            Decay::TriStage => self.warmup_steps + self.hold_steps,
            Decay::Linear | Decay::Cosine => self.warmup_steps,
        }
    }

    /// Returns what is wrong with the schedule in a phase of `updates`.
    pub(super) fn errors(self, updates: u64) -> Vec<OptionError> {
        let warmup = self.warmup_steps;
        let hold = self.hold_steps;
        let scale = self.final_scale;
        let mut errors = vec![];
        errors.extend(OptionError::unless(
            warmup <= updates,
            "schedule.warmup_steps",
            format!("{warmup} is more than the {updates} of `steps`"),
        ));
        let left = updates.saturating_sub(warmup);
        errors.extend(OptionError::unless(
            hold <= left || warmup > updates,
            "schedule.hold_steps",
            format!("{hold} is more than the {left} after the warm-up"),
        ));
        errors.extend(OptionError::unless(
            scale.is_none_or(|scale| scale > 0.0 && scale <= 1.0),
            "schedule.final_scale",
            "must be above 0 and at most 1",
        ));
        let tri_stage = self.r#type == Decay::TriStage;
        errors.extend(OptionError::unless(
            tri_stage || hold == 0,
            "schedule.hold_steps",
            "only \"tri-stage\" holds",
        ));
        errors.extend(OptionError::unless(
            tri_stage || scale.is_none(),
            "schedule.final_scale",
            "only \"tri-stage\" has one",
        ));
        errors
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

    /// fairseq's TriStageLRSchedule gives the same, with warmup_steps 4, hold_steps 2, decay_steps
    /// 4.
    #[test]
    fn tri_stage_goes_up_stays_and_goes_down() {
        let schedule = serde_json::json!({
            "type": "tri-stage", "warmup_steps": 4, "hold_steps": 2, "final_scale": 0.0625
        });
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

    #[test]
    fn the_first_factors_do_not_depend_on_the_number_of_updates() {
        for schedule in [
            serde_json::json!({ "type": "linear", "warmup_steps": 3 }),
            serde_json::json!({ "type": "cosine", "warmup_steps": 3 }),
            serde_json::json!({ "type": "tri-stage", "warmup_steps": 3, "hold_steps": 2 }),
            serde_json::json!({ "type": "constant", "warmup_steps": 3 }),
        ] {
            let fewer = factors(schedule.clone(), 8);
            let more = factors(schedule.clone(), 12);
            let equal = fewer.iter().zip(&more).take_while(|(a, b)| a == b);
            let fixed = serde_json::from_value::<Schedule>(schedule).unwrap();
            assert_eq!(equal.count() as u64, fixed.fixed_rates().min(8));
        }
    }
}
