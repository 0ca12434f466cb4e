//! Options and values by their names in other toolkits, and what stands for them here.

/// Names of options, and a sentence that names the option here.
const OPTIONS: &[(&[&str], &str)] = &[
    (
        &["lr", "learning_rate", "learning_rates", "max_lr", "peak_lr"],
        "learning rates are `rates` of `optimize`, one for each node with parameters",
    ),
    (
        &["lr_scheduler", "lr_scheduler_type", "scheduler"],
        "the shape of the learning rates is `schedule` of `optimize`",
    ),
    (
        &[
            "batch_size",
            "train_batch_size",
            "per_device_train_batch_size",
            "max_tokens",
            "max_duration",
        ],
        "`seconds_per_batch` of `decode` is the audio of a batch, in seconds, `rows_per_batch` its rows",
    ),
    (
        &[
            "epoch",
            "epochs",
            "num_epochs",
            "max_epochs",
            "num_train_epochs",
            "max_epoch",
        ],
        "a phase is as long as `steps` of `optimize` says, in updates",
    ),
    (
        &[
            "max_steps",
            "total_steps",
            "num_steps",
            "max_update",
            "num_updates",
            "iterations",
        ],
        "the number of updates is `steps` of `optimize`",
    ),
    (
        &[
            "warmup",
            "warmup_ratio",
            "warmup_updates",
            "num_warmup_steps",
            "warmup_proportion",
        ],
        "`warmup_steps` stands in `schedule` of `optimize`, in updates",
    ),
    (
        &[
            "gradient_accumulation_steps",
            "accumulate_grad_batches",
            "update_freq",
            "grad_accum",
        ],
        "`accumulate` of `optimize` is the number of batches of an update",
    ),
    (
        &[
            "max_grad_norm",
            "grad_clip",
            "gradient_clipping",
            "gradient_clip_val",
            "clip",
        ],
        "the largest norm of the gradients is `clip_norm` of `optimize`",
    ),
    (
        &["l2", "l2_penalty", "wd", "decay"],
        "weight decay is `weight_decay` of `optimize`; the squared distance is the term \"mse\" of \
         a `loss`",
    ),
    (
        &["fp16", "bf16", "amp", "mixed_precision", "dtype"],
        "operands of products are rounded by `precision` of teacher, student and heads",
    ),
    (
        &[
            "save_steps",
            "save_interval",
            "save_interval_updates",
            "checkpoint_interval",
        ],
        "`checkpoint_every` of `optimize` is the number of updates between checkpoints",
    ),
    (
        &[
            "eval_steps",
            "eval_every",
            "val_check_interval",
            "validate_interval",
            "dev_interval",
        ],
        "`dev_every` of `decode` is the number of updates between dev passes",
    ),
    (
        &[
            "data",
            "data_dir",
            "dataset",
            "train",
            "train_data",
            "train_manifest",
            "train_set",
        ],
        "what a phase trains on is `manifest` of `decode`",
    ),
    (
        &[
            "valid",
            "validation",
            "val",
            "eval_data",
            "dev_manifest",
            "dev_set",
            "valid_data",
        ],
        "the dev set is `dev` of `decode`",
    ),
    (
        &["num_workers", "workers", "threads", "num_threads", "n_jobs"],
        "no graph names threads; they are the cores, or RAYON_NUM_THREADS",
    ),
    (
        &["device", "devices", "gpu", "gpus", "cuda"],
        "no graph names a device; the commands choose it",
    ),
    (
        &[
            "hidden_layers",
            "num_layers",
            "n_layers",
            "n_layer",
            "encoder_layers",
            "depth",
        ],
        "the number of layers is `num_hidden_layers`, a key of `architecture`",
    ),
    (
        &[
            "hidden_dim",
            "d_model",
            "embed_dim",
            "encoder_embed_dim",
            "hidden",
            "n_embd",
        ],
        "the width is `hidden_size`, a key of `architecture`",
    ),
    (
        &[
            "heads",
            "num_heads",
            "n_heads",
            "n_head",
            "encoder_attention_heads",
            "attention_heads",
        ],
        "the number of heads is `num_attention_heads`, a key of `architecture`",
    ),
    (
        &[
            "ffn_dim",
            "ffn_size",
            "d_ff",
            "encoder_ffn_embed_dim",
            "feed_forward_dim",
        ],
        "the width of the feed-forward layers is `intermediate_size`, a key of `architecture`",
    ),
    (
        &["dropout", "dropout_rate", "dropout_p"],
        "dropouts are keys of `architecture`, such as `hidden_dropout` and `attention_dropout`",
    ),
    (
        &[
            "pretrained",
            "model_path",
            "model_name",
            "model_name_or_path",
            "checkpoint",
            "ckpt",
        ],
        "a teacher's folder is `model`, that of a student is `init`",
    ),
    (
        &["tau", "kd_temperature"],
        "the divisor of logits is `temperature`",
    ),
    (
        &["loss", "criterion", "loss_type"],
        "distances are `terms` of a `loss`",
    ),
    (
        &["random_seed", "manual_seed"],
        "`seed` stands at the top of the file, beside `name`",
    ),
];

