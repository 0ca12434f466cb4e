//! Whisper's encoder (Radford et al. 2022, arXiv:2212.04356) as a teacher: its configuration and
//! tensors in this program's words.
//!
//! It reads log-mel frames of 30 s through two convolutions, adds fixed positions, and has Large's
//! layers. A row sends its own frames, the first of 1500: those of HuBERT over the same samples.
use super::stored::Stored;
use super::{Architecture, ExtractNorm, FrontEnd};
use crate::data::whisper_mel;
use serde_json::{Map, Value as Json, json};

/// `model_type`.
pub(super) const WHISPER: &str = "whisper";
/// Frames of 30 s that the encoder computes, and positions that it knows.
pub(super) const POSITIONS: usize = whisper_mel::ALL_FRAMES / 2;
/// A tensor that every encoder has: what precedes this name precedes the others too.
const ANCHOR: &str = "conv1.weight";

/// Keys of WhisperConfig that describe the decoder, its vocabulary or training.
pub(super) const OTHERS: &[&str] = &[
    "decoder_attention_heads",
    "decoder_ffn_dim",
    "decoder_layerdrop",
    "decoder_layers",
    "encoder_layerdrop",
    "forced_decoder_ids",
    "frames_per_second_out",
    "hop_length",
    "init_std",
    "is_multilingual",
    "lang_to_id",
    "max_target_positions",
    "median_filter_width",
    "n_fft",
    "num_hidden_layers",
    "pre_layer_norm",
    "sample_rate",
    "scale_embedding",
    "task_to_id",
    "alignment_heads",
    "no_timestamps_token_id",
    "activation_function",
    "d_model",
    "dropout",
    "encoder_attention_heads",
    "encoder_ffn_dim",
    "encoder_layers",
    "max_source_positions",
    "num_mel_bins",
];

/// Translates the keys of a WhisperConfig.
///
/// An encoder alone, whose configuration states `frames_per_second_out`, is one that computes a row's
/// own frames; transformers computes 30 s whatever the row.
///
/// # Errors
/// Sentence about a key that describes an encoder of another form.
pub(super) fn translated(keys: &Map<String, Json>) -> Result<Map<String, Json>, String> {
    let size = |key: &str, default: usize| match keys.get(key) {
        None | Some(Json::Null) => Ok(default),
        Some(value) => {
            let whole = value.as_u64().and_then(|value| usize::try_from(value).ok());
            whole.ok_or_else(|| format!("`{key}` is {value}, not a whole number"))
        }
    };
    let positions = size("max_source_positions", POSITIONS)?;
    if positions != POSITIONS {
        return Err(format!(
            "`max_source_positions` is {positions}; this version knows {POSITIONS}, those of 30 s"
        ));
    }
    if keys.get("pre_layer_norm") == Some(&Json::Bool(false)) {
        return Err("`pre_layer_norm` is false, which no Whisper is".into());
    }
    let width = size("d_model", 384)?;
    let activation = keys.get("activation_function").cloned();
    let own = json!({
        "model_type": WHISPER,
        "front_end": FrontEnd::Whisper,
        "pad_to_30_seconds": !keys.contains_key("frames_per_second_out"),
        "fbank_bins": size("num_mel_bins", 80)?,
        "conv_dim": [width, width],
        "conv_kernel": [3, 3],
        "conv_stride": [1, 2],
        "conv_bias": true,
        "feat_extract_norm": ExtractNorm::Layer,
        "hidden_size": width,
        "num_hidden_layers": size("encoder_layers", 4)?,
        "num_attention_heads": size("encoder_attention_heads", 6)?,
        "intermediate_size": size("encoder_ffn_dim", 1536)?,
        "hidden_act": activation.unwrap_or_else(|| json!("gelu")),
        "do_stable_layer_norm": true,
        "num_conv_pos_embedding_groups": 1,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "mask_time_prob": 0.0,
    });
    match own {
        Json::Object(own) => Ok(own),
        _ => unreachable!("an object was written"),
    }
}

/// Renames the encoder's tensors, and leaves out the decoder's.
///
/// Keys have no bias; other programs write one of zeros, which changes nothing.
pub(super) fn renamed(stored: Stored) -> Stored {
    let stored = stored.without_zeros(|name| name.ends_with(".k_proj.bias"));
    let prefix = stored
        .names()
        .find_map(|name| name.strip_suffix(ANCHOR))
        .unwrap_or_default()
        .to_owned();
    stored.rename(|name| name.strip_prefix(&prefix).map(own_name))
}

fn own_name(name: &str) -> String {
    for (theirs, ours) in [
        ("conv1.", "feature_extractor.whisper_conv_layers.0.conv."),
        ("conv2.", "feature_extractor.whisper_conv_layers.1.conv."),
    ] {
        if let Some(end) = name.strip_prefix(theirs) {
            return format!("{ours}{end}");
        }
    }
    let name = name
        .replace(".self_attn_layer_norm.", ".layer_norm.")
        .replace(".self_attn.", ".attention.")
        .replace(".fc1.", ".feed_forward.intermediate_dense.")
        .replace(".fc2.", ".feed_forward.output_dense.");
    format!("encoder.{name}")
}

impl Architecture {
    /// Whether this is Whisper's encoder.
    pub fn is_whisper(&self) -> bool {
        self.front_end == FrontEnd::Whisper
    }

    /// Returns the log-mel frames that are computed for a row, and the frames of its layers.
    pub(super) fn whisper_frames(&self, samples: usize) -> [usize; 2] {
        let mel = match samples {
            0..400 => 0,
            _ if self.pad_to_30_seconds => whisper_mel::ALL_FRAMES,
            _ => (samples / 160).min(whisper_mel::ALL_FRAMES),
        };
        [mel, mel.div_ceil(2)]
    }

    /// Returns why a row is too long for the model, if it is.
    pub fn length_problem(&self, samples: usize) -> Option<&'static str> {
        let too_long = self.is_whisper() && samples > whisper_mel::MOST_SAMPLES;
        too_long.then_some("Whisper's encoder reads 30 s at most")
    }

    /// Returns why the model can only be a teacher, if that is so.
    pub fn only_teaches(&self) -> Option<&'static str> {
        if self.is_whisper() {
            Some(
                "is Whisper's encoder, which this version runs as a teacher alone; a student begins \
                 as a HuBERT, a wav2vec 2.0 or a WavLM",
            )
        } else if self.conv_pos_depth > 1 {
            Some(
                "has data2vec's stacked positional convolutions, which this version runs in a \
                 teacher alone; a student begins as a HuBERT, a wav2vec 2.0 or a WavLM",
            )
        } else {
            None
        }
    }
}
