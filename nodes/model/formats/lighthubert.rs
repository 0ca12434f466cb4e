//! Checkpoints of LightHuBERT: a HuBERT whose layers were trained to work in part too, a supernet. A
//! subnet has the leading rows and columns of its tensors; of the inner units of a feed-forward, which
//! are several times as many as the channels, the leading ones of each of so many parts.
//!
//! The checkpoint does not choose one. LightHuBERT's code and s3prl's upstreams take the same: of
//! stage 1 the whole, of a supernet the subnet of a size, as wide as its heads are together, with four
//! times as many inner units.
//!
//! The positional convolution is normed before it is cut: with the weight w = g v / ‖v‖, norms over a
//! tap, the subnet has the leading block w' of w, stored as v = w' and g = ‖w'‖.
use super::StoredModel;
use super::encoder::without;
use super::fairseq::Config;
use crate::data::torch::{TorchFile, Value};
use crate::model::Architecture;
use crate::model::stored::{Numbers, Stored, StoredTensor, described};

/// What trained a checkpoint, as fairseq calls it: a supernet, or stage 1 before it.
const SUPERNET: &str = "hubert_pruner";
const STAGE_1: &str = "student_hubert";

/// Ends of `pruner_supernet`, the file that describes a supernet, and the heads of its subnet.
const HEADS: [(&str, usize); 2] = [("base.yaml", 10), ("small.yaml", 6)];

/// Inner units of a feed-forward for a channel, in the supernet and in the subnet.
const RATIO: usize = 4;

const DIRECTIONS: &str = "encoder.pos_conv_embed.conv.weight_v";
const NORMS: &str = "encoder.pos_conv_embed.conv.weight_g";

/// Heads over the layers of the whole, which do not fit a subnet.
const TASK_HEADS: [&str; 3] = ["layer_pred_heads.", "final_proj.", "label_embs_concat"];

/// Whether a file of fairseq's form was trained by LightHuBERT's code.
pub(super) fn is_lighthubert(cfg: Value) -> bool {
    let name = cfg.get("model").and_then(|model| model.get("_name"));
    let name = name.and_then(Value::text);
    name.is_some_and(|name| [SUPERNET, STAGE_1].contains(&name))
}

/// Reads `cfg` and `model`.
pub(super) fn lighthubert(file: TorchFile) -> Result<StoredModel, String> {
    let root = file.root();
    let state = root.get("model").ok_or("has no `model`")?;
    let tensors = described(state);
    let mut config = Config::of_cfg(root.get("cfg").ok_or("has no `cfg`")?)?;
    let heads = match config.name.as_str() {
        STAGE_1 => None,
        _ => Some(subnet_heads(&config.model.text("pruner_supernet", "")?)?),
    };
    config.name = "hubert".into();
    let whole = config.stored_model(file, "lighthubert", tensors, None)?;
    let whole = StoredModel {
        stored: without(whole.stored, &TASK_HEADS),
        ..whole
    };
    match heads {
        None => Ok(whole),
        Some(heads) => subnet(whole, heads),
    }
}

fn subnet_heads(supernet: &str) -> Result<usize, String> {
    let file = supernet.to_lowercase();
    let known = HEADS.iter().find(|(end, _)| file.ends_with(end));
    known.map(|(_, heads)| *heads).ok_or_else(|| {
        format!(
            "is a supernet of LightHuBERT that \"{}\" describes; this version knows the subnets of \
             Supernet-Base.yaml and Supernet-Small.yaml. The nearest is DPHuBERT or a HuBERT",
            crate::data::printable::printable(supernet)
        )
    })
}

