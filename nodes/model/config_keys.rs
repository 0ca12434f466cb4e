//! Keys of a config.json beside those of [`Architecture`]: which of them change no hidden state, and
//! what happens to those that this program does not know.
use super::Architecture;
use super::whisper::{self, WHISPER};
use crate::data::printable::{printable, shortened};
use serde_json::{Map, Value as Json};

/// What happens to keys of a config.json that this program does not know.
#[derive(Clone, Copy)]
pub enum UnknownKeys<'a> {
    /// They are errors, except those that the user says change nothing.
    Refuse { except: &'a [String] },
    /// They are let through: only shapes are read, or the keys are listed.
    Allow,
}

impl UnknownKeys<'_> {
    /// Refuses every unknown key.
    pub const REFUSE: UnknownKeys<'static> = UnknownKeys::Refuse { except: &[] };
}

/// Keys of HubertConfig, Wav2Vec2Config and WavLMConfig that change no hidden state of the encoder:
/// heads of tasks, quantizers, masking and dropout in training, and the adapter behind the encoder.
const OF_MODELS: &[&str] = &[
    "adapter_kernel_size",
    "adapter_stride",
    "add_adapter",
    "apply_spec_augment",
    "classifier_proj_size",
    "codevector_dim",
    "contrastive_logits_temperature",
    "ctc_loss_reduction",
    "ctc_zero_infinity",
    "diversity_loss_weight",
    "feat_extract_dropout",
    "feat_quantizer_dropout",
    "final_dropout",
    "freeze_feat_extract_train",
    "hidden_dropout_prob",
    "layerdrop",
    "mask_channel_length",
    "mask_channel_min_space",
    "mask_channel_other",
    "mask_channel_prob",
    "mask_channel_selection",
    "mask_feature_length",
    "mask_feature_min_masks",
    "mask_time_length",
    "mask_time_min_masks",
    "mask_time_min_space",
    "mask_time_other",
    "mask_time_selection",
    "no_mask_channel_overlap",
    "no_mask_time_overlap",
    "num_adapter_layers",
    "num_codevector_groups",
    "num_codevectors_per_group",
    "num_ctc_classes",
    "num_feat_extract_layers",
    "num_negatives",
    "output_hidden_size",
    "pooling_mode", // of many fine-tuned for emotions
    "proj_codevector_dim",
    "replace_prob",
    "tdnn_dilation",
    "tdnn_dim",
    "tdnn_kernel",
    "use_weighted_layer_sum",
    "vocab_size",
    "xvector_output_dim",
];

/// Keys of Data2VecAudioConfig that are read under another name, or that older versions wrote.
const OF_DATA2VEC: &[&str] = &[
    "attention_probs_dropout_prob",
    "classifier_dropout",
    "conv_pos_kernel_size",
    "max_position_embeddings",
    "position_embedding_type",
    "type_vocab_size",
];

/// Keys of any configuration of transformers, its generation settings included.
const OF_TRANSFORMERS: &[&str] = &[
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_name_or_path",
    "add_cross_attention",
    "architectures",
    "attn_implementation",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "chunk_size_feed_forward",
    "cross_attention_hidden_size",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dtype",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "id2label",
    "initializer_range",
    "is_decoder",
    "is_encoder_decoder",
    "label2id",
    "length_penalty",
    "max_length",
    "min_length",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "pad_token_id",
    "prefix",
    "problem_type",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict",
    "return_dict_in_generate",
    "sep_token_id",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "tie_word_embeddings",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers_version",
    "typical_p",
    "use_bfloat16",
    "use_cache",
];

/// Lists the keys that this program does not know, with their values, in the order of the file.
///
/// A key whose value is null, false, 0 or empty switches something off and is not listed.
pub(super) fn unknown_keys(config: &Map<String, Json>) -> Vec<(String, Json)> {
    let own = Architecture::keys();
    let of_family = match config.get("model_type").and_then(Json::as_str) {
        Some(WHISPER) => whisper::OTHERS,
        Some("data2vec-audio" | "data2vec") => OF_DATA2VEC,
        _ => &[],
    };
    let lists = [OF_MODELS, OF_TRANSFORMERS, of_family];
    let is_known =
        |key: &str| own.iter().any(|k| k == key) || lists.iter().any(|list| list.contains(&key));
    let unknown = config
        .iter()
        .filter(|(key, value)| !is_known(key) && !is_off(value));
    unknown
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn is_off(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Bool(flag) => !flag,
        Json::Number(n) => n.as_f64() == Some(0.0),
        Json::String(text) => text.is_empty(),
        Json::Array(items) => items.is_empty(),
        Json::Object(keys) => keys.is_empty(),
    }
}

/// Returns the first unknown key that is refused, as a sentence.
pub(super) fn check_keys(config: &Map<String, Json>, unknown: UnknownKeys) -> Result<(), String> {
    let UnknownKeys::Refuse { except } = unknown else {
        return Ok(());
    };
    match unknown_keys(config)
        .into_iter()
        .find(|(key, _)| !except.contains(key))
    {
        None => Ok(()),
        Some((key, value)) => Err(format!(
            "`{}` is {}, which this version does not know; if it changes no hidden state, name it \
             in `ignore_keys`",
            printable(&key),
            printable(&shortened(&value.to_string()))
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, unknown: UnknownKeys) -> Result<(), String> {
        check_keys(&serde_json::from_str(text).expect("an object"), unknown)
    }

    #[test]
    fn a_key_that_may_change_the_numbers_is_refused_by_name() {
        let refused = |text: &str| check(text, UnknownKeys::REFUSE).expect_err(text);
        assert_eq!(
            refused(r#"{"hidden_size": 16, "adapter_attn_dim": 16}"#),
            "`adapter_attn_dim` is 16, which this version does not know; if it changes no hidden \
             state, name it in `ignore_keys`"
        );
        for key in [
            "pruned_heads",
            "conv_pos_kernel_size",
            "position_embeddings_type",
        ] {
            assert!(refused(&format!(r#"{{"{key}": {{"0": [1]}}}}"#)).contains(key));
        }
    }

    #[test]
    fn what_is_off_known_or_excepted_passes() {
        for value in ["null", "false", "0", "0.0", "\"\"", "[]", "{}"] {
            let text = format!(r#"{{"adapter_attn_dim": {value}}}"#);
            assert_eq!(check(&text, UnknownKeys::REFUSE), Ok(()), "{text}");
        }
        let text = r#"{"adapter_attn_dim": 16}"#;
        let except = ["adapter_attn_dim".to_owned()];
        assert_eq!(check(text, UnknownKeys::Refuse { except: &except }), Ok(()));
        assert_eq!(check(text, UnknownKeys::Allow), Ok(()));
        let whisper = r#"{"model_type": "whisper", "forced_decoder_ids": [[1, null]]}"#;
        assert_eq!(check(whisper, UnknownKeys::REFUSE), Ok(()));
        let known = r#"{"vocab_size": 32, "tdnn_dim": [512], "id2label": {"0": "a"}, "top_k": 50}"#;
        assert_eq!(check(known, UnknownKeys::REFUSE), Ok(()));
    }
}
