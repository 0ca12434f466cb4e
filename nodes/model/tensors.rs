//! What stands in an architecture's model.safetensors.
use super::{Architecture, ExtractNorm, MASK_EMBEDDING};

/// The position bias of all layers, also where the first has lost its attention.
pub const POSITION_TABLE: &str = "encoder.layers.0.attention.rel_attn_embed.weight";

impl Architecture {
    /// Name and shape of every tensor of its model.safetensors, in the model's order.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (d, mut list) = (self.hidden_size, vec![]);
        let mut put = |name: String, shape: &[usize]| list.push((name, shape.to_vec()));
        if self.has_mask_embedding() {
            put(MASK_EMBEDDING.into(), &[d]);
        }
        let mut from = 1;
        for (i, (&to, &k)) in self.conv_dim.iter().zip(&self.conv_kernel).enumerate() {
            let at = format!("feature_extractor.conv_layers.{i}");
            put(format!("{at}.conv.weight"), &[to, from, k]);
            if self.conv_bias {
                put(format!("{at}.conv.bias"), &[to]);
            }
            if i == 0 || self.feat_extract_norm == ExtractNorm::Layer {
                put(format!("{at}.layer_norm.weight"), &[to]);
                put(format!("{at}.layer_norm.bias"), &[to]);
            }
            from = to;
        }
        if self.feature_dummy_weight {
            put("feature_extractor.dummy_weight".into(), &[from]);
        }
        if self.feat_proj_layer_norm {
            put("feature_projection.layer_norm.weight".into(), &[from]);
            put("feature_projection.layer_norm.bias".into(), &[from]);
        }
        if self.feature_projection {
            put("feature_projection.projection.weight".into(), &[d, from]);
            put("feature_projection.projection.bias".into(), &[d]);
        }
        if self.feature_norm_width.is_some() {
            put("feature_projection.folded".into(), &[d]);
        }
        let (k, groups) = (
            self.num_conv_pos_embeddings,
            self.num_conv_pos_embedding_groups,
        );
        put("encoder.pos_conv_embed.conv.bias".into(), &[d]);
        put("encoder.pos_conv_embed.conv.weight_g".into(), &[1, 1, k]);
        put(
            "encoder.pos_conv_embed.conv.weight_v".into(),
            &[d, d / groups, k],
        );
        put("encoder.layer_norm.weight".into(), &[d]);
        put("encoder.layer_norm.bias".into(), &[d]);
        let layers = 0..self.num_hidden_layers;
        if self.has_position_bias() && layers.clone().any(|l| self.heads(l) > 0) {
            put(
                POSITION_TABLE.into(),
                &[self.num_buckets, self.num_attention_heads],
            );
        }
        for l in layers {
            let (at, inner, f) = (
                format!("encoder.layers.{l}"),
                self.heads(l) * self.head_dim(),
                self.ffn(l),
            );
            if inner > 0 {
                for p in ["k_proj", "v_proj", "q_proj"] {
                    put(format!("{at}.attention.{p}.weight"), &[inner, d]);
                    put(format!("{at}.attention.{p}.bias"), &[inner]);
                }
                put(format!("{at}.attention.out_proj.weight"), &[d, inner]);
                if self.has_position_bias() {
                    put(
                        format!("{at}.attention.gru_rel_pos_linear.weight"),
                        &[8, self.head_dim()],
                    );
                    put(format!("{at}.attention.gru_rel_pos_linear.bias"), &[8]);
                    put(
                        format!("{at}.attention.gru_rel_pos_const"),
                        &[1, self.num_attention_heads, 1, 1],
                    );
                }
            }
            if inner > 0 || self.encoder_keeps_bias {
                put(format!("{at}.attention.out_proj.bias"), &[d]);
            }
            put(format!("{at}.layer_norm.weight"), &[d]);
            put(format!("{at}.layer_norm.bias"), &[d]);
            if f > 0 {
                put(
                    format!("{at}.feed_forward.intermediate_dense.weight"),
                    &[f, d],
                );
                put(format!("{at}.feed_forward.intermediate_dense.bias"), &[f]);
                put(format!("{at}.feed_forward.output_dense.weight"), &[d, f]);
            }
            if f > 0 || self.encoder_keeps_bias {
                put(format!("{at}.feed_forward.output_dense.bias"), &[d]);
            }
            put(format!("{at}.final_layer_norm.weight"), &[d]);
            put(format!("{at}.final_layer_norm.bias"), &[d]);
        }
        list
    }
}
