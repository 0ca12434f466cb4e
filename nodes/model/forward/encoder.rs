//! Feature projection, positional convolution and layers.
//!
//! Sites of dropout: 0 after the projection, 1 at the input of the first layer; of layer l, from 0,
//! 2 + 4 l and 3 + 4 l after its sub-layers, 4 + 4 l on attention, 5 + 4 l on inner units.
use super::Forward;
use super::attention::AttentionMaps;
use crate::model::Unit;
use crate::model::components::ComponentKind;
use compute::op::{
    Branch, broadcast, dropout, feed_forward, layer_norm, linear, norm_projection, positional,
    residual, residual_norm, scale, select_frames,
};
use compute::tensor::{Hidden, Track, Vector, put, recomputed, regrouped, split};
use std::collections::BTreeMap;

const WEIGHT_AND_BIAS: [&str; 2] = ["weight", "bias"];

impl<T: Track> Forward<'_, T> {
    /// Maps the extractor's channels to the encoder's width.
    pub(super) fn project(&self, x: Hidden<T>) -> Hidden<T> {
        let a = &self.model.architecture;
        let weights = &self.model.weights;
        let prefix = ComponentKind::FeatureProjection.prefix();
        let projected = if a.is_whisper() {
            x
        } else if a.is_fbank() {
            self.fbank_projection(x)
        } else if let Some(norm_width) = a.feature_norm_width {
            let names = [
                "layer_norm.weight",
                "layer_norm.bias",
                "projection.weight",
                "projection.bias",
                "folded",
            ];
            let weights = weights.all(&prefix, names);
            norm_projection(
                x,
                weights,
                a.layer_norm_eps as f32,
                norm_width,
                self.precision,
            )
        } else {
            let mut x = x;
            if a.feat_proj_layer_norm {
                x = self.norm(x, &format!("{prefix}layer_norm."));
            }
            if a.feature_projection {
                let names = ["projection.weight", "projection.bias"];
                let [weight, bias] = weights.all(&prefix, names);
                x = linear(x, weight, bias, self.precision);
            }
            x
        };
        dropout(projected, self.drops.at(a.feat_proj_dropout, 0))
    }

    /// Returns the input of the first layer: adds positions, and in Base normalises.
    pub(super) fn encoder_input(&self, x: Hidden<T>) -> Hidden<T> {
        let a = &self.model.architecture;
        let mut x = if a.is_whisper() {
            self.whisper_positions(x)
        } else if a.conv_pos_depth > 1 {
            self.stacked_positions(x)
        } else {
            let weights = self.model.weights.all(
                &ComponentKind::PositionalConvolution.prefix(),
                ["weight_g", "weight_v", "bias"],
            );
            positional(x, weights, a.num_conv_pos_embedding_groups, self.precision)
        };
        if !a.do_stable_layer_norm {
            x = self.encoder_norm(x);
        }
        dropout(x, self.drops.at(a.hidden_dropout, 1))
    }

    pub(super) fn encoder_norm(&self, x: Hidden<T>) -> Hidden<T> {
        self.norm(x, &ComponentKind::EncoderNorm.prefix())
    }

    /// Joins frames to one by a convolution, if the model has it; what is left of a row is dropped.
    pub(super) fn reduced_time(&self, x: Hidden<T>) -> Hidden<T> {
        let joined = self.model.architecture.time_reduction;
        if joined == 1 {
            return x;
        }
        let mut keep = vec![];
        for frames in x.spans.lengths() {
            let whole = frames / joined * joined;
            keep.extend((0..frames).map(|t| t < whole));
        }
        let prefix = ComponentKind::TimeReduction.prefix();
        let [weight, bias] = self.model.weights.all(&prefix, WEIGHT_AND_BIAS);
        let width = joined * x.width();
        let groups = regrouped(select_frames(x, &keep), width);
        linear(groups, weight, bias, self.precision)
    }

    /// Runs a layer, whose attention may use a map of `maps` or leave one there.
    pub(super) fn layer(&self, l: usize, x: Hidden<T>, maps: &mut AttentionMaps<T>) -> Hidden<T> {
        let x = self.sub_layer(x, ComponentKind::AttentionNorm(l), 2 + 4 * l, |x| {
            self.attention(l, x, maps)
        });
        self.sub_layer(x, ComponentKind::FeedForwardNorm(l), 3 + 4 * l, |x| {
            self.feed_forward(l, x)
        })
    }

    /// Runs a layer that retains its input alone, and is computed again for its gradients.
    pub(super) fn recomputed_layer(&self, l: usize, x: Hidden<T>) -> Hidden<T> {
        let (x, tape) = x.split();
        let model = self.model.clone();
        let drops = self.drops;
        let precision = self.precision;
        let average_gradients = self.average_gradients;
        let gates: BTreeMap<String, Vector> = self
            .gates
            .iter()
            .map(|(name, gate)| (name.clone(), split(gate.clone()).0))
            .collect();
        recomputed(tape, move |tape: T| {
            let gates = gates
                .iter()
                .map(|(name, gate)| (name.clone(), put(gate, &tape)))
                .collect();
            let x = x.on(&tape);
            Forward {
                model: &model,
                gates: &gates,
                drops,
                precision,
                recompute: false,
                average_gradients,
                frozen_parts: 0,
                tape,
            }
            .layer(l, x, &mut AttentionMaps::new(&[]))
        })
    }

    /// Adds a branch to x. Base: LN(x + drop(branch(x))); Large: x + drop(branch(LN(x))).
    fn sub_layer(
        &self,
        x: Hidden<T>,
        norm: ComponentKind,
        drop_site: usize,
        branch: impl FnOnce(Hidden<T>) -> Option<Branch<T>>,
    ) -> Hidden<T> {
        let a = &self.model.architecture;
        let norm = norm.prefix();
        let drop = self.drops.at(a.hidden_dropout, drop_site);
        if a.do_stable_layer_norm {
            match branch(self.norm(x.clone(), &norm)) {
                Some(branch) => residual(x, branch.whole(), drop),
                None => x,
            }
        } else {
            let Some(branch) = branch(x.clone()) else {
                return self.norm(x, &norm);
            };
            let weights = self.model.weights.all(&norm, WEIGHT_AND_BIAS);
            let epsilon = a.layer_norm_eps as f32;
            residual_norm(x, branch, drop, weights, epsilon, self.precision)
        }
    }

    /// Returns `None` if the feed-forward is gone and has left no bias.
    fn feed_forward(&self, l: usize, x: Hidden<T>) -> Option<Branch<T>> {
        let a = &self.model.architecture;
        let prefix = ComponentKind::FeedForward(l).prefix();
        if a.ffn(l) == 0 {
            return self.bias_alone(&x, &format!("{prefix}output_dense.bias"));
        }
        let names = [
            "intermediate_dense.weight",
            "intermediate_dense.bias",
            "output_dense.weight",
            "output_dense.bias",
        ];
        let weights = self.model.weights.all(&prefix, names);
        let drop = self.drops.at(a.activation_dropout, 5 + 4 * l);
        let gate = self.gate(Unit::Ffn, l);
        let y = feed_forward(x, weights, gate, drop, self.precision);
        Some(self.scaled_by_gate(y, Unit::FfnLayer, l))
    }

    /// Multiplies a sub-layer's output by the gate on the sub-layer as a whole, if it has one.
    pub(super) fn scaled_by_gate(&self, branch: Branch<T>, unit: Unit, l: usize) -> Branch<T> {
        match self.gate(unit, l) {
            Some(gate) => Branch::of(scale(branch.whole(), gate)),
            None => branch,
        }
    }

    /// Returns what a sub-layer without units still adds: its output bias, if the model has it.
    pub(super) fn bias_alone(&self, x: &Hidden<T>, name: &str) -> Option<Branch<T>> {
        let bias = self.model.weights.find(name)?;
        let spans = x.spans.clone();
        Some(Branch::of(broadcast(bias, spans, self.tape.clone())))
    }

    fn norm(&self, x: Hidden<T>, prefix: &str) -> Hidden<T> {
        let [gamma, beta] = self.model.weights.all(prefix, WEIGHT_AND_BIAS);
        let epsilon = self.model.architecture.layer_norm_eps as f32;
        layer_norm(x, gamma, beta, epsilon, self.precision)
    }
}