/// Cuts the subnet with this number of heads out of the whole.
fn subnet(mut whole: StoredModel, heads: usize) -> Result<StoredModel, String> {
    let a = whole.architecture;
    a.validate()?;
    if heads > a.num_attention_heads || a.num_attention_heads == 0 {
        return Err(format!(
            "is a supernet of LightHuBERT with {} heads, but its subnet has {heads}",
            a.num_attention_heads
        ));
    }
    let width = heads * a.head_dim();
    let part = Architecture {
        hidden_size: width,
        num_attention_heads: heads,
        intermediate_size: RATIO * width,
        ..a.clone()
    };
    if a.intermediate_size != RATIO * a.hidden_size {
        return Err(format!(
            "is a supernet of LightHuBERT of {} channels, but its feed-forwards have {} units",
            a.hidden_size, a.intermediate_size
        ));
    }
    apply_norms(&mut whole.stored, &a)?;
    let mut stored = whole.stored.leading(&part.tensors(), inner_units);
    norm_again(&mut stored, &part)?;
    Ok(StoredModel {
        architecture: part,
        stored,
        ..whole
    })
}

/// Returns which dimension of a tensor numbers inner units, and in how many parts.
fn inner_units(name: &str) -> Option<(usize, usize)> {
    let (_, name) = name.split_once(".feed_forward.")?;
    match name {
        "intermediate_dense.weight" | "intermediate_dense.bias" => Some((0, RATIO)),
        "output_dense.weight" => Some((1, RATIO)),
        _ => None,
    }
}

/// Puts the weight of the positional convolution in place of its directions.
fn apply_norms(stored: &mut Stored, a: &Architecture) -> Result<(), String> {
    let taps = a.num_conv_pos_embeddings;
    let mut weight = take(stored, a, DIRECTIONS)?;
    let norms = take(stored, a, NORMS)?;
    let scales = norms.iter().zip(tap_norms(&weight, taps));
    let scales: Vec<f32> = scales.map(|(g, norm)| (*g as f64 / norm) as f32).collect();
    for row in weight.chunks_exact_mut(taps) {
        for (w, scale) in row.iter_mut().zip(&scales) {
            *w *= scale;
        }
    }
    put(stored, a, DIRECTIONS, weight);
    Ok(())
}

/// Adds the norms of the taps to a weight that stands in place of the directions.
fn norm_again(stored: &mut Stored, a: &Architecture) -> Result<(), String> {
    let weight = take(stored, a, DIRECTIONS)?;
    let norms = tap_norms(&weight, a.num_conv_pos_embeddings);
    let norms = norms.into_iter().map(|norm| norm as f32).collect();
    put(stored, a, DIRECTIONS, weight);
    put(stored, a, NORMS, norms);
    Ok(())
}

/// Returns the norm of each tap, the last dimension of the weight.
fn tap_norms(weight: &[f32], taps: usize) -> Vec<f64> {
    let mut squares = vec![0.0; taps];
    for (i, w) in weight.iter().enumerate() {
        squares[i % taps] += (*w as f64).powi(2);
    }
    squares.into_iter().map(f64::sqrt).collect()
}

fn shape(a: &Architecture, name: &str) -> Vec<usize> {
    let mut tensors = a.tensors().into_iter();
    let found = tensors.find(|(known, _)| known == name);
    found.map(|(_, shape)| shape).unwrap_or_default()
}

fn take(stored: &mut Stored, a: &Architecture, name: &str) -> Result<Vec<f32>, String> {
    let taken = stored.take(name, &shape(a, name));
    taken.map_err(|error| error.to_string())
}

fn put(stored: &mut Stored, a: &Architecture, name: &str, values: Vec<f32>) {
    let tensor = StoredTensor {
        saved_as: name.to_owned(),
        shape: shape(a, name),
        numbers: Numbers::Read(values),
    };
    stored.tensors.insert(name.to_owned(), tensor);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supernet_has_the_subnet_of_its_size() {
        assert_eq!(subnet_heads("/blob/config/Supernet-Base.yaml"), Ok(10));
        assert_eq!(subnet_heads("small.yaml"), Ok(6));
        let error = subnet_heads("/blob/Supernet-Tiny.yaml").unwrap_err();
        assert!(
            error.contains("that \"/blob/Supernet-Tiny.yaml\" describes"),
            "{error}"
        );
    }
}
