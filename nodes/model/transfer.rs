//! The weights that a student of another shape takes from a model.
use super::components::POSITION_TABLE;
use super::{Architecture, Model, Weights};
use compute::op::PackedWeights;
use compute::random::Key;
use compute::tensor::{param, read};
use std::collections::{BTreeMap, BTreeSet};

/// Which tensors of a student come from a model, and which are drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transfer {
    /// The student's tensor, and the model's that it is a copy of.
    pub taken: Vec<(String, String)>,
    pub drawn: Vec<String>,
    taken_parameters: u64,
    parameters: u64,
}

/// The most names of drawn tensors that are listed.
const LISTED: usize = 8;

impl Architecture {
    /// Plans which tensors of this architecture a model of another one fills: those of equal name
    /// and shape. Layer n, from 1, is filled by the model's layer `layers[n - 1]`, or by layer n.
    pub fn transfer_from(&self, source: &Architecture, layers: Option<&[usize]>) -> Transfer {
        let available: BTreeMap<String, Vec<usize>> = source.tensors().into_iter().collect();
        let mut transfer = Transfer::default();
        for (name, shape) in self.tensors() {
            let parameters: u64 = shape.iter().map(|n| *n as u64).product();
            transfer.parameters += parameters;
            let taken_name = source_name(&name, layers);
            if available.get(&taken_name) == Some(&shape) {
                transfer.taken_parameters += parameters;
                transfer.taken.push((name, taken_name));
            } else {
                transfer.drawn.push(name);
            }
        }
        transfer
    }
}

/// Returns the name of the tensor that fills `name`.
fn source_name(name: &str, layers: Option<&[usize]>) -> String {
    const PREFIX: &str = "encoder.layers.";
    let numbered = name
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split_once('.'));
    let Some((layers, (number, rest))) = layers.zip(numbered) else {
        return name.to_owned();
    };
    // All layers share the table, which stands in the first.
    let layer = number.parse::<usize>().ok().and_then(|n| layers.get(n));
    match layer {
        Some(layer) if name != POSITION_TABLE => format!("{PREFIX}{}.{rest}", layer - 1),
        _ => name.to_owned(),
    }
}

impl Transfer {
    /// Says in a sentence what is taken from `source` and what is drawn.
    pub fn describe(&self, source: &str) -> String {
        let taken = format!(
            "takes {} of {} tensors, {} of {} parameters, from `{source}`",
            self.taken.len(),
            self.taken.len() + self.drawn.len(),
            self.taken_parameters,
            self.parameters
        );
        if self.drawn.is_empty() {
            return taken;
        }
        let listed: Vec<&str> = self.drawn.iter().take(LISTED).map(String::as_str).collect();
        let more = match self.drawn.len() - listed.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{taken}; draws {}{more}", listed.join(", "))
    }
}

impl Model {
    /// Builds a model of another architecture: what `transfer` takes from this model, and random
    /// weights for the rest.
    pub fn transferred(&self, architecture: &Architecture, transfer: &Transfer, key: Key) -> Model {
        let Weights(mut weights) = Model::random(architecture, key).weights;
        let mut taken = BTreeSet::new();
        for (name, from) in &transfer.taken {
            let weight = self.weights.get(from);
            // Two clones of a parameter are one: they would be trained together.
            let weight = match taken.insert(from) {
                true => weight.clone(),
                false => param(read(weight).to_vec()),
            };
            weights.insert(name.clone(), weight);
        }
        Model {
            architecture: architecture.clone(),
            weights: Weights(weights),
            normalize: self.normalize && !architecture.is_fbank(),
            normalize_epsilon: self.normalize_epsilon,
            packed: PackedWeights::default(),
            cmvn: self.cmvn.clone().filter(|cmvn| {
                architecture.is_fbank() && cmvn.mean.len() == architecture.fbank_bins
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small(layers: usize, inner: usize) -> Architecture {
        Architecture {
            conv_dim: vec![4; 7],
            hidden_size: 8,
            num_hidden_layers: layers,
            num_attention_heads: 2,
            intermediate_size: inner,
            num_conv_pos_embeddings: 4,
            num_conv_pos_embedding_groups: 2,
            ..Architecture::default()
        }
    }

    #[test]
    fn a_student_takes_what_fits() {
        let source = Model::random(&small(3, 6), Key::new(1, &["source"]));
        let wanted = small(2, 10);
        let transfer = wanted.transfer_from(&source.architecture, Some(&[3, 1]));
        let student = source.transferred(&wanted, &transfer, Key::new(2, &["student"]));
        let same = |ours: &str, theirs: &str| {
            read(student.weights.get(ours)) == read(source.weights.get(theirs))
        };
        for name in [
            "feature_extractor.conv_layers.3.conv.weight",
            "encoder.pos_conv_embed.conv.weight_v",
            "masked_spec_embed",
        ] {
            assert!(same(name, name), "{name}");
        }
        let weight = "attention.q_proj.weight";
        for (ours, theirs) in [(0, 2), (1, 0)] {
            let name = |layer: usize| format!("encoder.layers.{layer}.{weight}");
            assert!(same(&name(ours), &name(theirs)));
        }
        // Two weights and a bias of the feed-forward of two layers.
        assert_eq!(transfer.drawn.len(), 6);
        let sentence = transfer.describe("teacher");
        assert!(sentence.contains("from `teacher`; draws encoder.layers.0.feed_forward."));
        assert!(!sentence.contains("more"), "{sentence}");
    }

    #[test]
    fn equal_architectures_leave_nothing_to_draw() {
        let a = small(2, 6);
        let transfer = a.transfer_from(&a, None);
        assert!(transfer.drawn.is_empty());
        assert_eq!(transfer.taken.len(), a.tensors().len());
    }
}
