//! What a model looks like: HubertConfig's and WavLMConfig's keys, and those that a pruned model needs besides
//! (docs/nodes.md, "Model folders").
use crate::{Result, near::near, node::Wrong};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

/// Keys and defaults of transformers' HubertConfig. Keys of it that change nothing here are read and left alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Architecture {
    pub model_type: String,
    /// Channels, kernel and stride of each convolution.
    pub conv_dim: Vec<usize>,
    pub conv_kernel: Vec<usize>,
    pub conv_stride: Vec<usize>,
    pub conv_bias: bool,
    pub feat_extract_norm: ExtractNorm,
    pub feat_extract_activation: String,
    pub feat_proj_layer_norm: bool,
    /// False: the last convolution is as wide as the encoder and is followed by no linear map.
    pub feature_projection: bool,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub hidden_act: String,
    pub num_conv_pos_embeddings: usize,
    pub num_conv_pos_embedding_groups: usize,
    pub conv_pos_batch_norm: bool,
    /// Norms stand before the sub-layers (Large) and not after them (Base).
    pub do_stable_layer_norm: bool,
    pub layer_norm_eps: f64,
    pub feat_proj_dropout: f64,
    pub hidden_dropout: f64,
    pub attention_dropout: f64,
    pub activation_dropout: f64,
    pub mask_time_prob: f64,
    pub mask_feature_prob: f64,
    /// WavLM's position bias: buckets of distances, and the distance from which on all share one.
    pub num_buckets: usize,
    pub max_bucket_distance: usize,

    /// Heads of each layer; 0: its attention is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder_num_heads: Option<Vec<usize>>,
    /// WavLM, in its place: which heads of each layer are left, since gates and biases know all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder_remaining_heads: Option<Vec<Vec<usize>>>,
    /// Inner units of each layer's feed-forward; 0: it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder_ff_interm_features: Option<Vec<usize>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder_head_dim: Option<usize>,
    /// Channels that the projection's norm divides by, where some of them were pruned away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature_norm_width: Option<usize>,
    /// The last convolution's channels carry `feature_extractor.dummy_weight`.
    #[serde(skip_serializing_if = "is_false")]
    pub feature_dummy_weight: bool,
    /// A sub-layer that is gone still adds its output bias, as it did when its last unit closed.
    #[serde(skip_serializing_if = "is_false")]
    pub encoder_keeps_bias: bool,
}

fn is_false(b: &bool) -> bool {
    !b
}

/// Norm of the convolutions: over time in the first alone, or over channels in each.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExtractNorm {
    Group,
    Layer,
}

impl Default for Architecture {
    fn default() -> Self {
        Architecture {
            model_type: "hubert".into(),
            conv_dim: vec![512; 7],
            conv_kernel: vec![10, 3, 3, 3, 3, 2, 2],
            conv_stride: vec![5, 2, 2, 2, 2, 2, 2],
            conv_bias: false,
            feat_extract_norm: ExtractNorm::Group,
            feat_extract_activation: "gelu".into(),
            feat_proj_layer_norm: true,
            feature_projection: true,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: "gelu".into(),
            num_conv_pos_embeddings: 128,
            num_conv_pos_embedding_groups: 16,
            conv_pos_batch_norm: false,
            do_stable_layer_norm: false,
            layer_norm_eps: 1e-5,
            feat_proj_dropout: 0.0,
            hidden_dropout: 0.1,
            attention_dropout: 0.1,
            activation_dropout: 0.1,
            mask_time_prob: 0.05,
            mask_feature_prob: 0.0,
            num_buckets: 320,
            max_bucket_distance: 800,
            encoder_num_heads: None,
            encoder_remaining_heads: None,
            encoder_ff_interm_features: None,
            encoder_head_dim: None,
            feature_norm_width: None,
            feature_dummy_weight: false,
            encoder_keeps_bias: false,
        }
    }
}

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
pub const NAMES: &[&str] = &["hubert-base", "hubert-large", "wav2vec2-base", "wavlm-base", "wavlm-large"];
/// Values of `model_type`, without `pruned_`.
const FAMILIES: &[&str] = &["hubert", "wav2vec2", WAVLM];
const WAVLM: &str = "wavlm";
/// The position bias of all layers, also where the first has lost its attention.
pub const POSITION_TABLE: &str = "encoder.layers.0.attention.rel_attn_embed.weight";
const WIDEST: usize = 1 << 16;
const LONGEST: usize = 1024;