/// Values of options by their names elsewhere, the value that an option must have for the hint to
/// apply, and the hint.
const VARIANTS: &[(&[&str], &str, &str)] = &[
    (
        &["l2", "mean_squared_error", "squared"],
        "mse",
        "that is `mse` here",
    ),
    (
        &["mae", "mean_absolute_error", "l1_loss"],
        "l1",
        "that is `l1` here",
    ),
    (
        &["huber", "smooth_l1", "smoothl1", "huber_loss"],
        "mse",
        "there is none; the nearest are `l1` and `mse`",
    ),
    (
        &[
            "kld",
            "kldiv",
            "kl_div",
            "kl_divergence",
            "kl_loss",
            "distillation",
            "soft",
        ],
        "kl",
        "that is `kl` here, between logits",
    ),
    (
        &["cos", "cosine_similarity", "cosine_distance"],
        "cosine",
        "that is `cosine` here",
    ),
    (
        &["logsigmoid", "log_sigmoid", "distilhubert"],
        "log-sigmoid-cosine",
        "that is `log-sigmoid-cosine` here",
    ),
    (
        &["ce", "cross_entropy", "crossentropy", "nll"],
        "kl",
        "that is a node of the kind `cross-entropy`",
    ),
    (
        &["ctc", "ctc_loss"],
        "kl",
        "that is a node of the kind `ctc`",
    ),
    (&["avg", "average"], "mean", "that is `mean` here"),
    (
        &["adam"],
        "adamw",
        "that is `adamw` with the option `weight_decay` 0",
    ),
    (
        &["sgd", "momentum", "lamb", "adafactor"],
        "adamw",
        "there are forms of AdamW alone",
    ),
    (
        &["warmup_linear", "linear_with_warmup", "polynomial"],
        "linear",
        "that is `linear` here",
    ),
    (&["fp32", "float32", "float"], "f32", "that is `f32` here"),
    (
        &["bfloat16", "fp16", "float16", "half", "f16"],
        "bf16",
        "`bf16` is the narrow type here",
    ),
    (
        &["huggingface", "s3prl", "transformers"],
        "hf",
        "that is `hf` here",
    ),
    (
        &["fairseq", "dphubert"],
        "torchaudio",
        "that is `torchaudio` here",
    ),
];

/// Returns a sentence with the option here that stands for an option of other toolkits.
pub fn option_elsewhere(word: &str) -> Option<&'static str> {
    let word = normalized(word);
    let found = OPTIONS.iter().find(|(names, _)| names.contains(&&*word));
    found.map(|(_, here)| *here)
}

/// Returns the hint for a value of other toolkits, of an option with these `variants`.
pub fn variant_elsewhere(word: &str, variants: &[&str]) -> Option<&'static str> {
    let word = normalized(word);
    let found = VARIANTS
        .iter()
        .find(|(names, here, _)| names.contains(&&*word) && variants.contains(here));
    found.map(|(.., hint)| *hint)
}

fn normalized(word: &str) -> String {
    word.to_ascii_lowercase().replace(['-', ' '], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_toolkits_point_to_ours() {
        let points_to = |word: &str, here: &str| {
            assert!(
                option_elsewhere(word).is_some_and(|hint| hint.contains(here)),
                "{word}"
            );
        };
        points_to("lr", "`rates`");
        points_to("Learning-Rate", "`rates`");
        points_to("batch_size", "`seconds_per_batch`");
        points_to("epochs", "`steps`");
        points_to("hidden_layers", "`num_hidden_layers`");
        points_to("l2", "`weight_decay`");
        assert_eq!(option_elsewhere("layer"), None);
    }

    #[test]
    fn a_value_points_to_one_that_the_option_has() {
        let terms = ["l1", "mse", "cosine", "kl"];
        assert_eq!(variant_elsewhere("L2", &terms), Some("that is `mse` here"));
        assert!(variant_elsewhere("smooth-l1", &terms).is_some_and(|h| h.contains("`mse`")));
        assert!(variant_elsewhere("kld", &terms).is_some_and(|h| h.contains("`kl`")));
        assert_eq!(variant_elsewhere("l2", &["mean", "sum"]), None);
        assert_eq!(
            variant_elsewhere("avg", &["mean", "sum"]),
            Some("that is `mean` here")
        );
    }

    #[test]
    fn no_name_stands_for_two_options() {
        let mut listed_names: Vec<&str> = OPTIONS
            .iter()
            .flat_map(|(names, _)| *names)
            .copied()
            .collect();
        let listed = listed_names.len();
        listed_names.sort();
        listed_names.dedup();
        assert_eq!(listed_names.len(), listed);
        assert!(listed_names.iter().all(|name| normalized(name) == *name));
    }
}
