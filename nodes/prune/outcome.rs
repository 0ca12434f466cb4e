//! What pruning has left of a model when its phase ends, and what to change if that is another
//! shape than was meant.
//!
//! Three things are warned of: an expected sparsity that is more than `MISS` from the one asked
//! for, layers that lost all heads or all inner units of their feed-forward, and the same of all
//! layers together. A sub-layer that its own gate has closed was meant to go as a whole.
use crate::model::{Unit, UnitGroup};
use std::collections::BTreeMap;

/// The largest miss of the sparsity that is not warned of: two points of a hundred.
const MISS: f64 = 0.02;

/// What is known of pruning at the end of its phase.
pub struct PruningOutcome {
    /// The expected sparsity.
    pub expected: f64,
    /// The sparsity asked for.
    pub sparsity: f64,
    /// Updates of the phase.
    pub updates: u64,
    /// Updates over which the target climbed.
    pub warmup: u64,
    /// Whether all gates of a vector are closed, by its name.
    pub closed: BTreeMap<String, bool>,
}

/// A sub-layer that may lose its units: their gates, the gate of the sub-layer, and how to say that
/// none is left.
struct SubLayer {
    unit: Unit,
    whole: Unit,
    units: &'static str,
    part: &'static str,
}

const SUB_LAYERS: [SubLayer; 2] = [
    SubLayer {
        unit: Unit::Head,
        whole: Unit::AttentionLayer,
        units: "no attention head",
        part: "",
    },
    SubLayer {
        unit: Unit::Ffn,
        whole: Unit::FfnLayer,
        units: "no unit",
        part: "the feed-forward of ",
    },
];

