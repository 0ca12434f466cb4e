//! Cuts a model with fixed gates into the smaller dense model that computes the same: closed units
//! are removed, soft gates of the others are multiplied into the weights that read them.
//!
//! Which dimension of which tensor a group of units indexes, and which dimension takes the gates,
//! is in the model's description (`Dim`). Two matters are not:
//!
//! A norm follows the last convolution, so its gates go into `dummy_weight`. That norm has
//! statistics over all C channels, closed ones being 0; after the cut it still divides by C
//! (`feature_norm_width`). What the closed columns of the projection contributed,
//! W_c ((0 - mean) rstd γ_c + β_c), becomes -mean rstd `folded` plus a bias, where `folded` =
//! Σ_closed W_c γ_c and bias += Σ_closed W_c β_c. The reference form leaves that out.
//!
//! A sub-layer whose own gate closes is gone. One that is open but has no units left still adds its
//! output bias (exact), or is gone (reference).
//!
//! WavLM's position gates and biases are numbered by the heads before pruning: their tensors stay
//! whole, and `encoder_remaining_heads` says which heads are left.
use super::{Finalize, groups};
use crate::Result;
use crate::model::{Architecture, DUMMY_WEIGHT, Dim, Model, TensorSpec, Unit, UnitGroup, Weights};
use compute::op::PackedWeights;
use compute::tensor::{param, read};
use std::collections::BTreeMap;

/// Fixed gates by vector, as [`super::vectors`] names them. Vectors that are absent are open.
pub type Fixed = BTreeMap<String, Vec<f32>>;

/// Returns the smaller model.
///
/// # Errors
/// A convolution has no open channel, so that nothing would reach the layers.
pub fn shrink(model: &Model, gates: &Fixed, how: Finalize) -> Result<Model> {
    let cut = ModelCut::new(model, gates, how);
    cut.check_convolutions()?;
    let architecture = cut.architecture();
    let replaced = cut.replaced_tensors();
    let weights = architecture.stored_tensors().into_iter().map(|tensor| {
        let values = match replaced.get(&tensor.name) {
            Some(values) => values.clone(),
            None => cut.values(&tensor.name),
        };
        let values = cut.cut(&tensor, values);
        (tensor.name, param(values))
    });
    Ok(Model {
        weights: Weights(weights.collect()),
        architecture,
        normalize: model.normalize,
        normalize_epsilon: model.normalize_epsilon,
        cmvn: model.cmvn.clone(),
        packed: PackedWeights::default(),
    })
}

/// The units of a gated group that stay.
struct OpenUnits {
    /// Units before the cut.
    all: usize,
    /// The place of each unit that stays, and its gate times that of its sub-layer.
    open: Vec<(usize, f32)>,
    /// Whether the group is in a sub-layer that is open, though all of its units are closed.
    leaves_bias: bool,
}

struct ModelCut<'a> {
    model: &'a Model,
    gates: &'a Fixed,
    how: Finalize,
    /// Groups of which some units, or whose sub-layer, have gates.
    gated: BTreeMap<UnitGroup, OpenUnits>,
}

