//! config.json, as transformers and this program write it: reads one, and writes one.
use super::architecture::DATA2VEC;
use super::architecture_option::deserialized;
use super::config_keys::{UnknownKeys, check_keys};
use super::whisper::{self, WHISPER};
use super::{Architecture, ExtractNorm};
use crate::Result;
use serde_json::{Map, Value as Json, json};

impl Architecture {
    /// Reads a config.json.
    pub fn from_config(text: &str, unknown: UnknownKeys) -> Result<Architecture> {
        let Json::Object(keys) = serde_json::from_str(text)? else {
            return Err("is no JSON object".into());
        };
        let own = translated(&keys)?;
        let architecture = deserialized(own).map_err(|(key, e)| format!("key `{key}`: {e}"))?;
        architecture.validate()?;
        check_keys(&keys, unknown).map_err(|error| match keys.contains_key("model_type") {
            true => error,
            false => {
                format!("has no `model_type`, so it may be no config.json of transformers: {error}")
            }
        })?;
        Ok(architecture)
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
            // Data2VecAudioModel does not read it: its norms stand behind the sub-layers.
            own.insert("do_stable_layer_norm".into(), json!(false));
            if !keys.contains_key("feat_extract_norm") {
                own.insert("feat_extract_norm".into(), json!(ExtractNorm::Layer));
            }
            Ok(own)
        }
        _ => Ok(keys.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::architecture_option::NAMES;

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