impl Architecture {
    /// One of [`NAMES`]: the published shapes; dropouts as in pre-training (methods: Base .1, Large 0).
    pub fn named(name: &str) -> Option<Architecture> {
        let base = Architecture { feat_proj_dropout: 0.1, activation_dropout: 0.0, ..Architecture::default() };
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
        Some(Architecture { model_type: family.into(), ..of_size })
    }

    /// The option `architecture`: an object on top of what a folder says (`under`) or of the defaults, a name only where
    /// there is no folder.
    pub fn from_option(option: &Json, under: Option<&Architecture>) -> Result<Architecture, Wrong> {
        let wrong = |way: &str, says: String| Wrong::at(&format!("architecture{way}"), says);
        let architecture = match option {
            Json::String(name) => {
                let known = Architecture::named(name).ok_or_else(|| {
                    wrong(
                        "",
                        format!("option `architecture`: unknown name `{name}`{}", near(name, NAMES.iter().copied())),
                    )
                })?;
                under.cloned().unwrap_or(known)
            }
            Json::Object(keys) => {
                let Json::Object(mut all) = json!(under.cloned().unwrap_or_default()) else { unreachable!() };
                let known = known_keys();
                for (key, value) in keys {
                    if !known.contains(key) && !LEFT_ALONE.contains(&key.as_str()) {
                        let says = format!("unknown option `{key}`{}", near(key, known.iter().map(String::as_str)));
                        return Err(wrong(&format!(".{key}"), says));
                    }
                    all.insert(key.clone(), value.clone());
                }
                read(all).map_err(|(key, e)| wrong(&format!(".{key}"), format!("option `architecture.{key}`: {e}")))?
            }
            _ => return Err(wrong("", "option `architecture`: expected a name or an object".into())),
        };
        architecture.sound().map_err(|e| wrong("", format!("option `architecture`: {e}")))?;
        if let Some(under) = under
            && under.tensors() != architecture.tensors()
        {
            let says = "option `architecture`: may not change the shapes of a model folder that exists";
            return Err(wrong("", says.into()));
        }
        Ok(architecture)
    }

    /// A config.json.
    pub fn from_config(text: &str) -> Result<Architecture> {
        let Json::Object(keys) = serde_json::from_str(text)? else { return Err("is no JSON object".into()) };
        let architecture = read(keys).map_err(|(key, e)| format!("key `{key}`: {e}"))?;
        architecture.sound()?;
        Ok(architecture)
    }

    /// The pairs for a config.json: [`Self::model_type`] says whether transformers' own class gives the same outputs.
    pub fn to_config(&self) -> Json {
        let layers = 0..self.num_hidden_layers;
        let plain = layers.clone().all(|l| self.heads(l) == self.num_attention_heads)
            && layers.clone().all(|l| self.ffn(l) == self.intermediate_size)
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
        config["model_type"] = json!(if plain { family.to_owned() } else { format!("pruned_{family}") });
        config["apply_spec_augment"] = json!(false);
        config["num_feat_extract_layers"] = json!(self.conv_dim.len());
        config
    }

