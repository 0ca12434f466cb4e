//! Folders of DiariZen's diarization models. config.toml names the WavLM in them, pytorch_model.bin
//! holds its tensors beside those of the conformer that tells speakers apart.
//!
//! `wavlm_src` of config.toml is the name of a published WavLM, whose sizes diarizen.json lists, or
//! the file of torch.save that the training began with, whose `config` has them.
use crate::Result;
use crate::data::error::{PathContext, error_at};
use crate::data::printable::printable;
use crate::data::read_files::ReadFiles;
use crate::data::torch::TorchFile;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The configuration of a training of DiariZen.
pub(in crate::model) const DIARIZEN_CONFIG: &str = "config.toml";

/// The WavLMs that DiariZen publishes, by name.
const PUBLISHED: &str = include_str!("diarizen.json");

/// The kernel and stride of each convolution of all of them.
const CONVOLUTIONS: [(usize, usize); 7] = [(10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2)];

/// What a published WavLM keeps of WavLM Base+ or Large.
#[derive(Deserialize)]
struct Published {
    /// Whether it was WavLM Large.
    large: bool,
    /// The channels of each convolution; `None` where all are left.
    channels: Option<Vec<usize>>,
    /// The heads that are left of each layer.
    heads: Option<Vec<Vec<usize>>>,
    /// The number of feed-forward units of each layer.
    units: Option<Vec<usize>>,
}

/// The part of config.toml that says which WavLM the model has.
#[derive(Deserialize)]
struct Config {
    model: ModelSection,
}

#[derive(Deserialize)]
struct ModelSection {
    #[serde(default)]
    args: ModelArguments,
}

#[derive(Default, Deserialize)]
struct ModelArguments {
    wavlm_src: Option<String>,
}

/// Whether a folder describes its model by config.toml alone.
pub(in crate::model) fn is_diarizen_folder(folder: &Path) -> bool {
    !folder.join("config.json").exists() && folder.join(DIARIZEN_CONFIG).is_file()
}

/// Returns the arguments that build the WavLM of a folder. Errors name the file and what to do.
pub(in crate::model) fn builder_config(folder: &Path, read_files: &mut ReadFiles) -> Result<Json> {
    let path = folder.join(DIARIZEN_CONFIG);
    let source = wavlm_source(&path, read_files)?;
    let mut published: BTreeMap<String, Published> =
        serde_json::from_str(PUBLISHED).expect("diarizen.json is sound");
    if let Some(published) = published.remove(&source.to_lowercase()) {
        return Ok(published.builder_config());
    }
    let Some(described) = described_file(folder, &source) else {
        let known: Vec<&str> = published.keys().map(String::as_str).collect();
        let message = format!(
            "its WavLM is `{}`, which is no file here and none of {}; put the file of that name, \
             which holds `config` and `state_dict`, beside config.toml, or write its `config` as \
             config.json there",
            printable(&source),
            known.join(", ")
        );
        return Err(error_at(&path, message));
    };
    let file = TorchFile::open(&described)?;
    read_files.insert_open(&described, file.reopened()?)?;
    let config = file.root().get("config");
    let config = config.ok_or("has no `config` that describes a WavLM of DiariZen");
    config.at(&described)?.json().at(&described)
}

/// Returns the files that describe the WavLM of a folder, those that exist.
pub(in crate::model) fn describing_files(folder: &Path) -> Vec<PathBuf> {
    let mut read_files = ReadFiles::default();
    // A file that cannot be read is named when the model is loaded.
    let _ = builder_config(folder, &mut read_files);
    read_files.paths().map(Path::to_owned).collect()
}

fn wavlm_source(path: &Path, read_files: &mut ReadFiles) -> Result<String> {
    let text = read_files.text(path)?;
    let config: Result<Config, _> = basic_toml::from_str(&text);
    let source = config.at(path)?.model.args.wavlm_src;
    source.ok_or_else(|| {
        let message = "has no `wavlm_src` in [model.args]; of DiariZen this version reads models \
                       with a WavLM, not those over log-mel frames or SincNet";
        error_at(path, message)
    })
}

/// Finds the file that `wavlm_src` names, which may have moved to the folder of the model.
fn described_file(folder: &Path, source: &str) -> Option<PathBuf> {
    let named = folder.join(source);
    let moved = Path::new(source).file_name().map(|name| folder.join(name));
    let mut paths = [Some(named), moved].into_iter().flatten();
    paths.find(|path| path.is_file())
}

impl Published {
    /// Returns the arguments with which DiariZen builds the model, those that differ from WavLM
    /// Base+'s or are needed.
    fn builder_config(self) -> Json {
        let width = if self.large { 1024 } else { 768 };
        let layers = if self.large { 24 } else { 12 };
        let heads = if self.large { 16 } else { 12 };
        let units = 4 * width;
        let channels = self.channels.unwrap_or(vec![512; CONVOLUTIONS.len()]);
        let convolutions = channels.iter().zip(CONVOLUTIONS);
        let convolutions: Vec<Json> = convolutions
            .map(|(channels, (kernel, stride))| json!([channels, kernel, stride]))
            .collect();
        let all_heads = || vec![(0..heads).collect::<Vec<usize>>(); layers];
        json!({
            "extractor_mode": if self.large { "layer_norm" } else { "group_norm" },
            "extractor_conv_layer_config": convolutions,
            "encoder_embed_dim": width,
            "encoder_num_layers": layers,
            "encoder_total_num_heads": vec![heads; layers],
            "encoder_remaining_heads": self.heads.unwrap_or_else(all_heads),
            "encoder_num_buckets": 320,
            "encoder_max_distance": 800,
            "encoder_ff_interm_features": self.units.unwrap_or(vec![units; layers]),
            "encoder_layer_norm_first": self.large,
            "normalize_waveform": self.large,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::count;
    use crate::model::formats::keys::Keys;
    use crate::model::formats::torchaudio;

    /// The parameters that DiariZen's code counts, less `dummy_weight`, which is told by its tensor.
    #[test]
    fn published_wavlms_have_as_many_parameters_as_in_diarizen() {
        let mut published: BTreeMap<String, Published> =
            serde_json::from_str(PUBLISHED).expect("sound");
        for (name, parameters) in [
            ("wavlm_base", 94_381_680 - 512),
            ("wavlm_large", 315_452_608 - 512),
            ("wavlm_base_s80_md", 18_881_683 - 137),
            ("wavlm_large_s80_md", 63_095_530 - 211),
        ] {
            let config = published.remove(name).expect("listed").builder_config();
            let keys = Keys::of(config, "`config`").expect("keys");
            let architecture = torchaudio::architecture(&keys, &BTreeMap::new());
            let architecture = architecture.expect(name);
            assert_eq!(count::parameters(&architecture), parameters, "{name}");
        }
        assert!(published.is_empty());
    }
}
