use super::*;
use crate::model::UnknownKeys;

#[test]
fn the_first_problem_is_named() {
    let problem = |text: &str| {
        Architecture::from_config(text, UnknownKeys::REFUSE)
            .expect_err(text)
            .to_string()
    };
    assert_eq!(
        problem(r#"{"model_type": "wav2vec2-bert"}"#),
        "`model_type` is \"wav2vec2-bert\"; this version knows hubert, wav2vec2, wavlm and \
         their pruned and compact forms, and data2vec-audio and whisper as teachers; of these, wav2vec2 is \
         the most similar"
    );
    let wavlm = |keys: &str| {
        problem(&format!(
            r#"{{"model_type": "wavlm", "num_hidden_layers": 1, {keys}}}"#
        ))
    };
    assert_eq!(
        wavlm(r#""num_buckets": 3"#),
        "`num_buckets` must be from 4 to 65536"
    );
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
        problem(r#"{"encoder_remaining_heads": []}"#),
        "`encoder_remaining_heads` is for WavLM; say `encoder_num_heads`"
    );
    for (keys, sentence) in [
        (
            r#""encoder": "lstm""#,
            "`encoder` is \"lstm\", so `lstm_hidden_size`, the units of one direction, must be \
             from 1 to 65536",
        ),
        (
            r#""front_end": "fbank", "fbank_bins": 3"#,
            "`fbank_bins` must be from 4 to 256",
        ),
        (
            r#""front_end": "fbank", "fbank_conv_kernel": [5, 5]"#,
            "`fbank_conv_kernel` must be one odd number, so that frames have 20 ms and lie as \
             HuBERT's",
        ),
        (
            r#""lstm_hidden_size": 384"#,
            "`lstm_hidden_size` and `lstm_bidirectional` need `encoder` to be \"lstm\"",
        ),
        (
            r#""encoder": "lstm", "lstm_hidden_size": 384, "time_reduction": 2"#,
            "`time_reduction` is of transformers, but `encoder` is \"lstm\"",
        ),
        (
            r#""encoder_reuse_attention": [false]"#,
            "`encoder_reuse_attention` needs 2 flags, one a layer",
        ),
        (
            r#""encoder_reuse_attention": [true, false]"#,
            "`encoder_reuse_attention`: layer 1 has no layer before it; its flag must be false",
        ),
        (
            r#""encoder_reuse_attention": [false, true], "encoder_num_heads": [3, 2]"#,
            "`encoder_reuse_attention`: a layer needs as many heads as the layer whose map it \
             uses",
        ),
        (
            r#""reuse_as_released": true"#,
            "`reuse_as_released` says how a map is reused; say `encoder_reuse_attention` too",
        ),
        (
            r#""time_reduction": 0"#,
            "`time_reduction` must be from 1 to 16",
        ),
    ] {
        assert_eq!(
            problem(&format!(r#"{{"num_hidden_layers": 2, {keys}}}"#)),
            sentence
        );
    }
    assert_eq!(
        problem(r#"{"hidden_size": 70}"#),
        "`hidden_size` must be a multiple of `num_attention_heads`"
    );
    assert_eq!(
        problem(r#"{"conv_dim": []}"#),
        "`conv_dim` needs as many numbers as `conv_dim`, 1 to 1024"
    );
    assert_eq!(
        problem(r#"{"hidden_size": 99999999999}"#),
        "`hidden_size` must be from 1 to 65536"
    );
    assert_eq!(
        problem(r#"{"hidden_size": -1}"#),
        "key `hidden_size`: invalid value: integer `-1`, expected usize"
    );
    assert_eq!(
        problem(r#"{"hidden_act": "relu"}"#),
        "`hidden_act` is \"relu\"; this version knows \"gelu\""
    );
}
