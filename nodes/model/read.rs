//! An architecture out of a graph's option or a config.json, and back.
use super::{Architecture, ExtractNorm};
use crate::Result;
use crate::data::suggestion::suggestion;
use crate::node::OptionError;
use serde_json::{Map, Value as Json, json};

/// Keys of HubertConfig and of any transformers configuration that change nothing here.
const LEFT_ALONE: &[&str] = &[
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

/// Names that the option `architecture` knows.
const NAMES: &[&str] = &[
    "hubert-base",
    "hubert-large",
    "wav2vec2-base",
    "wavlm-base",
    "wavlm-large",
];

impl Architecture {
    /// One of `NAMES`: the published shapes; dropouts as in pre-training (methods: Base .1, Large 0).
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

    /// The option `architecture`: an object on top of what a folder says (`under`) or of the defaults, a name only where
    /// there is no folder.
    pub fn from_option(
        option: &Json,
        under: Option<&Architecture>,
    ) -> Result<Architecture, OptionError> {
        let wrong = |way: &str, says: String| OptionError::at(&format!("architecture{way}"), says);
        let architecture = match option {
            Json::String(name) => {
                let known = Architecture::named(name).ok_or_else(|| {
                    wrong(
                        "",
                        format!(
                            "option `architecture`: unknown name `{name}`{}",
                            suggestion(name, NAMES.iter().copied())
                        ),
                    )
                })?;
                under.cloned().unwrap_or(known)
            }
            Json::Object(keys) => {
                let Json::Object(mut all) = json!(under.cloned().unwrap_or_default()) else {
                    unreachable!()
                };
                let known = known_keys();
                for (key, value) in keys {
                    if !known.contains(key) && !LEFT_ALONE.contains(&key.as_str()) {
                        let says = format!(
                            "unknown option `{key}`{}",
                            suggestion(key, known.iter().map(String::as_str))
                        );
                        return Err(wrong(&format!(".{key}"), says));
                    }
                    all.insert(key.clone(), value.clone());
                }
                read(all).map_err(|(key, e)| {
                    wrong(
                        &format!(".{key}"),
                        format!("option `architecture.{key}`: {e}"),
                    )
                })?
            }
            _ => {
                return Err(wrong(
                    "",
                    "option `architecture`: expected a name or an object".into(),
                ));
            }
        };
        architecture
            .sound()
            .map_err(|e| wrong("", format!("option `architecture`: {e}")))?;
        if let Some(under) = under
            && under.tensors() != architecture.tensors()
        {
            let says =
                "option `architecture`: may not change the shapes of a model folder that exists";
            return Err(wrong("", says.into()));
        }
        Ok(architecture)
    }

    /// A config.json.
    pub fn from_config(text: &str) -> Result<Architecture> {
        let Json::Object(keys) = serde_json::from_str(text)? else {
            return Err("is no JSON object".into());
        };
        let architecture = read(keys).map_err(|(key, e)| format!("key `{key}`: {e}"))?;
        architecture.sound()?;
        Ok(architecture)
    }

    /// The pairs for a config.json: [`Self::model_type`] says whether transformers' own class gives the same outputs.
    pub fn to_config(&self) -> Json {
        let layers = 0..self.num_hidden_layers;
        let plain = layers
            .clone()
            .all(|l| self.heads(l) == self.num_attention_heads)
            && layers
                .clone()
                .all(|l| self.ffn(l) == self.intermediate_size)
            && self.head_dim() * self.num_attention_heads == self.hidden_size
            && self.feature_norm_width.is_none()
            && !self.feature_dummy_weight
            && self.feature_projection
            && (self.feat_proj_layer_norm || self.family() == "hubert");
        let family = self.family();
        let mut config = json!(self);
        if !self.has_position_bias()
            && let Some(keys) = config.as_object_mut()
        {
            keys.retain(|key, _| !["num_buckets", "max_bucket_distance"].contains(&key.as_str()));
        }
        config["model_type"] = json!(if plain {
            family.to_owned()
        } else {
            format!("pruned_{family}")
        });
        config["apply_spec_augment"] = json!(false);
        config["num_feat_extract_layers"] = json!(self.conv_dim.len());
        config
    }
}

/// Every key of [`Architecture`], also those that are left out of a file while they say nothing.
fn known_keys() -> Vec<String> {
    let all = Architecture {
        encoder_num_heads: Some(vec![]),
        encoder_remaining_heads: Some(vec![]),
        encoder_ff_interm_features: Some(vec![]),
        encoder_head_dim: Some(1),
        feature_norm_width: Some(1),
        feature_dummy_weight: true,
        encoder_keeps_bias: true,
        ..Architecture::default()
    };
    json!(all)
        .as_object()
        .into_iter()
        .flat_map(|keys| keys.keys().cloned())
        .collect()
}

/// JSON Schema of the option `architecture`: a name, or keys of [`Architecture`] with their defaults.
pub fn described(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let defaults = json!(Architecture::default());
    let known = known_keys().into_iter().map(|key| {
        let default = defaults
            .get(&key)
            .map_or(json!({}), |value| json!({ "default": value }));
        (key, default)
    });
    let keys: Map<String, Json> = known
        .chain(LEFT_ALONE.iter().map(|key| (key.to_string(), json!({}))))
        .collect();
    schemars::json_schema!({ "anyOf": [
        { "title": "name", "enum": NAMES },
        { "type": "object", "properties": keys, "additionalProperties": false },
        { "type": "null" },
    ] })
}

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
                Architecture::from_config(&config.to_string()).expect("sound"),
                a
            );
        }
    }
}
