//! The smaller dense model that a model with fixed gates is: closed units are cut out, soft gates of kept ones go into
//! the weights that read them.
//!
//! A convolution's gate goes into the next one's input weights, the last one's into `dummy_weight`, because a norm
//! follows. That norm has statistics over all C channels, the closed ones being 0; so after the cut it still divides by C
//! (`feature_norm_width`), and what the closed columns of the projection contributed, W_c ((0 - mean) rstd γ_c + β_c),
//! becomes -mean rstd `folded` plus a bias: `folded` = Σ_closed W_c γ_c, bias += Σ_closed W_c β_c. The reference form
//! leaves that out.
//!
//! A head's or FFN unit's gate goes into its columns of the output map, a whole sub-layer's into all of that map, bias
//! too. A sub-layer whose own gate closes is gone; one that is open but has no units left still adds its output bias
//! (exact), or is gone (reference).
//!
//! WavLM's position gates and biases are numbered by the heads before pruning: their tensors stay whole, and
//! `encoder_remaining_heads` says which heads are left.
use super::Finalize;
use crate::model::{Architecture, Model, Weights};
use compute::tensor::{param, read};
use std::collections::BTreeMap;

/// Gates by vector, as [`super::vectors`] names them; vectors that are not named are open.
pub type Fixed = BTreeMap<String, Vec<f32>>;

pub fn shrink(model: &Model, gates: &Fixed, how: Finalize) -> Model {
    let mut cut = Cut {
        from: model,
        tensors: BTreeMap::new(),
        to: model.architecture.clone(),
        gates,
        how,
    };
    cut.convolutions();
    for layer in 0..model.architecture.num_hidden_layers {
        cut.attention(layer);
        cut.feed_forward(layer);
    }
    cut.model()
}

struct Cut<'a> {
    from: &'a Model,
    /// Tensors that differ from the model's; an absent one is the model's own.
    tensors: BTreeMap<String, Vec<f32>>,
    to: Architecture,
    gates: &'a Fixed,
    how: Finalize,
}

/// Which units stay, and with which factor.
type Kept = Vec<(usize, f32)>;

