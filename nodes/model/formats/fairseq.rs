//! Checkpoints of fairseq (wav2vec 2.0, HuBERT, data2vec), s3prl's copies of them, and those of
//! microsoft/unilm (WavLM), whose encoder has fairseq's form.
use super::encoder;
use super::keys::Keys;
use super::names;
use super::{StoredModel, head};
use crate::data::printable::printable;
use crate::data::torch::{TorchFile, Value};
use crate::model::normalization::Normalization;
use crate::model::stored::{Stored, StoredTensor, described};
use crate::model::{Architecture, FAIRSEQ_EPSILON};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// Models of fairseq by the names that it registers, and `model_type` of transformers.
const MODELS: &[(&str, &str)] = &[
    ("hubert", "hubert"),
    ("wav2vec2", "wav2vec2"),
    ("wav2vec", "wav2vec2"),
    ("data2vec_audio", "data2vec-audio"),
];

/// What the names of a fine-tuned model's encoder begin with.
const FINE_TUNED: &str = "w2v_encoder.";

/// Reads `cfg` or `args`, and `model`.
pub(super) fn fairseq(file: TorchFile) -> Result<StoredModel, String> {
    let root = file.root();
    let state = root.get("model").ok_or("has no `model`")?;
    let config = match (root.get("cfg"), root.get("args")) {
        (Some(cfg), _) if !cfg.entries().is_empty() => Config::of_cfg(cfg)?,
        (_, Some(args)) => Config::of_args(args)?,
        _ => return Err("has neither `cfg` nor `args`, which describe its model".into()),
    };
    let task_state = root.get("task_state");
    let dictionaries = task_state.and_then(|state| state.get("dictionaries"));
    let symbols = dictionaries.and_then(|dictionaries| {
        let first = dictionaries.elements()?.first().copied()?;
        head::symbols(first.get("symbols")?)
    });
    let tensors = described(state);
    config.stored_model(file, "fairseq", tensors, symbols)
}

/// Reads s3prl's `task_cfg`, `model_cfg`, `model_weight` and `dictionaries_symbols`.
pub(super) fn s3prl(file: TorchFile) -> Result<StoredModel, String> {
    let root = file.root();
    let part = |key: &str| root.get(key).ok_or_else(|| format!("has no `{key}`"));
    let model = Keys::of(part("model_cfg")?.json()?, "`model_cfg`")?;
    let task = Keys::of(part("task_cfg")?.json()?, "`task_cfg`")?;
    let dictionaries = root.get("dictionaries_symbols");
    let dictionaries = dictionaries.and_then(|dictionaries| dictionaries.elements());
    let symbols = dictionaries.and_then(|lists| head::symbols(*lists.first()?));
    let tensors = described(part("model_weight")?);
    let config = Config {
        name: model.text("_name", "")?,
        normalize: task.flag("normalize", false)?,
        model,
        is_pretrained: false,
    };
    config.stored_model(file, "s3prl", tensors, symbols)
}

/// Reads unilm's flat `cfg`, and `model`.
pub(super) fn unilm(file: TorchFile) -> Result<StoredModel, String> {
    let root = file.root();
    let cfg = root.get("cfg").ok_or("has no `cfg`")?;
    let keys = Keys::of(cfg.json()?, "`cfg`")?;
    let state = root.get("model").ok_or("has no `model`")?;
    let tensors = described(state);
    let prefix = encoder::prefix(&tensors, names::FAIRSEQ_ANCHOR)?;
    let tensors = encoder::renamed(tensors, &prefix);
    let mut architecture = encoder::architecture(&keys, "conv_feature_layers", &tensors)?;
    architecture.model_type = "hubert".into();
    if keys.flag("relative_position_embedding", false)? {
        if !keys.flag("gru_rel_pos", false)? {
            return Err(
                "has relative positions without gates, which this version does not know".into(),
            );
        }
        architecture.model_type = "wavlm".into();
        architecture.num_buckets = keys.size("num_buckets", 320)?;
        architecture.max_bucket_distance = keys.size("max_distance", 1280)?;
    }
    Ok(StoredModel {
        format: "unilm",
        normalization: Normalization::of_checkpoint(keys.flag("normalize", false)?),
        epsilon: FAIRSEQ_EPSILON,
        architecture,
        stored: Stored::of_torch(file, tensors),
        cmvn: None,
        symbols: None,
    })
}

