//! Describes a model folder, as text or as JSON.
use crate::Result;
use crate::data::printable::printable;
use crate::model::{
    EncoderType, ExtractNorm, FrontEnd, LoadedModel, UnknownKeys, count, statistics_file,
};
use compute::tensor::len;
use serde::Serialize;
use serde_json::{Map, Value as Json};
use std::fmt;
use std::path::Path;

/// The description of a model folder.
#[derive(Serialize)]
pub struct Inspected {
    pub format: &'static str,
    pub architecture: String,
    pub parameters: u64,
    /// Multiply-accumulates over SUPERB's 32 lengths.
    pub macs: u64,
    /// The number of layers.
    pub layers: usize,
    pub width: usize,
    /// The number of heads of each layer.
    pub heads: Vec<usize>,
    /// The number of feed-forward units of each layer.
    pub ffn: Vec<usize>,
    /// The number of channels of each convolution.
    pub conv: Vec<usize>,
    pub encoder: EncoderType,
    pub front_end: FrontEnd,
    /// Whether the folder has statistics that normalise log-mel frames.
    pub cmvn: bool,
    /// Whether waveforms are normalised.
    pub normalize: bool,
    /// The file that says so; `None` where the type of the extractor decides.
    pub normalize_from: Option<&'static str>,
    /// Keys of config.json that this program does not know; teacher and student refuse them.
    pub unknown_keys: Map<String, Json>,
    /// Tensors of the encoder that config.json does not describe; teacher and student refuse them.
    pub unread_tensors: Vec<String>,
    #[serde(skip)]
    norm: ExtractNorm,
}

/// Describes a model folder.
///
/// # Errors
/// A file cannot be read, or a tensor is missing or has another shape.
pub fn inspect(folder: &Path) -> Result<Inspected> {
    let loaded = LoadedModel::read(folder, UnknownKeys::Allow)?;
    let model = &loaded.model;
    let a = &model.architecture;
    Ok(Inspected {
        format: loaded.format,
        architecture: a.model_type.clone(),
        parameters: model.weights.0.values().map(|p| len(p) as u64).sum(),
        macs: count::macs(a),
        layers: a.num_hidden_layers,
        width: a.layer_width(a.num_hidden_layers),
        heads: (0..a.num_hidden_layers).map(|l| a.heads(l)).collect(),
        ffn: (0..a.num_hidden_layers).map(|l| a.ffn(l)).collect(),
        conv: if a.is_fbank() {
            vec![]
        } else {
            a.conv_dim.clone()
        },
        encoder: a.encoder,
        front_end: a.front_end,
        cmvn: model.cmvn.is_some(),
        normalize: model.normalize,
        normalize_from: loaded.normalization.file,
        unknown_keys: loaded.unknown_keys.iter().cloned().collect(),
        unread_tensors: loaded.unread_tensors.clone(),
        norm: a.feat_extract_norm,
    })
}

impl fmt::Display for Inspected {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let norm = match self.norm {
            ExtractNorm::Group => "group norm (Base type)",
            ExtractNorm::Layer => "layer norms (Large type)",
        };
        let waveforms = if self.normalize {
            "to zero mean and unit variance"
        } else {
            "as they are"
        };
        writeln!(f, "{} in {} format", self.architecture, self.format)?;
        writeln!(f, "  parameters  {}", self.parameters)?;
        writeln!(f, "  MACs        {} (SUPERB's 32 lengths)", self.macs)?;
        writeln!(f, "  layers      {} of width {}", self.layers, self.width)?;
        match self.encoder {
            EncoderType::Transformer => {
                writeln!(f, "  heads       {:?}", self.heads)?;
                writeln!(f, "  FFN units   {:?}", self.ffn)?;
            }
            EncoderType::Lstm => writeln!(f, "  encoder     LSTM")?,
        }
        let statistics = statistics_file(self.format);
        match self.front_end {
            FrontEnd::Fbank if self.cmvn => write!(f, "  log-mel     normalised by {statistics}")?,
            FrontEnd::Fbank => write!(f, "  log-mel     as it is: there is no {statistics}")?,
            FrontEnd::Whisper => write!(f, "  log-mel     Whisper's, of 30 s")?,
            FrontEnd::Waveform => {
                writeln!(f, "  channels    {:?}, {norm}", self.conv)?;
                let source = self
                    .normalize_from
                    .unwrap_or("no file says so: by the type of the extractor");
                write!(f, "  waveforms   {waveforms} ({source})")?;
            }
        }
        for (key, value) in &self.unknown_keys {
            let key = printable(key);
            let value = value.to_string();
            let value = printable(&value);
            write!(
                f,
                "\n  unknown key {key}: {value}; refused unless `ignore_keys` names it"
            )?;
        }
        for name in &self.unread_tensors {
            write!(f, "\n  unread tensor {}", printable(name))?;
        }
        Ok(())
    }
}
