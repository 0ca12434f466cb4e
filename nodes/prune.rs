//! Structured pruning: gates on units, the parameters that they are expected to leave, and the
//! smaller model (DPHuBERT, Peng et al. 2023, arXiv:2305.17651; gates: Louizos et al. 2018,
//! arXiv:1712.01312).
mod estimate;
pub mod expected;
pub mod gate;
pub mod outcome;
pub mod penalty;
pub mod shrink;

use crate::model::{Architecture, Unit, UnitGroup};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How the pruned model is made smaller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Finalize {
    /// No hidden state moves.
    #[default]
    Exact,
    /// As the reference's `prune.py`: the projection's norm runs over the kept channels alone, so
    /// hidden states jump.
    Reference,
}

/// What a plan knows of the pruning that gates lead to.
#[derive(Clone, Debug, PartialEq)]
pub struct Pruning {
    /// The architecture before pruning.
    pub architecture: Architecture,
    pub units: Vec<Unit>,
    /// Share of parameters to remove.
    pub sparsity: f64,
    pub finalize: Finalize,
}

/// Returns the name and length of every gate vector. A sub-layer that is gone has none.
pub fn vectors(a: &Architecture, units: &[Unit]) -> BTreeMap<String, usize> {
    groups(a)
        .into_iter()
        .filter(|(group, _)| units.contains(&group.unit))
        .map(|(group, n)| (group.to_string(), n))
        .collect()
}

/// Returns the number of units of every group that gates can close.
fn groups(a: &Architecture) -> BTreeMap<UnitGroup, usize> {
    let mut groups = BTreeMap::new();
    for component in a.components() {
        groups.extend(component.whole.map(|group| (group, 1)));
        for dim in component.tensors.iter().flat_map(|tensor| &tensor.dims) {
            groups.extend(dim.group.map(|group| (group, dim.units)));
        }
    }
    groups
}