impl Cut<'_> {
    fn kept(&self, vector: &str, all: usize) -> Kept {
        match self.gates.get(vector) {
            Some(z) => z
                .iter()
                .copied()
                .enumerate()
                .filter(|(_, z)| *z > 0.0)
                .collect(),
            None => (0..all).map(|i| (i, 1.0)).collect(),
        }
    }

    fn read(&self, name: &str) -> Vec<f32> {
        self.tensors.get(name).cloned().unwrap_or_else(|| {
            self.from
                .weights
                .find(name)
                .map_or(vec![], |p| read(p).into())
        })
    }

    /// Keeps blocks of `size` numbers, each unit's.
    fn rows(&mut self, name: &str, kept: &Kept, size: usize) {
        let old = self.read(name);
        if !old.is_empty() {
            let new = kept
                .iter()
                .flat_map(|&(u, _)| old[u * size..(u + 1) * size].iter().copied())
                .collect();
            self.tensors.insert(name.to_owned(), new);
        }
    }

    /// Keeps and scales blocks of `size` numbers, each unit's, in every row.
    fn columns(&mut self, name: &str, kept: &Kept, units: usize, size: usize) {
        let old = self.read(name);
        let scaled = |row: &[f32]| -> Vec<f32> {
            kept.iter()
                .flat_map(|&(u, z)| row[u * size..(u + 1) * size].iter().map(move |w| w * z))
                .collect()
        };
        self.tensors.insert(
            name.to_owned(),
            old.chunks_exact(units * size).flat_map(scaled).collect(),
        );
    }

    fn scale(&mut self, name: &str, by: f32) {
        let new = self.read(name).iter().map(|x| x * by).collect();
        self.tensors.insert(name.to_owned(), new);
    }

    fn convolutions(&mut self) {
        let a = &self.from.architecture;
        let mut before: Option<Kept> = None;
        for (i, &channels) in a.conv_dim.iter().enumerate() {
            let at = format!("feature_extractor.conv_layers.{i}");
            let kept = self.kept(&format!("conv.{i}"), channels);
            let inputs = if i == 0 { 1 } else { a.conv_dim[i - 1] };
            if let Some(before) = &before {
                self.columns(
                    &format!("{at}.conv.weight"),
                    before,
                    inputs,
                    a.conv_kernel[i],
                );
            }
            let left = before.as_ref().map_or(inputs, Vec::len);
            self.rows(&format!("{at}.conv.weight"), &kept, left * a.conv_kernel[i]);
            for vector in ["conv.bias", "layer_norm.weight", "layer_norm.bias"] {
                self.rows(&format!("{at}.{vector}"), &kept, 1);
            }
            self.to.conv_dim[i] = kept.len();
            before = Some(kept);
        }
        self.projection(&before.unwrap_or_default());
    }

    fn projection(&mut self, kept: &Kept) {
        let (a, at) = (&self.from.architecture, "feature_projection.");
        let [dummy, weight, bias] = [
            "feature_extractor.dummy_weight",
            "feature_projection.projection.weight",
            "feature_projection.projection.bias",
        ];
        if a.feature_dummy_weight || kept.iter().any(|(_, z)| *z != 1.0) {
            let old = self.read(dummy);
            let new = kept
                .iter()
                .map(|&(c, z)| old.get(c).unwrap_or(&1.0) * z)
                .collect();
            self.tensors.insert(dummy.into(), new);
            self.to.feature_dummy_weight = true;
        }
        let channels = a.channels();
        let closed: Vec<usize> = (0..channels)
            .filter(|c| kept.iter().all(|(k, _)| k != c))
            .collect();
        if closed.is_empty() {
            return;
        }
        if self.how == Finalize::Exact && a.feat_proj_layer_norm {
            let sums = |w: &[f32], of: &[f32]| -> Vec<f64> {
                w.chunks_exact(channels)
                    .map(|row| closed.iter().map(|&c| row[c] as f64 * of[c] as f64).sum())
                    .collect()
            };
            let w = self.read(weight);
            for (name, norm) in [
                ("feature_projection.folded", "layer_norm.weight"),
                (bias, "layer_norm.bias"),
            ] {
                let (old, add) = (
                    self.read(name),
                    sums(&w, &self.read(&format!("{at}{norm}"))),
                );
                let new = add
                    .iter()
                    .enumerate()
                    .map(|(i, a)| (a + *old.get(i).unwrap_or(&0.0) as f64) as f32)
                    .collect();
                self.tensors.insert(name.into(), new);
            }
            self.to.feature_norm_width.get_or_insert(channels);
        }
        let open: Kept = kept.iter().map(|&(c, _)| (c, 1.0)).collect(); // the dummy weight carries the factors
        self.columns(weight, &open, channels, 1);
        self.rows("feature_projection.layer_norm.weight", kept, 1);
        self.rows("feature_projection.layer_norm.bias", kept, 1);
    }

    /// What stays of a sub-layer's `all` units, with the gate of the whole in their factors; None where nothing is gated.
    /// Folds that gate into the output bias.
    fn sub_layer(&mut self, vectors: [String; 2], all: usize, bias: &str) -> Option<Kept> {
        let [whole, each] = &vectors;
        if all == 0 || vectors.iter().all(|v| !self.gates.contains_key(v)) {
            return None;
        }
        let factor = self.gates.get(whole).map_or(1.0, |z| z[0]);
        let mut kept = self.kept(each, all);
        kept.retain(|_| factor > 0.0);
        kept.iter_mut().for_each(|(_, z)| *z *= factor);
        self.scale(bias, factor);
        self.to.encoder_keeps_bias |=
            kept.is_empty() && factor > 0.0 && self.how == Finalize::Exact;
        Some(kept)
    }

    fn attention(&mut self, layer: usize) {
        let (a, at) = (
            &self.from.architecture,
            format!("encoder.layers.{layer}.attention."),
        );
        let (heads, d) = (a.heads(layer), a.head_dim());
        let vectors = [format!("attention-layer.{layer}"), format!("head.{layer}")];
        let Some(kept) = self.sub_layer(vectors, heads, &format!("{at}out_proj.bias")) else {
            return;
        };
        for p in ["q_proj", "k_proj", "v_proj"] {
            self.rows(&format!("{at}{p}.weight"), &kept, d * a.hidden_size);
            self.rows(&format!("{at}{p}.bias"), &kept, d);
        }
        self.columns(&format!("{at}out_proj.weight"), &kept, heads, d);
        let places: Vec<usize> = kept.iter().map(|&(head, _)| head).collect();
        self.to.keep_heads(layer, &places);
    }

    fn feed_forward(&mut self, layer: usize) {
        let (a, at) = (
            &self.from.architecture,
            format!("encoder.layers.{layer}.feed_forward."),
        );
        let inner = a.ffn(layer);
        let vectors = [format!("ffn-layer.{layer}"), format!("ffn.{layer}")];
        let Some(kept) = self.sub_layer(vectors, inner, &format!("{at}output_dense.bias")) else {
            return;
        };
        self.rows(
            &format!("{at}intermediate_dense.weight"),
            &kept,
            a.hidden_size,
        );
        self.rows(&format!("{at}intermediate_dense.bias"), &kept, 1);
        self.columns(&format!("{at}output_dense.weight"), &kept, inner, 1);
        let before = || (0..a.num_hidden_layers).map(|l| a.ffn(l)).collect();
        self.to
            .encoder_ff_interm_features
            .get_or_insert_with(before)[layer] = kept.len();
    }

    fn model(self) -> Model {
        let tensor = |(name, shape): (String, Vec<usize>)| {
            // A sub-layer that an earlier, inexact cut removed with its bias adds nothing.
            let mut values = self.read(&name);
            values.resize(shape.iter().product(), 0.0);
            (name, param(values))
        };
        let weights = Weights(self.to.tensors().into_iter().map(tensor).collect());
        Model {
            architecture: self.to,
            weights,
            normalize: self.from.normalize,
        }
    }
}
