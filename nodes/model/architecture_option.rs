//! The option `architecture` of a graph's node: a name, or keys of an [`Architecture`].
use super::{Architecture, EncoderType, ExtractNorm};
use crate::data::suggestion::{option_hint, suggestion};
use serde_json::{Map, Value as Json, json};

/// Keys of HubertConfig and of any transformers configuration that change nothing here.
const IGNORED: &[&str] = &[
    "apply_spec_augment",
    "architectures",
    "bos_token_id",
    "classifier_proj_size",
    "ctc_loss_reduction",
    "ctc_zero_infinity",
    "dtype",
    "eos_token_id",
    "final_dropout",
    "initializer_range",
    "layerdrop",
    "mask_feature_length",
    "mask_feature_min_masks",
    "mask_time_length",
    "mask_time_min_masks",
    "num_feat_extract_layers",
    "pad_token_id",
    "torch_dtype",
    "transformers_version",
    "use_weighted_layer_sum",
    "vocab_size",
];

/// Names that the option `architecture` accepts.
pub(super) const NAMES: &[&str] = &[
    "hubert-base",
    "hubert-large",
    "wav2vec2-base",
    "wavlm-base",
    "wavlm-large",
];

/// Why the option `architecture` cannot be read.
#[derive(Debug)]
pub struct ArchitectureError {
    /// The key of the option that is wrong, dotted; empty for the option itself.
    pub key: String,
    pub message: String,
}

impl ArchitectureError {
    fn new(key: &str, message: String) -> ArchitectureError {
        ArchitectureError {
            key: key.into(),
            message,
        }
    }
}

impl Architecture {
    /// Returns one of `NAMES`: the published shapes, with the dropouts of pre-training (Base 0.1,
    /// Large 0).
    pub fn named(name: &str) -> Option<Architecture> {
        let base = Architecture {
            feat_proj_dropout: 0.1,
            activation_dropout: 0.0,
            ..Architecture::default()
        };
        let (family, size) = name.split_once('-').filter(|_| NAMES.contains(&name))?;
        let of_size = match size {
            "large" => Architecture {
                feat_extract_norm: ExtractNorm::Layer,
                do_stable_layer_norm: true,
                hidden_size: 1024,
                num_hidden_layers: 24,
                num_attention_heads: 16,
                intermediate_size: 4096,
                feat_proj_dropout: 0.0,
                hidden_dropout: 0.0,
                attention_dropout: 0.0,
                ..base
            },
            _ => base,
        };
        Some(Architecture {
            model_type: family.into(),
            ..of_size
        })
    }

    /// Reads the option `architecture`: keys that replace those of a folder's architecture (`base`)
    /// or the defaults, or a name. With a folder, a name changes nothing.
    ///
    /// Fails if the result differs from the folder's in any shape, unless it `may_reshape`.
    pub fn from_option(
        option: &Json,
        base: Option<&Architecture>,
        may_reshape: bool,
    ) -> Result<Architecture, ArchitectureError> {
        let wrong = |message: String| {
            ArchitectureError::new("", format!("option `architecture`: {message}"))
        };
        let architecture = match option {
            Json::String(name) => {
                let hint = suggestion(name, NAMES.iter().copied());
                let named = Architecture::named(name)
                    .ok_or_else(|| wrong(format!("unknown name `{name}`{hint}")))?;
                base.cloned().unwrap_or(named)
            }
            Json::Object(keys) => replace_keys(base.cloned().unwrap_or_default(), keys)?,
            _ => return Err(wrong("expected a name or an object".into())),
        };
        architecture.validate().map_err(wrong)?;
        if !may_reshape && base.is_some_and(|base| base.tensors() != architecture.tensors()) {
            return Err(wrong(
                "may not change the shapes of a model folder that exists".into(),
            ));
        }
        Ok(architecture)
    }

    /// Lists every key of an architecture, also those that a file omits at their default.
    pub(super) fn keys() -> Vec<String> {
        known_keys()
    }
}

/// Replaces keys of an architecture.
fn replace_keys(
    base: Architecture,
    keys: &Map<String, Json>,
) -> Result<Architecture, ArchitectureError> {
    let Json::Object(mut replaced) = json!(base) else {
        unreachable!("a struct is an object")
    };
    let known = known_keys();
    for (key, value) in keys {
        if !known.contains(key) && !IGNORED.contains(&key.as_str()) {
            let hint = option_hint(key, known.iter().map(String::as_str));
            let message = format!("unknown option `{key}`{hint}");
            return Err(ArchitectureError::new(key, message));
        }
        replaced.insert(key.clone(), value.clone());
    }
    deserialized(replaced).map_err(|(key, e)| {
        ArchitectureError::new(&key, format!("option `architecture.{key}`: {e}"))
    })
}

/// Lists every key of [`Architecture`], also those that a file omits at their default.
fn known_keys() -> Vec<String> {
    let unlike_defaults = Architecture {
        encoder_num_heads: Some(vec![]),
        encoder_remaining_heads: Some(vec![]),
        encoder_ff_interm_features: Some(vec![]),
        encoder_head_dim: Some(1),
        feature_norm_width: Some(1),
        feature_dummy_weight: true,
        encoder_keeps_bias: true,
        encoder_reuse_attention: Some(vec![]),
        reuse_as_released: true,
        final_proj_size: Some(1),
        label_embeddings: Some(1),
        time_reduction: 2,
        conv_pos_depth: 2,
        pad_to_30_seconds: false,
        encoder: EncoderType::Lstm,
        lstm_hidden_size: Some(1),
        lstm_bidirectional: false,
        ..Architecture::default()
    };
    json!(unlike_defaults)
        .as_object()
        .into_iter()
        .flat_map(|keys| keys.keys().cloned())
        .collect()
}

/// Returns the JSON Schema of the option `architecture`: a name, or keys of [`Architecture`] with
/// their defaults.
pub fn architecture_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let defaults = json!(Architecture::default());
    let known = known_keys().into_iter().map(|key| {
        let default = defaults
            .get(&key)
            .map_or(json!({}), |value| json!({ "default": value }));
        (key, default)
    });
    let keys: Map<String, Json> = known
        .chain(IGNORED.iter().map(|key| (key.to_string(), json!({}))))
        .collect();
    schemars::json_schema!({ "anyOf": [
        { "title": "name", "enum": NAMES },
        { "type": "object", "properties": keys, "additionalProperties": false },
        { "type": "null" },
    ] })
}

/// Deserializes an architecture. An error is the dotted key, and what is wrong with its value.
pub(super) fn deserialized(keys: Map<String, Json>) -> Result<Architecture, (String, String)> {
    serde_path_to_error::deserialize(Json::Object(keys))
        .map_err(|e| (e.path().to_string(), e.inner().to_string()))
}
