//! The rates' shape over updates, as a factor of the highest rate. Updates count from 1.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// What follows the climb.
    #[serde(default)]
    r#type: Shape,
    /// Updates over which the rate climbs from 0 to its highest.
    #[serde(default)]
    pub warmup_steps: u64,
}

#[derive(Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Shape {
    /// Up to update `warmup_steps`, then down to 0 at the last.
    #[default]
    Linear,
    /// Up, then the same.
    Constant,
}

impl Schedule {
    pub fn factor(self, update: u64, updates: u64) -> f64 {
        let warmup = self.warmup_steps;
        match self.r#type {
            _ if update <= warmup => update as f64 / warmup as f64,
            Shape::Constant => 1.0,
            Shape::Linear => updates.saturating_sub(update) as f64 / (updates - warmup).max(1) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_goes_up_then_down() {
        let schedule = Schedule { r#type: Shape::Linear, warmup_steps: 4 };
        let factors: Vec<f64> = (1..=8).map(|u| schedule.factor(u, 8)).collect();
        assert_eq!(factors, [0.25, 0.5, 0.75, 1.0, 0.75, 0.5, 0.25, 0.0]);
    }

    #[test]
    fn constant_stays() {
        let schedule = Schedule { r#type: Shape::Constant, warmup_steps: 2 };
        assert_eq!([1, 2, 3, 100].map(|u| schedule.factor(u, 100)), [0.5, 1.0, 1.0, 1.0]);
    }
}
