//! The weights of a student that stand still: no gradient, no decay, no place in the optimizer.
use crate::data::suggestion::suggestion;
use crate::model::Architecture;
use crate::node::OptionError;
use std::collections::BTreeSet;

/// The option `frozen`: what the names of tensors that stand still begin with.
#[derive(Clone, Copy)]
pub(super) struct Frozen<'a>(pub(super) &'a [String]);

impl Frozen<'_> {
    pub(super) fn holds(self, tensor: &str) -> bool {
        self.0.iter().any(|prefix| tensor.starts_with(prefix))
    }

    /// Whether no tensor of the extractor is trained.
    pub(super) fn holds_extractor(self, architecture: &Architecture) -> bool {
        let tensors = architecture.tensors().into_iter();
        tensors
            .filter(|(name, _)| name.starts_with("feature_extractor."))
            .all(|(name, _)| self.holds(&name))
    }

    /// Returns the first parts of the encoder that stand still, as [`Forward::frozen_parts`] counts
    /// them. `trained_mask` says that the mask embedding is trained; the layers in `mapped` send
    /// their attention maps, which are on the tape.
    ///
    /// [`Forward::frozen_parts`]: crate::model::Forward::frozen_parts
    pub(super) fn parts(
        self,
        architecture: &Architecture,
        trained_mask: bool,
        mapped: &[usize],
    ) -> usize {
        let tensors = architecture.tensors();
        let stands_still = |prefix: &str| {
            let mut of_part = tensors.iter().filter(|(name, _)| name.starts_with(prefix));
            of_part.all(|(name, _)| self.holds(name))
        };
        if !stands_still("feature_extractor.") || !stands_still("feature_projection.") {
            return 0;
        }
        let norm_is_first = !architecture.do_stable_layer_norm;
        let begins_layers = stands_still("encoder.pos_conv_embed.")
            && (!norm_is_first || stands_still("encoder.layer_norm."))
            && !trained_mask;
        if !begins_layers {
            return 1;
        }
        if architecture.is_lstm() || architecture.time_reduction > 1 {
            return 2;
        }
        let is_alone = |l: usize| {
            let shares_map = architecture.reuses_attention(l) || architecture.hands_on_attention(l);
            !shares_map && !mapped.contains(&(l + 1))
        };
        let layers = (0..architecture.num_hidden_layers)
            .take_while(|l| is_alone(*l) && stands_still(&format!("encoder.layers.{l}.")));
        2 + layers.count()
    }

    /// Returns an error for each prefix that no tensor has.
    pub(super) fn errors(self, architecture: &Architecture) -> Vec<OptionError> {
        let tensors = architecture.tensors();
        let mut errors = vec![];
        for (i, prefix) in self.0.iter().enumerate() {
            if tensors.iter().any(|(name, _)| name.starts_with(prefix)) {
                continue;
            }
            let mut known = BTreeSet::new();
            for (name, _) in &tensors {
                let dots = name.match_indices('.').map(|(dot, _)| &name[..=dot]);
                known.extend(dots.chain([name.as_str()]));
            }
            let hint = suggestion(prefix, known);
            errors.push(OptionError::element(
                &format!("frozen.{i}"),
                "frozen",
                format!("no tensor of the model begins with `{prefix}`{hint}"),
            ));
        }
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parity::{close_to, gradient, weighted};
    use crate::model::{Convention, Forward, FrontEnd, Model, Outputs};
    use compute::gemm::Precision;
    use compute::random::Key;
    use compute::tensor::{Hidden, NoneTape, Tape, Track, backward, len, param, read};
    use std::collections::BTreeMap;

    #[test]
    fn parts_stand_still_from_the_first_on() {
        let base = Architecture::named("hubert-base").expect("known");
        let large = Architecture::named("hubert-large").expect("known");
        let extractor = "feature_extractor.";
        let cases: [(&[&str], usize, usize); 6] = [
            (&[extractor], 0, 0),
            (&["feature_", "encoder.layers."], 1, 1),
            (&["feature_", "encoder.pos_conv_embed."], 1, 2),
            (
                &["feature_", "encoder.pos_conv_embed.", "encoder.layer_norm."],
                2,
                2,
            ),
            (
                &[
                    "feature_",
                    "encoder.pos_conv_embed.",
                    "encoder.layer_norm.",
                    "encoder.layers.0.",
                    "encoder.layers.2.",
                ],
                3,
                3,
            ),
            (&["feature_", "encoder."], 14, 26),
        ];
        for (prefixes, of_base, of_large) in cases {
            let prefixes: Vec<String> = prefixes.iter().map(|p| (*p).to_owned()).collect();
            let frozen = Frozen(&prefixes);
            assert_eq!(frozen.parts(&base, false, &[]), of_base, "{prefixes:?}");
            assert_eq!(frozen.parts(&large, false, &[]), of_large, "{prefixes:?}");
            assert_eq!(
                frozen.parts(&base, true, &[]),
                of_base.min(1),
                "{prefixes:?}"
            );
            assert_eq!(
                frozen.parts(&base, false, &[1]),
                of_base.min(2),
                "{prefixes:?}"
            );
        }
    }

    #[test]
    fn prefixes_name_tensors() {
        let base = Architecture::named("hubert-base").expect("known");
        let frozen = ["feature_extractor.", "encoder.layers.1."].map(str::to_owned);
        let frozen = Frozen(&frozen);
        assert!(frozen.errors(&base).is_empty());
        assert!(frozen.holds_extractor(&base));
        assert!(frozen.holds("encoder.layers.1.attention.q_proj.weight"));
        assert!(!frozen.holds("encoder.layers.10.attention.q_proj.weight"));
        let misspelt = ["feature_extractr.", "zzz"].map(str::to_owned);
        let errors = Frozen(&misspelt).errors(&base);
        assert_eq!(
            errors[0].message,
            "option `frozen`: no tensor of the model begins with `feature_extractr.`; did you mean \
             `feature_extractor.`?"
        );
        assert_eq!(
            errors[1].message,
            "option `frozen`: no tensor of the model begins with `zzz`"
        );
    }

    /// Returns the last layer of a model with frozen parts, for two rows of normalised log-mel
    /// frames.
    fn last_layer<T: Track>(model: &Model, frozen_parts: usize, tape: T) -> Hidden<T> {
        let noise = Key::new(4, &["features"]);
        let bins = model.architecture.fbank_bins as u64;
        let row =
            |row: u64, frames: u64| (0..frames * bins).map(|i| noise.normal(row, i)).collect();
        let gates = BTreeMap::new();
        let forward = Forward {
            frozen_parts,
            ..Forward::without_dropout(model, &gates, Precision::F32, tape)
        };
        let outputs = Outputs {
            layers: &[model.architecture.num_hidden_layers],
            maps: &[],
            encoder_output: false,
            convention: Convention::Hf,
        };
        let features = forward.fbank_features(vec![row(0, 14), row(1, 9)]);
        forward.encode(features, None, outputs).hiddens.remove(0)
    }

    /// A front end of log-mel frames learns below an encoder that stands still: its gradients are
    /// the differences of what the encoder makes of it.
    #[test]
    fn a_front_end_has_gradients_through_a_frozen_encoder() {
        const STEP: f32 = 1e-2;
        let architecture = Architecture {
            front_end: FrontEnd::Fbank,
            fbank_bins: 6,
            hidden_size: 12,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            intermediate_size: 16,
            num_conv_pos_embeddings: 4,
            num_conv_pos_embedding_groups: 2,
            mask_time_prob: 0.0,
            ..Architecture::default()
        };
        let mut model = Model::random(&architecture, Key::new(3, &["weights"]));
        // Random weights are small: so that every part matters.
        for (name, weight) in &mut model.weights.0 {
            let is_norm = name.ends_with("norm.weight");
            let factor = if is_norm { 1.0 } else { 8.0 };
            *weight = param(read(weight).iter().map(|x| factor * x).collect());
        }
        let prefixes = ["encoder.".to_owned()];
        let frozen = Frozen(&prefixes);
        let frozen_parts = frozen.parts(&architecture, false, &[]);
        let last = last_layer(&model, frozen_parts, Tape::default());
        let noise = Key::new(5, &["upstream"]);
        let upstream: Vec<f32> = (0..len(&last.values) as u64)
            .map(|i| noise.normal(0, i))
            .collect();
        let mut gradients = backward(weighted(last.values, upstream.clone()), 1.0);
        let value = |model: &Model| -> f64 {
            let last = last_layer(model, 0, NoneTape);
            let values = read(&last.values);
            let pairs = values.iter().zip(&upstream);
            pairs.map(|(x, slope)| f64::from(x * slope)).sum()
        };
        let trained = model.weights.0.keys().filter(|name| !frozen.holds(name));
        let trained: Vec<String> = trained.cloned().collect();
        assert_eq!(trained.len(), 4, "{trained:?}");
        for name in trained {
            let weight = read(model.weights.get(&name)).into_owned();
            let places: Vec<usize> = (0..weight.len())
                .step_by(weight.len().div_ceil(7))
                .collect();
            let ours = gradient(&mut gradients, model.weights.get(&name));
            let ours: Vec<f32> = places.iter().map(|i| ours[*i]).collect();
            let difference = |i: &usize| {
                let at = |step: f32| {
                    let mut changed = weight.clone();
                    changed[*i] += step;
                    let mut other = model.clone();
                    other.weights.0.insert(name.clone(), param(changed));
                    value(&other)
                };
                ((at(STEP) - at(-STEP)) / f64::from(2.0 * STEP)) as f32
            };
            let differences: Vec<f32> = places.iter().map(difference).collect();
            close_to(&name, &ours, &differences, 1e-2);
        }
    }
}
