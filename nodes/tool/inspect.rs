//! What a model folder holds, for a person or a program.
use crate::Result;
use crate::model::{ExtractNorm, Model, count};
use compute::tensor::len;
use serde::Serialize;
use std::fmt;
use std::path::Path;

#[derive(Serialize)]
pub struct Inspected {
    pub format: &'static str,
    pub architecture: String,
    pub parameters: u64,
    pub macs: u64,
    pub layers: usize,
    pub width: usize,
    pub heads: Vec<usize>,
    pub ffn: Vec<usize>,
    pub conv: Vec<usize>,
    pub normalize: bool,
    #[serde(skip)]
    norm: ExtractNorm,
}

/// Opens the folder as a whole, so that a tensor that is missing or of another shape is an error.
pub fn inspect(folder: &Path) -> Result<Inspected> {
    let model = Model::load(folder, None)?;
    let a = &model.architecture;
    Ok(Inspected {
        format: "huggingface",
        architecture: a.model_type.clone(),
        parameters: model.weights.0.values().map(|p| len(p) as u64).sum(),
        macs: count::macs(a),
        layers: a.num_hidden_layers,
        width: a.hidden_size,
        heads: (0..a.num_hidden_layers).map(|l| a.heads(l)).collect(),
        ffn: (0..a.num_hidden_layers).map(|l| a.ffn(l)).collect(),
        conv: a.conv_dim.clone(),
        normalize: model.normalize,
        norm: a.feat_extract_norm,
    })
}

impl fmt::Display for Inspected {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let norm = if self.norm == ExtractNorm::Group {
            "group norm (Base type)"
        } else {
            "layer norms (Large type)"
        };
        writeln!(f, "{} in {} format", self.architecture, self.format)?;
        writeln!(f, "  parameters  {}", self.parameters)?;
        writeln!(f, "  MACs        {} (SUPERB's 32 lengths)", self.macs)?;
        writeln!(f, "  layers      {} of width {}", self.layers, self.width)?;
        writeln!(f, "  heads       {:?}", self.heads)?;
        writeln!(f, "  FFN units   {:?}", self.ffn)?;
        writeln!(f, "  channels    {:?}, {norm}", self.conv)?;
        write!(
            f,
            "  waveforms   {}",
            if self.normalize {
                "to zero mean and unit variance"
            } else {
                "as they are"
            }
        )
    }
}