impl PruningOutcome {
    /// Returns a sentence for each thing that is not as it was meant, with what to change.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = self.missed_target().into_iter().collect();
        for sub_layer in &SUB_LAYERS {
            warnings.extend(self.lost_units(sub_layer));
        }
        warnings
    }

    fn missed_target(&self) -> Option<String> {
        let expected = self.expected;
        let sparsity = self.sparsity;
        let warmup = self.warmup;
        let updates = self.updates;
        let miss = expected - sparsity;
        if miss.abs() <= MISS {
            return None;
        }
        let change = if miss > 0.0 {
            "the units closed faster than the multipliers could hold them: raise `warmup_steps` \
             and `steps`, or lower the rate of this node in `rates`"
                .to_owned()
        } else if updates <= warmup {
            format!(
                "the phase ended after update {updates}, and the target climbs until update \
                 {warmup} (`warmup_steps`): raise `steps` or lower `warmup_steps`"
            )
        } else {
            "raise `steps`, raise the rate of this node in `rates`, which moves gates and \
             multipliers, or lower `sparsity`"
                .to_owned()
        };
        Some(format!(
            "pruning missed its target: sparsity {expected:.3} is expected, {sparsity:.3} was \
             asked for; {change}"
        ))
    }

    fn lost_units(&self, sub_layer: &SubLayer) -> Option<String> {
        let SubLayer {
            unit,
            whole,
            units,
            part,
        } = sub_layer;
        let mut has_own_gates = false;
        let mut layers = 0;
        let mut lost_layers = 0;
        let mut lost: Vec<usize> = vec![]; // though their own gate is open, from 1
        for layer in 0..self.layers() {
            let gate = |unit: Unit| {
                let vector = UnitGroup::new(unit, layer).to_string();
                self.closed.get(&vector).copied()
            };
            let own = gate(*unit);
            let of_sub_layer = gate(*whole);
            has_own_gates |= own.is_some();
            layers += usize::from(own.is_some() || of_sub_layer.is_some());
            let is_gone = of_sub_layer == Some(true);
            lost_layers += usize::from(is_gone || own == Some(true));
            if own == Some(true) && !is_gone {
                lost.push(layer + 1);
            }
        }
        let gated = if has_own_gates { unit } else { whole };
        let name = gated.name();
        let change = format!(
            "lower `sparsity`, raise `warmup_steps` and `steps`, lower `initial_drop.{name}`, so \
             that these units close later, or leave \"{name}\" out of `units`"
        );
        if layers > 0 && lost_layers == layers {
            return Some(format!("{units} is left in {part}any layer; {change}"));
        }
        if lost.is_empty() {
            return None;
        }
        let word = if lost.len() == 1 { "layer" } else { "layers" };
        let numbers: Vec<String> = lost.iter().map(usize::to_string).collect();
        let numbers = numbers.join(", ");
        Some(format!(
            "{units} is left in {part}{word} {numbers}; if this is not meant, {change}"
        ))
    }

    /// Returns one more than the highest number of a layer that has gates.
    fn layers(&self) -> usize {
        let numbers = self.closed.keys().filter_map(|vector| {
            let (_, number) = vector.split_once('.')?;
            number.parse::<usize>().ok()
        });
        numbers.max().map_or(0, |number| number + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(expected: f64, updates: u64, closed: &[(&str, bool)]) -> PruningOutcome {
        PruningOutcome {
            expected,
            sparsity: 0.75,
            updates,
            warmup: 10,
            closed: closed
                .iter()
                .map(|(vector, closed)| ((*vector).to_owned(), *closed))
                .collect(),
        }
    }

    #[test]
    fn a_missed_target_is_said_with_what_to_change() {
        for met in [0.731, 0.75, 0.769] {
            assert_eq!(outcome(met, 20, &[]).warnings(), Vec::<String>::new());
        }
        for (expected, updates, change) in [
            (
                0.1,
                10,
                "the phase ended after update 10, and the target climbs until update 10",
            ),
            (0.72, 20, "raise `steps`, raise the rate"),
            (0.78, 20, "closed faster"),
        ] {
            let warnings = outcome(expected, updates, &[]).warnings();
            assert_eq!(warnings.len(), 1);
            let numbers = format!("sparsity {expected:.3} is expected, 0.750 was asked for");
            assert!(
                warnings[0].contains(&numbers) && warnings[0].contains(change),
                "{warnings:?}"
            );
        }
    }

    #[test]
    fn layers_without_units_are_named() {
        let some = [
            ("conv.0", true),
            ("head.0", true),
            ("head.1", false),
            ("head.3", true),
            ("ffn.1", true),
            ("ffn.2", false),
        ];
        let warnings = outcome(0.75, 20, &some).warnings();
        assert_eq!(warnings.len(), 2);
        let starts = [
            "no attention head is left in layers 1, 4; if this is not meant, lower `sparsity`",
            "no unit is left in the feed-forward of layer 2; if this is not meant, lower",
        ];
        for (warning, start) in warnings.iter().zip(starts) {
            assert!(warning.starts_with(start), "{warning}");
        }
        let all = [("head.0", true), ("head.1", true), ("ffn.0", true)];
        let warnings = outcome(0.75, 20, &all).warnings();
        assert_eq!(warnings.len(), 2);
        assert!(warnings[0].starts_with("no attention head is left in any layer; lower"));
        assert!(warnings[1].starts_with("no unit is left in the feed-forward of any layer; lower"));
    }

    #[test]
    fn a_sub_layer_that_its_own_gate_closed_was_meant_to_go() {
        let meant = [
            ("attention-layer.0", true),
            ("attention-layer.1", false),
            ("head.0", true),
            ("head.1", false),
        ];
        assert_eq!(outcome(0.75, 20, &meant).warnings(), Vec::<String>::new());
        let all = [("attention-layer.0", true), ("attention-layer.1", true)];
        let warnings = outcome(0.75, 20, &all).warnings();
        assert!(warnings[0].starts_with("no attention head is left in any layer"));
        // What is not pruned is not what to change.
        assert!(warnings[0].contains("leave \"attention-layer\" out of `units`"));
        assert!(warnings[0].contains("lower `initial_drop.attention-layer`"));
    }
}