impl<'a> ModelCut<'a> {
    fn new(model: &'a Model, gates: &'a Fixed, how: Finalize) -> ModelCut<'a> {
        let mut gated = BTreeMap::new();
        for (group, all) in groups(&model.architecture) {
            let own = gates.get(&group.to_string());
            let sub_layer = group.sub_layer().and_then(|g| gates.get(&g.to_string()));
            if own.is_none() && sub_layer.is_none() {
                continue;
            }
            let factor = sub_layer.map_or(1.0, |gate| gate[0]);
            let open: Vec<(usize, f32)> = (0..all)
                .map(|unit| (unit, own.map_or(1.0, |gates| gates[unit])))
                .filter(|(_, gate)| *gate > 0.0 && factor > 0.0)
                .map(|(unit, gate)| (unit, gate * factor))
                .collect();
            let leaves_bias = group.sub_layer().is_some() && open.is_empty() && factor > 0.0;
            let units = OpenUnits {
                all,
                open,
                leaves_bias,
            };
            gated.insert(group, units);
        }
        ModelCut {
            model,
            gates,
            how,
            gated,
        }
    }

    fn check_convolutions(&self) -> Result<()> {
        for (group, units) in &self.gated {
            if group.unit == Unit::Conv && units.open.is_empty() {
                let number = group.index + 1;
                let convolutions = self.model.architecture.conv_dim.len();
                return Err(format!(
                    "cannot be cut: every gate of `{group}` is 0, and convolution {number} of \
                     {convolutions} needs a channel; lower the rate of the gates in `rates`, or \
                     `sparsity`, or leave \"conv\" out of `units`"
                )
                .into());
            }
        }
        Ok(())
    }

    /// Returns the architecture after the cut.
    fn architecture(&self) -> Architecture {
        let mut pruned = self.model.architecture.clone();
        for (group, units) in &self.gated {
            match group.unit {
                Unit::Conv => pruned.conv_dim[group.index] = units.open.len(),
                Unit::Head => {
                    let places: Vec<usize> = units.open.iter().map(|(head, _)| *head).collect();
                    pruned.keep_heads(group.index, &places);
                }
                Unit::Ffn => pruned.keep_ffn(group.index, units.open.len()),
                Unit::AttentionLayer | Unit::FfnLayer => {}
            }
            pruned.encoder_keeps_bias |= units.leaves_bias && self.how == Finalize::Exact;
        }
        if let Some(channels) = self.last_channels() {
            pruned.feature_dummy_weight |= channels.open.iter().any(|(_, gate)| *gate != 1.0);
        }
        if self.folds_closed_channels() {
            pruned
                .feature_norm_width
                .get_or_insert(self.model.architecture.channels());
        }
        pruned
    }

    fn last_channels(&self) -> Option<&OpenUnits> {
        let last = self.model.architecture.conv_dim.len() - 1;
        self.gated.get(&UnitGroup::new(Unit::Conv, last))
    }

    fn folds_closed_channels(&self) -> bool {
        self.how == Finalize::Exact
            && self.model.architecture.feat_proj_layer_norm
            && !self.closed_channels().is_empty()
    }

    /// Returns the channels of the last convolution that are closed.
    fn closed_channels(&self) -> Vec<usize> {
        let Some(channels) = self.last_channels() else {
            return vec![];
        };
        let is_closed = |c: &usize| channels.open.iter().all(|(open, _)| open != c);
        (0..channels.all).filter(is_closed).collect()
    }

    /// Returns the tensors, not yet cut, that differ from the model's own: the dummy weight, and
    /// what takes up the closed channels.
    fn replaced_tensors(&self) -> BTreeMap<String, Vec<f32>> {
        const WEIGHT: &str = "feature_projection.projection.weight";
        const BIAS: &str = "feature_projection.projection.bias";
        const FOLDED: &str = "feature_projection.folded";

        let a = &self.model.architecture;
        let mut replaced = BTreeMap::new();
        if !a.feature_dummy_weight {
            replaced.insert(DUMMY_WEIGHT.to_owned(), vec![1.0; a.channels()]);
        }
        if self.folds_closed_channels() {
            let closed = self.closed_channels();
            let weight = self.values(WEIGHT);
            for (name, norm) in [
                (FOLDED, "feature_projection.layer_norm.weight"),
                (BIAS, "feature_projection.layer_norm.bias"),
            ] {
                let norm = self.values(norm);
                let old = self.values(name);
                let rows = weight.chunks_exact(a.channels()).enumerate();
                let new = rows.map(|(i, row)| {
                    let products = closed.iter().map(|&c| row[c] as f64 * norm[c] as f64);
                    let old = *old.get(i).unwrap_or(&0.0) as f64;
                    (products.sum::<f64>() + old) as f32
                });
                replaced.insert(name.to_owned(), new.collect());
            }
        }
        replaced
    }

    /// Returns a tensor of the model; empty if it has none of that name.
    fn values(&self, name: &str) -> Vec<f32> {
        let tensor = self.model.weights.find(name);
        tensor.map_or(vec![], |tensor| read(tensor).into())
    }

    /// Cuts a tensor to its shape in the smaller model.
    fn cut(&self, tensor: &TensorSpec, mut values: Vec<f32>) -> Vec<f32> {
        // The output bias of a sub-layer that an earlier reference cut removed: it adds nothing.
        if values.is_empty() {
            return vec![0.0; tensor.parameters() as usize];
        }
        let mut entries_behind = 1;
        for dim in tensor.dims.iter().rev() {
            if let Some(units) = dim.group.and_then(|group| self.gated.get(&group)) {
                values = cut_dim(&values, dim, entries_behind, units);
            }
            entries_behind *= dim.len();
        }
        let gate = tensor
            .scaled_by
            .and_then(|group| self.gates.get(&group.to_string()));
        if let Some(gate) = gate {
            values.iter_mut().for_each(|x| *x *= gate[0]);
        }
        values
    }
}

/// Keeps the open units of one dimension, each of whose entries has `entries_behind` values, and
/// multiplies their gates in if the dimension takes them.
fn cut_dim(values: &[f32], dim: &Dim, entries_behind: usize, units: &OpenUnits) -> Vec<f32> {
    let block = dim.size * entries_behind;
    let mut kept = vec![];
    for row in values.chunks_exact(units.all * block) {
        for &(unit, gate) in &units.open {
            let factor = if dim.takes_gates { gate } else { 1.0 };
            let old = &row[unit * block..(unit + 1) * block];
            kept.extend(old.iter().map(|x| x * factor));
        }
    }
    kept
}