    /// Whether every number is one that can be built and counted.
    fn sound(&self) -> Result<()> {
        if !FAMILIES.contains(&self.family()) {
            let says = "this version knows hubert, wav2vec2, wavlm and their pruned forms";
            return Err(format!("`model_type` is \"{}\"; {says}", self.model_type).into());
        }
        let layers = self.num_hidden_layers;
        let lists =
            [("conv_dim", &self.conv_dim), ("conv_kernel", &self.conv_kernel), ("conv_stride", &self.conv_stride)];
        for (name, list) in lists {
            if list.is_empty() || list.len() != self.conv_dim.len() || list.len() > LONGEST {
                return Err(format!("`{name}` needs as many numbers as `conv_dim`, 1 to {LONGEST}").into());
            }
            if list.iter().any(|&n| n == 0 || n > WIDEST) {
                return Err(format!("`{name}` holds a number that is not from 1 to {WIDEST}").into());
            }
        }
        for (name, n) in [
            ("hidden_size", self.hidden_size),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("num_conv_pos_embeddings", self.num_conv_pos_embeddings),
            ("num_conv_pos_embedding_groups", self.num_conv_pos_embedding_groups),
            ("encoder_head_dim", self.encoder_head_dim.unwrap_or(1)),
            ("feature_norm_width", self.feature_norm_width.unwrap_or(1)),
        ] {
            if n == 0 || n > WIDEST {
                return Err(format!("`{name}` must be from 1 to {WIDEST}").into());
            }
        }
        if layers > LONGEST {
            return Err(format!("`num_hidden_layers` must be at most {LONGEST}").into());
        }
        let by_layer = [&self.encoder_num_heads, &self.encoder_ff_interm_features];
        for (name, list) in ["encoder_num_heads", "encoder_ff_interm_features"].into_iter().zip(by_layer) {
            if list.as_ref().is_some_and(|l| l.len() != layers || l.iter().any(|&n| n > WIDEST)) {
                return Err(format!("`{name}` needs {layers} numbers up to {WIDEST}, one a layer").into());
            }
        }
        self.sound_positions()?;
        if self.encoder_head_dim.is_none() && !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err("`hidden_size` must be a multiple of `num_attention_heads`".into());
        }
        if !self.hidden_size.is_multiple_of(self.num_conv_pos_embedding_groups) {
            return Err("`hidden_size` must be a multiple of `num_conv_pos_embedding_groups`".into());
        }
        if !self.feature_projection && (self.channels() != self.hidden_size || self.feature_norm_width.is_some()) {
            return Err(
                "`feature_projection` is false, so the last of `conv_dim` must be `hidden_size`, unpruned".into()
            );
        }
        if self.feature_norm_width.is_some() && !self.feat_proj_layer_norm {
            return Err("`feature_norm_width` says how a norm counts, but `feat_proj_layer_norm` is false".into());
        }
        if self.feature_norm_width.is_some_and(|w| w < self.channels()) {
            return Err("`feature_norm_width` must be at least the last of `conv_dim`".into());
        }
        for (name, p) in [
            ("feat_proj_dropout", self.feat_proj_dropout),
            ("hidden_dropout", self.hidden_dropout),
            ("attention_dropout", self.attention_dropout),
            ("activation_dropout", self.activation_dropout),
        ] {
            if !(0.0..1.0).contains(&p) {
                return Err(format!("`{name}` must be at least 0 and below 1").into());
            }
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps.is_finite()) {
            return Err("`layer_norm_eps` must be above 0".into());
        }
        for (name, act) in
            [("hidden_act", &self.hidden_act), ("feat_extract_activation", &self.feat_extract_activation)]
        {
            if act != "gelu" {
                return Err(format!("`{name}` is \"{act}\"; this version knows \"gelu\"").into());
            }
        }
        if self.conv_pos_batch_norm {
            return Err("`conv_pos_batch_norm` is true; this version knows the weight-normed form".into());
        }
        Ok(())
    }

    /// The keys of WavLM.
    fn sound_positions(&self) -> Result<()> {
        let remaining = &self.encoder_remaining_heads;
        if !self.has_position_bias() {
            let none = remaining.is_none().then_some(());
            return none.ok_or("`encoder_remaining_heads` is for WavLM; say `encoder_num_heads`".into());
        }
        if self.encoder_num_heads.is_some() || self.encoder_head_dim.is_some() {
            return Err("WavLM has no `encoder_num_heads`, `encoder_head_dim`; say `encoder_remaining_heads`".into());
        }
        if !(4..=WIDEST).contains(&self.num_buckets) {
            return Err(format!("`num_buckets` must be from 4 to {WIDEST}").into());
        }
        if self.max_bucket_distance <= self.num_buckets / 4 {
            return Err("`max_bucket_distance` must be above a quarter of `num_buckets`".into());
        }
        let (layers, heads) = (self.num_hidden_layers, self.num_attention_heads);
        let climbs = |kept: &Vec<usize>| kept.is_sorted_by(|a, b| a < b) && kept.last().is_none_or(|&h| h < heads);
        if remaining.as_ref().is_some_and(|all| all.len() != layers || !all.iter().all(climbs)) {
            return Err(format!(
                "`encoder_remaining_heads` needs {layers} lists, each of climbing numbers below {heads}"
            )
            .into());
        }
        Ok(())
    }

    /// `model_type` of an unpruned model of this sort.
    fn family(&self) -> &str {
        self.model_type.trim_start_matches("pruned_")
    }
    /// WavLM's gated bias by relative position.
    pub fn has_position_bias(&self) -> bool {
        self.family() == WAVLM
    }
    /// Channels of the last convolution.
    pub fn channels(&self) -> usize {
        self.conv_dim[self.conv_dim.len() - 1]
    }
    pub fn heads(&self, layer: usize) -> usize {
        match (&self.encoder_remaining_heads, &self.encoder_num_heads) {
            (Some(kept), _) => kept[layer].len(),
            (None, Some(heads)) => heads[layer],
            (None, None) => self.num_attention_heads,
        }
    }
    /// A WavLM layer's heads, by their numbers before pruning.
    pub fn remaining_heads(&self, layer: usize) -> Vec<usize> {
        self.encoder_remaining_heads
            .as_ref()
            .map_or_else(|| (0..self.num_attention_heads).collect(), |h| h[layer].clone())
    }
    /// Leaves a layer those of its heads that stand at these places.
    pub fn keep_heads(&mut self, layer: usize, kept: &[usize]) {
        let layers = 0..self.num_hidden_layers;
        if self.has_position_bias() {
            let before = layers.map(|l| self.remaining_heads(l)).collect();
            let heads = &mut self.encoder_remaining_heads.get_or_insert(before)[layer];
            *heads = kept.iter().map(|&place| heads[place]).collect();
        } else {
            self.encoder_head_dim = Some(self.head_dim());
            let before = layers.map(|l| self.heads(l)).collect();
            self.encoder_num_heads.get_or_insert(before)[layer] = kept.len();
        }
    }
    pub fn ffn(&self, layer: usize) -> usize {
        self.encoder_ff_interm_features.as_ref().map_or(self.intermediate_size, |f| f[layer])
    }
    pub fn head_dim(&self) -> usize {
        self.encoder_head_dim.unwrap_or(self.hidden_size / self.num_attention_heads)
    }
    /// As transformers: there is one exactly when something may be masked.
    pub fn has_mask_embedding(&self) -> bool {
        self.mask_time_prob > 0.0 || self.mask_feature_prob > 0.0
    }
    /// Frames of `samples` samples: ⌊(n − k) / s⌋ + 1 through every convolution; none where the kernel does not fit.
    pub fn frames(&self, samples: usize) -> usize {
        self.frames_by_conv(samples).last().copied().unwrap_or(0)
    }
    /// Frames after each convolution.
    pub fn frames_by_conv(&self, samples: usize) -> Vec<usize> {
        let mut n = samples;
        let after = |(&k, &s): (&usize, &usize)| {
            n = if n < k { 0 } else { (n - k) / s + 1 };
            n
        };
        self.conv_kernel.iter().zip(&self.conv_stride).map(after).collect()
    }

    /// Name and shape of every tensor of its model.safetensors, in the model's order.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (d, mut list) = (self.hidden_size, vec![]);
        let mut put = |name: String, shape: &[usize]| list.push((name, shape.to_vec()));
        if self.has_mask_embedding() {
            put("masked_spec_embed".into(), &[d]);
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
        let (k, groups) = (self.num_conv_pos_embeddings, self.num_conv_pos_embedding_groups);
        put("encoder.pos_conv_embed.conv.bias".into(), &[d]);
        put("encoder.pos_conv_embed.conv.weight_g".into(), &[1, 1, k]);
        put("encoder.pos_conv_embed.conv.weight_v".into(), &[d, d / groups, k]);
        put("encoder.layer_norm.weight".into(), &[d]);
        put("encoder.layer_norm.bias".into(), &[d]);
        let layers = 0..self.num_hidden_layers;
        if self.has_position_bias() && layers.clone().any(|l| self.heads(l) > 0) {
            put(POSITION_TABLE.into(), &[self.num_buckets, self.num_attention_heads]);
        }
        for l in layers {
            let (at, inner, f) = (format!("encoder.layers.{l}"), self.heads(l) * self.head_dim(), self.ffn(l));
            if inner > 0 {
                for p in ["k_proj", "v_proj", "q_proj"] {
                    put(format!("{at}.attention.{p}.weight"), &[inner, d]);
                    put(format!("{at}.attention.{p}.bias"), &[inner]);
                }
                put(format!("{at}.attention.out_proj.weight"), &[d, inner]);
                if self.has_position_bias() {
                    put(format!("{at}.attention.gru_rel_pos_linear.weight"), &[8, self.head_dim()]);
                    put(format!("{at}.attention.gru_rel_pos_linear.bias"), &[8]);
                    put(format!("{at}.attention.gru_rel_pos_const"), &[1, self.num_attention_heads, 1, 1]);
                }
            }
            if inner > 0 || self.encoder_keeps_bias {
                put(format!("{at}.attention.out_proj.bias"), &[d]);
            }
            put(format!("{at}.layer_norm.weight"), &[d]);
            put(format!("{at}.layer_norm.bias"), &[d]);
            if f > 0 {
                put(format!("{at}.feed_forward.intermediate_dense.weight"), &[f, d]);
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
    json!(all).as_object().into_iter().flat_map(|keys| keys.keys().cloned()).collect()
}

fn read(keys: Map<String, Json>) -> Result<Architecture, (String, String)> {
    serde_path_to_error::deserialize(Json::Object(keys)).map_err(|e| (e.path().to_string(), e.inner().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_odd_lengths() {
        let a = Architecture::default();
        let frames = [0, 399, 400, 719, 720, 16000, 80000].map(|n| a.frames(n));
        assert_eq!(frames, [0, 0, 1, 1, 2, 49, 249]);
    }

    #[test]
    fn each_family_writes_its_own_keys() {
        for name in NAMES {
            let a = Architecture::named(name).expect("known");
            let config = a.to_config();
            assert_eq!(config["model_type"], *name.split('-').next().expect("a family"));
            assert_eq!(config.get("num_buckets").is_some(), a.has_position_bias(), "{name}");
            assert_eq!(Architecture::from_config(&config.to_string()).expect("sound"), a);
        }
    }

    #[test]
    fn unsound_ones_say_why() {
        let says = |text: &str| Architecture::from_config(text).expect_err(text).to_string();
        assert_eq!(
            says(r#"{"model_type": "data2vec-audio"}"#),
            "`model_type` is \"data2vec-audio\"; this version knows hubert, wav2vec2, wavlm and their pruned forms"
        );
        let wavlm = |keys: &str| says(&format!(r#"{{"model_type": "wavlm", "num_hidden_layers": 1, {keys}}}"#));
        assert_eq!(wavlm(r#""num_buckets": 3"#), "`num_buckets` must be from 4 to 65536");
        assert_eq!(
            wavlm(r#""max_bucket_distance": 80"#),
            "`max_bucket_distance` must be above a quarter of `num_buckets`"
        );
        for list in ["[[0], [1]]", "[[1, 0]]", "[[12]]"] {
            assert_eq!(
                wavlm(&format!(r#""encoder_remaining_heads": {list}"#)),
                "`encoder_remaining_heads` needs 1 lists, each of climbing numbers below 12"
            );
        }
        assert_eq!(
            wavlm(r#""encoder_num_heads": [3]"#),
            "WavLM has no `encoder_num_heads`, `encoder_head_dim`; say `encoder_remaining_heads`"
        );
        assert_eq!(
            says(r#"{"encoder_remaining_heads": []}"#),
            "`encoder_remaining_heads` is for WavLM; say `encoder_num_heads`"
        );
        assert_eq!(says(r#"{"hidden_size": 70}"#), "`hidden_size` must be a multiple of `num_attention_heads`");
        assert_eq!(says(r#"{"conv_dim": []}"#), "`conv_dim` needs as many numbers as `conv_dim`, 1 to 1024");
        assert_eq!(says(r#"{"hidden_size": 99999999999}"#), "`hidden_size` must be from 1 to 65536");
        assert_eq!(says(r#"{"hidden_size": -1}"#), "key `hidden_size`: invalid value: integer `-1`, expected usize");
        assert_eq!(says(r#"{"hidden_act": "relu"}"#), "`hidden_act` is \"relu\"; this version knows \"gelu\"");
    }
}
