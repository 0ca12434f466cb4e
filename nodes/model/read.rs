//! Reads an architecture from a graph's option or a config.json, and writes it to a config.json.
use super::architecture::DATA2VEC;
use super::config_keys::{UnknownKeys, check_keys};
use super::whisper::{self, WHISPER};
use super::{Architecture, EncoderType, ExtractNorm};
use crate::Result;
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
const NAMES: &[&str] = &[
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

    /// Reads a config.json.
    pub fn from_config(text: &str, unknown: UnknownKeys) -> Result<Architecture> {
        let Json::Object(keys) = serde_json::from_str(text)? else {
            return Err("is no JSON object".into());
        };
        let own = translated(&keys)?;
        let architecture = read(own).map_err(|(key, e)| format!("key `{key}`: {e}"))?;
        architecture.validate()?;
        check_keys(&keys, unknown)?;
        Ok(architecture)
    }

    /// Lists every key of an architecture, also those that a file omits at their default.
    pub(super) fn keys() -> Vec<String> {
        known_keys()
    }

    /// Returns the keys of a config.json.
    ///
    /// Its `model_type` is transformers' own only if that class gives the same outputs.
    pub fn to_config(&self) -> Json {
        let mut config = json!(self);
        if self.family() == DATA2VEC
            && let Some(keys) = config.as_object_mut()
        {
            // As transformers calls them.
            let depth = keys.shift_remove("conv_pos_depth").unwrap_or(json!(1));
            let kernel = keys.insert("num_conv_pos_embeddings".into(), depth);
            keys.insert("conv_pos_kernel_size".into(), kernel.unwrap_or_default());
        }
        if !self.has_position_bias()
            && let Some(keys) = config.as_object_mut()
        {
            keys.retain(|key, _| !["num_buckets", "max_bucket_distance"].contains(&key.as_str()));
        }
        if !self.is_fbank()
            && let Some(keys) = config.as_object_mut()
        {
            let of_fbank = ["front_end", "fbank_bins", "fbank_conv_kernel"];
            keys.retain(|key, _| !of_fbank.contains(&key.as_str()));
        }
        let family = self.family();
        let own = self.is_transformers_own();
        config["model_type"] = match (own, self.is_pruned()) {
            (true, _) => json!(family),
            (false, true) => json!(format!("pruned_{family}")),
            (false, false) => json!(format!("compact_{family}")),
        };
        if !own {
            // HubertModel only warns of another `model_type`, and would draw what it misses; it
            // refuses a norm that it does not know.
            let norm = match self.feat_extract_norm {
                ExtractNorm::Group => "compact_group",
                ExtractNorm::Layer => "compact_layer",
            };
            config["feat_extract_norm"] = json!(norm);
        }
        config["apply_spec_augment"] = json!(false);
        config["num_feat_extract_layers"] = json!(self.conv_dim.len());
        config
    }

    /// Whether transformers' class of the family computes this model.
    pub(crate) fn is_transformers_own(&self) -> bool {
        let mut layers = 0..self.num_hidden_layers;
        !self.is_pruned()
            && layers.all(|l| !self.reuses_attention(l))
            && self.time_reduction == 1
            && !self.is_lstm()
            && !self.is_fbank()
            && self.feature_projection
            && (self.feat_proj_layer_norm || self.family() == "hubert")
    }

    /// Whether units or channels were cut out of the model.
    pub(crate) fn is_pruned(&self) -> bool {
        let mut layers = 0..self.num_hidden_layers;
        let mut whole_layers = || {
            layers.all(|l| {
                self.heads(l) == self.num_attention_heads && self.ffn(l) == self.intermediate_size
            }) && self.head_dim() * self.num_attention_heads == self.hidden_size
        };
        !(self.is_lstm() || whole_layers())
            || self.feature_norm_width.is_some()
            || self.feature_dummy_weight
    }
}

/// Replaces keys of an architecture.
fn replace_keys(
    base: Architecture,
    keys: &Map<String, Json>,
) -> Result<Architecture, ArchitectureError> {
    let Json::Object(mut all) = json!(base) else {
        unreachable!("a struct is an object")
    };
    let known = known_keys();
    for (key, value) in keys {
        if !known.contains(key) && !IGNORED.contains(&key.as_str()) {
            let hint = option_hint(key, known.iter().map(String::as_str));
            let message = format!("unknown option `{key}`{hint}");
            return Err(ArchitectureError::new(key, message));
        }
        all.insert(key.clone(), value.clone());
    }
    read(all).map_err(|(key, e)| {
        ArchitectureError::new(&key, format!("option `architecture.{key}`: {e}"))
    })
}

/// Lists every key of [`Architecture`], also those that a file omits at their default.
fn known_keys() -> Vec<String> {
    let all = Architecture {
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
    json!(all)
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

/// Returns the keys of a config.json in this program's words: those of Whisper and of data2vec have
/// other names.
fn translated(keys: &Map<String, Json>) -> Result<Map<String, Json>, String> {
    match keys.get("model_type").and_then(Json::as_str) {
        Some(WHISPER) if !keys.contains_key("front_end") => whisper::translated(keys),
        Some(DATA2VEC | "data2vec") if !keys.contains_key("conv_pos_depth") => {
            let mut own = keys.clone();
            own.insert("model_type".into(), json!(DATA2VEC));
            let depth = keys.get("num_conv_pos_embeddings").cloned();
            own.insert("conv_pos_depth".into(), depth.unwrap_or(json!(5)));
            let kernel = own.shift_remove("conv_pos_kernel_size");
            own.insert(
                "num_conv_pos_embeddings".into(),
                kernel.unwrap_or(json!(19)),
            );
            if !keys.contains_key("feat_extract_norm") {
                own.insert("feat_extract_norm".into(), json!(ExtractNorm::Layer));
            }
            Ok(own)
        }
        _ => Ok(keys.clone()),
    }
}

/// Deserializes an architecture. An error is the dotted key, and what is wrong with its value.
fn read(keys: Map<String, Json>) -> Result<Architecture, (String, String)> {
    serde_path_to_error::deserialize(Json::Object(keys))
        .map_err(|e| (e.path().to_string(), e.inner().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_writes_its_own_keys() {
        for name in NAMES {
            let a = Architecture::named(name).expect("known");
            let config = a.to_config();
            assert_eq!(
                config["model_type"],
                *name.split('-').next().expect("a family")
            );
            assert_eq!(
                config.get("num_buckets").is_some(),
                a.has_position_bias(),
                "{name}"
            );
            assert_eq!(
                Architecture::from_config(&config.to_string(), UnknownKeys::REFUSE).expect("sound"),
                a
            );
        }
    }
}
