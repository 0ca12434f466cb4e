//! Self-attention, and WavLM's gated bias by relative position.
use super::tensor::{Dim, Initial, LINEAR, TensorSpec, linear};
use super::{Component, ComponentKind, Elements, Macs};
use crate::model::{Architecture, Unit, UnitGroup};

/// WavLM's position bias. All layers share it, also where the first has lost its attention.
pub(crate) const POSITION_TABLE: &str = "encoder.layers.0.attention.rel_attn_embed.weight";

/// Outputs of the linear map of a head's input that gates the position bias.
const GATE_OUTPUTS: usize = 8;

/// Describes the table of position biases, if any layer reads it. DPHuBERT does not count it.
pub(super) fn position_table(a: &Architecture) -> Option<Component> {
    let dims = [Dim::fixed(a.num_buckets), Dim::fixed(a.num_attention_heads)];
    let table = TensorSpec::new(POSITION_TABLE.into(), &dims, LINEAR).not_expected();
    let is_read = (0..a.num_hidden_layers).any(|layer| a.heads(layer) > 0);
    (a.has_position_bias() && is_read)
        .then(|| Component::new(ComponentKind::PositionTable, vec![table]))
}

/// Describes the attention of a layer. One without heads is gone; its output bias may be stored.
/// One that uses the map of a layer before it has no queries and keys, and computes one product for
/// each pair of frames instead of two.
///
/// Retained are the queries, keys, values and their mixture, and a map that another layer uses.
pub(super) fn attention(a: &Architecture, layer: usize) -> Component {
    let kind = ComponentKind::Attention(layer);
    let prefix = kind.prefix();
    let whole = UnitGroup::new(Unit::AttentionLayer, layer);
    let width = Dim::fixed(a.hidden_size);
    let heads = Dim::units(
        UnitGroup::new(Unit::Head, layer),
        a.heads(layer),
        a.head_dim(),
    );
    let present = a.heads(layer) > 0;
    let reuses = a.reuses_attention(layer);
    let inputs: &[&str] = if reuses {
        &["v_proj"]
    } else {
        &["k_proj", "v_proj", "q_proj"]
    };

    let mut tensors = vec![];
    if present {
        for map in inputs {
            tensors.extend(linear(&format!("{prefix}{map}."), heads, width));
        }
        // Whisper's keys have no bias.
        let key_bias = format!("{prefix}k_proj.bias");
        tensors.retain(|tensor| !a.is_whisper() || tensor.name != key_bias);
        let name = format!("{prefix}out_proj.weight");
        tensors.push(TensorSpec::new(
            name,
            &[width, heads.taking_gates()],
            LINEAR,
        ));
        if a.has_position_bias() && !reuses {
            tensors.extend(position_gate(a, &prefix));
        }
    }
    let bias = TensorSpec::new(format!("{prefix}out_proj.bias"), &[width], Initial::Zeros);
    tensors.push(TensorSpec {
        scaled_by: Some(whole),
        ..bias.stored_if(present || a.encoder_keeps_bias)
    });

    let gate_macs = if a.has_position_bias() && !reuses {
        GATE_OUTPUTS * heads.len()
    } else {
        0
    };
    Component {
        whole: present.then_some(whole),
        macs: Macs {
            per_frame: (inputs.len() + 1) * width.len() * heads.len() + gate_macs,
            per_pair: if reuses { 1 } else { 2 } * heads.len(),
            ..Macs::default()
        },
        retained: Elements {
            f32s: 0,
            operands: (inputs.len() + 1) * heads.len(),
        },
        retained_pairs: if a.hands_on_attention(layer) {
            Elements {
                f32s: a.heads(layer),
                operands: a.heads(layer),
            }
        } else {
            Elements::default()
        },
        ..Component::new(kind, tensors)
    }
}

/// Describes the gate on the position bias, numbered by the heads before pruning.
fn position_gate(a: &Architecture, prefix: &str) -> Vec<TensorSpec> {
    let outputs = Dim::fixed(GATE_OUTPUTS);
    let one = Dim::fixed(1);
    let constant = TensorSpec::new(
        format!("{prefix}gru_rel_pos_const"),
        &[one, Dim::fixed(a.num_attention_heads), one, one],
        Initial::Ones,
    );
    let mut tensors = linear(
        &format!("{prefix}gru_rel_pos_linear."),
        outputs,
        Dim::fixed(a.head_dim()),
    );
    tensors.push(constant);
    tensors.into_iter().map(TensorSpec::not_expected).collect()
}
