//! A model's tensors by their Hugging Face names, and the folder they lie in.
use super::{Architecture, MASK_EMBEDDING};
use crate::Result;
use crate::data::file;
use compute::parallel::map;
use compute::random::Key;
use compute::tensor::{Param, param, read};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Parameters by their Hugging Face names, without prefix.
#[derive(Clone)]
pub struct Weights(pub BTreeMap<String, Param>);

impl Weights {
    /// The architecture has named it, so it is there.
    pub fn get(&self, name: &str) -> &Param {
        self.0
            .get(name)
            .unwrap_or_else(|| panic!("no parameter {name}"))
    }
    pub fn find(&self, name: &str) -> Option<&Param> {
        self.0.get(name)
    }
    /// Several tensors whose names begin with `at`.
    pub fn all<const N: usize>(&self, at: &str, names: [&str; N]) -> [&Param; N] {
        names.map(|n| self.get(&format!("{at}{n}")))
    }
}

/// An architecture, its weights, and whether it wants each waveform brought to zero mean and unit variance.
#[derive(Clone)]
pub struct Model {
    pub architecture: Architecture,
    pub weights: Weights,
    pub normalize: bool,
}

/// config.json of a model folder.
pub fn read_architecture(folder: &Path) -> Result<Architecture> {
    let path = folder.join("config.json");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    Architecture::from_config(&text).map_err(|e| format!("{}: {e}", path.display()).into())
}

/// preprocessor_config.json's `do_normalize`; without that file, exactly the models with layer norms in the extractor.
fn read_normalize(folder: &Path, architecture: &Architecture) -> Result<bool> {
    let path = folder.join("preprocessor_config.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        return Ok(architecture.feat_extract_norm == super::ExtractNorm::Layer);
    };
    let keys: Json = serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?;
    if keys["sampling_rate"]
        .as_f64()
        .is_some_and(|rate| rate != 16000.0)
    {
        return Err(format!(
            "{}: the model wants {} Hz, not 16000",
            path.display(),
            keys["sampling_rate"]
        )
        .into());
    }
    Ok(keys["do_normalize"].as_bool().unwrap_or(true)) // transformers' default
}

impl Model {
    /// A folder with config.json and model.safetensors; with `architecture`, that in place of the folder's (same shapes).
    pub fn load(folder: &Path, architecture: Option<&Architecture>) -> Result<Model> {
        let own = read_architecture(folder)?;
        let architecture = architecture.cloned().unwrap_or(own);
        let path = folder.join("model.safetensors");
        if !path.exists() {
            let says = "is not there; convert the checkpoint to safetensors (`model.save_pretrained(folder)` in transformers)";
            return Err(format!("{}: {says}", path.display()).into());
        }
        let mut there: BTreeMap<String, _> = file::load(&path)?
            .into_iter()
            .map(|(n, t)| (plain_name(&n), t))
            .collect();
        let mut weights = BTreeMap::new();
        for (name, shape) in architecture.tensors() {
            let (found, values) = there
                .remove(&name)
                .ok_or_else(|| format!("{}: there is no tensor `{name}`", path.display()))?;
            if found != shape {
                return Err(format!(
                    "{}: `{name}` is {found:?}, but config.json says {shape:?}",
                    path.display()
                )
                .into());
            }
            weights.insert(name, param(values));
        }
        let normalize = read_normalize(folder, &architecture)?;
        Ok(Model {
            architecture,
            weights: Weights(weights),
            normalize,
        })
    }

    /// Random weights, drawn as in pre-training: Kaiming-normal convolutions, N(0, 0.02) linear maps, zero biases, unit
    /// norms, N(0, 4 / (k d)) for the positional convolution, a uniform mask embedding, N(0, 0.02) position biases.
    pub fn random(architecture: &Architecture, key: Key) -> Model {
        let mut weights: BTreeMap<String, Param> = BTreeMap::new();
        for (site, (name, shape)) in architecture.tensors().into_iter().enumerate() {
            let n: usize = shape.iter().product();
            let normal = |scale: f64| map(n, |i| key.normal(site as u64, i as u64) * scale as f32);
            let ones = ["norm.weight", "dummy_weight", "gru_rel_pos_const"]
                .iter()
                .any(|end| name.ends_with(end));
            let values: Vec<f32> = if ones {
                vec![1.0; n]
            } else if name.ends_with("conv.weight") {
                normal((2.0 / (shape[1] * shape[2]) as f64).sqrt())
            } else if name.ends_with("weight_v") {
                normal((4.0 / (shape[2] * architecture.hidden_size) as f64).sqrt())
            } else if name == MASK_EMBEDDING {
                map(n, |i| key.uniform(site as u64, i as u64))
            } else if name.ends_with("weight") {
                normal(0.02)
            } else {
                vec![0.0; n]
            };
            weights.insert(name, param(values));
        }
        let at = "encoder.pos_conv_embed.conv.";
        let taps = architecture.num_conv_pos_embeddings;
        let mut norms = vec![0f64; taps];
        for (i, v) in read(&weights[&format!("{at}weight_v")]).iter().enumerate() {
            norms[i % taps] += (*v as f64).powi(2);
        }
        weights.insert(
            format!("{at}weight_g"),
            param(norms.into_iter().map(|n| n.sqrt() as f32).collect()),
        );
        let normalize = architecture.feat_extract_norm == super::ExtractNorm::Layer;
        Model {
            architecture: architecture.clone(),
            weights: Weights(weights),
            normalize,
        }
    }

    /// The folder, whole or not at all: written beside its place, then renamed. One that is there is replaced.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let growing = file::temporary(folder);
        let _ = std::fs::remove_dir_all(&growing);
        let shapes: BTreeMap<String, Vec<usize>> =
            self.architecture.tensors().into_iter().collect();
        let tensors: Vec<_> = shapes
            .iter()
            .map(|(n, s)| (n.clone(), s.clone(), read(self.weights.get(n))))
            .collect();
        let preprocessor = json!({
            "do_normalize": self.normalize,
            "feature_extractor_type": "Wav2Vec2FeatureExtractor",
            "feature_size": 1,
            "padding_side": "right",
            "padding_value": 0.0,
            "return_attention_mask": self.normalize,
            "sampling_rate": 16000,
        });
        file::save(
            &growing.join("model.safetensors"),
            &tensors,
            [("format".to_owned(), "pt".to_owned())].into(),
        )?;
        for (name, json) in [
            ("config.json", self.architecture.to_config()),
            ("preprocessor_config.json", preprocessor),
        ] {
            file::write_atomic(&growing.join(name), format!("{json:#}\n").as_bytes())?;
        }
        file::replace_folder(&growing, folder)
    }
}

/// Without a prefix such as `hubert.`, and with the older names of the weight norm's two tensors.
fn plain_name(name: &str) -> String {
    let name = ["hubert.", "wav2vec2.", "wavlm."]
        .iter()
        .find_map(|p| name.strip_prefix(p))
        .unwrap_or(name);
    name.replace("parametrizations.weight.original0", "weight_g")
        .replace("parametrizations.weight.original1", "weight_v")
}