/// Returns whether waveforms are normalised, if a part of a configuration says so.
///
/// # Errors
/// It says something else than true or false, such as the name of another key.
pub(super) fn stated_normalize(part: Option<Value>) -> Result<Option<bool>, String> {
    let value = part.and_then(|part| part.get("normalize"));
    let Some(value) = value else {
        return Ok(None);
    };
    match (value.bool(), value.text()) {
        (Some(flag), _) => Ok(Some(flag)),
        (None, Some("true" | "True")) => Ok(Some(true)),
        (None, Some("false" | "False")) => Ok(Some(false)),
        (None, Some(text)) => {
            let text = printable(text);
            Err(format!("its `normalize` is \"{text}\", not true or false"))
        }
        (None, None) => match value.json() {
            Ok(Json::Null) | Err(_) => Ok(None),
            Ok(other) => Keys::of(json!({ "normalize": other }), "configuration")?
                .flag("normalize", false)
                .map(Some),
        },
    }
}

/// What fairseq keeps beside the tensors.
pub(super) struct Config {
    /// The name of the model, such as `hubert`; empty if none is given.
    pub(super) name: String,
    pub(super) model: Keys,
    normalize: bool,
    /// Whether it is that of the model which a fine-tuned one began with.
    is_pretrained: bool,
}

impl Config {
    /// Reads the newer form, with a part for the model and one for the task. A fine-tuned model keeps
    /// the configuration of what it was trained from in `w2v_args`.
    pub(super) fn of_cfg(cfg: Value) -> Result<Config, String> {
        let model = cfg.get("model").ok_or("its `cfg` has no part `model`")?;
        let options = model.json()?;
        let normalize = stated_normalize(cfg.get("task"))?;
        if let Some(config) = Config::of_pretrained(model, normalize)? {
            return Ok(config);
        }
        let keys = Keys::of(options, "`cfg.model`")?;
        Ok(Config {
            name: keys.text("_name", "")?,
            normalize: normalize.unwrap_or(keys.flag("normalize", false)?),
            model: keys,
            is_pretrained: false,
        })
    }

    /// Reads the older form, where all options lie in one namespace.
    fn of_args(args: Value) -> Result<Config, String> {
        let normalize = stated_normalize(Some(args))?;
        if let Some(config) = Config::of_pretrained(args, normalize)? {
            return Ok(config);
        }
        let keys = Keys::of(args.json()?, "`args`")?;
        Ok(Config {
            name: keys.text("arch", "")?,
            normalize: normalize.unwrap_or(false),
            model: keys,
            is_pretrained: false,
        })
    }

    /// Reads `w2v_args`, the configuration that a fine-tuned model was trained from, in either form;
    /// `None` if there is none. `normalize` is that of the fine-tuning, if it says so.
    fn of_pretrained(fine_tuned: Value, normalize: Option<bool>) -> Result<Option<Config>, String> {
        let pretrained = fine_tuned.get("w2v_args");
        let Some(pretrained) = pretrained.filter(|args| !args.entries().is_empty()) else {
            return Ok(None);
        };
        let config = if pretrained.get("model").is_some() {
            Config::of_cfg(pretrained)?
        } else {
            Config::of_args(pretrained)?
        };
        Ok(Some(Config {
            normalize: normalize.unwrap_or(config.normalize),
            is_pretrained: true,
            ..config
        }))
    }

    pub(super) fn stored_model(
        self,
        file: TorchFile,
        format: &'static str,
        tensors: BTreeMap<String, StoredTensor>,
        symbols: Option<Vec<String>>,
    ) -> Result<StoredModel, String> {
        let prefix = encoder::prefix(&tensors, names::FAIRSEQ_ANCHOR)?;
        if prefix.starts_with(FINE_TUNED) && !self.is_pretrained {
            return Err(
                "is fine-tuned, and the configuration of its encoder, `w2v_args`, is not in the file"
                    .into(),
            );
        }
        let tensors = encoder::renamed(tensors, &prefix);
        let mut architecture = self.architecture(&tensors)?;
        architecture.model_type = self.model_type(&tensors)?;
        Ok(StoredModel {
            format,
            normalization: Normalization::of_checkpoint(self.normalize),
            epsilon: FAIRSEQ_EPSILON,
            architecture,
            stored: Stored::of_torch(file, tensors),
            cmvn: None,
            symbols,
        })
    }

    fn architecture(
        &self,
        tensors: &BTreeMap<String, StoredTensor>,
    ) -> Result<Architecture, String> {
        encoder::architecture(&self.model, "conv_feature_layers", tensors)
    }

    /// Returns `model_type`: by the name where there is one, else by the heads of pre-training.
    fn model_type(&self, tensors: &BTreeMap<String, StoredTensor>) -> Result<String, String> {
        if self.name.is_empty() {
            let has_quantizer = tensors.keys().any(|name| name.starts_with("quantizer."));
            return Ok(if has_quantizer { "wav2vec2" } else { "hubert" }.into());
        }
        let known = MODELS.iter().find(|(name, _)| self.name.starts_with(name));
        match known {
            Some((_, model_type)) => Ok((*model_type).to_owned()),
            None => Err(format!(
                "is a `{}` of fairseq; this version reads its hubert, wav2vec2 and data2vec_audio",
                self.name
            )),
        }
    }
}
