//! Feature projection, positional convolution and layers.
//!
//! Sites of dropout: 0 after the projection, 1 at the input of the first layer; of layer l, from 0,
//! 2 + 4 l and 3 + 4 l after its sub-layers, 4 + 4 l on attention, 5 + 4 l on inner units.
use super::Forward;
use crate::model::Unit;
use crate::model::components::{ComponentKind, POSITION_TABLE};
use compute::op::{
    Branch, PositionBias, broadcast, dropout, feed_forward, layer_norm, linear, norm_projection,
    position_gate, positional, residual, residual_norm, scale, self_attention,
};
use compute::tensor::{Hidden, Track, Vector, put, recomputed, split};
use std::collections::BTreeMap;

const WEIGHT_AND_BIAS: [&str; 2] = ["weight", "bias"];

impl<T: Track> Forward<'_, T> {
    /// Maps the extractor's channels to the encoder's width.
    pub(super) fn project(&self, x: Hidden<T>) -> Hidden<T> {
        let a = &self.model.architecture;
        let weights = &self.model.weights;
        let prefix = ComponentKind::FeatureProjection.prefix();
        let projected = if let Some(norm_width) = a.feature_norm_width {
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
        let weights = self.model.weights.all(
            &ComponentKind::PositionalConvolution.prefix(),
            ["weight_g", "weight_v", "bias"],
        );
        let mut x = positional(x, weights, a.num_conv_pos_embedding_groups, self.precision);
        if !a.do_stable_layer_norm {
            x = self.encoder_norm(x);
        }
        dropout(x, self.drops.at(a.hidden_dropout, 1))
    }

    pub(super) fn encoder_norm(&self, x: Hidden<T>) -> Hidden<T> {
        self.norm(x, &ComponentKind::EncoderNorm.prefix())
    }

    pub(super) fn layer(&self, l: usize, x: Hidden<T>) -> Hidden<T> {
        let x = self.sub_layer(x, ComponentKind::AttentionNorm(l), 2 + 4 * l, |x| {
            self.attention(l, x)
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
                tape,
            }
            .layer(l, x)
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

    /// Returns `None` if the attention is gone and has left no bias.
    fn attention(&self, l: usize, x: Hidden<T>) -> Option<Branch<T>> {
        let a = &self.model.architecture;
        let prefix = ComponentKind::Attention(l).prefix();
        if a.heads(l) == 0 {
            return self.bias_alone(&x, &format!("{prefix}out_proj.bias"));
        }
        let names = [
            "q_proj.weight",
            "q_proj.bias",
            "k_proj.weight",
            "k_proj.bias",
            "v_proj.weight",
            "v_proj.bias",
            "out_proj.weight",
            "out_proj.bias",
        ];
        let weights = self.model.weights.all(&prefix, names);
        let gate = self.gate(Unit::Head, l);
        let bias = a
            .has_position_bias()
            .then(|| self.position_bias(l, x.clone()));
        let drop = self.drops.at(a.attention_dropout, 4 + 4 * l);
        let y = self_attention(x, weights, a.heads(l), gate, bias, drop, self.precision);
        Some(self.scaled_by_gate(y, Unit::AttentionLayer, l))
    }

    /// Returns WavLM's bias: every layer gates the shared table by its own input.
    fn position_bias(&self, l: usize, x: Hidden<T>) -> PositionBias<'_, T> {
        let a = &self.model.architecture;
        let weights = &self.model.weights;
        let columns = a.remaining_heads(l);
        let names = [
            "gru_rel_pos_linear.weight",
            "gru_rel_pos_linear.bias",
            "gru_rel_pos_const",
        ];
        let prefix = ComponentKind::Attention(l).prefix();
        let gate = position_gate(x, weights.all(&prefix, names), &columns);
        PositionBias {
            table: weights.get(POSITION_TABLE),
            columns,
            buckets: a.num_buckets,
            farthest: a.max_bucket_distance,
            gate,
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
    fn scaled_by_gate(&self, branch: Branch<T>, unit: Unit, l: usize) -> Branch<T> {
        match self.gate(unit, l) {
            Some(gate) => Branch::of(scale(branch.whole(), gate)),
            None => branch,
        }
    }

    /// Returns what a sub-layer without units still adds: its output bias, if the model has it.
    fn bias_alone(&self, x: &Hidden<T>, name: &str) -> Option<Branch<T>> {
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
