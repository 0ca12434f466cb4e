//! HuBERT-type encoders: what they look like, their weights, and the way from a waveform to hidden states. Teacher and
//! student are the same code: with [`NoneTape`](compute::tensor::NoneTape) nothing is kept for a backward pass.
pub mod activation_bytes;
mod architecture;
pub mod count;
mod forward;
mod mask;
#[cfg(test)]
pub mod parity;
mod read;
mod tensors;
mod validate;
mod weights;

pub use crate::node::model_option::ModelOption;
pub use architecture::{Architecture, ExtractNorm};
pub use forward::{DropoutKey, Forward, OPEN};
pub use mask::MASK_EMBEDDING;
pub use read::described;
pub use tensors::POSITION_TABLE;
pub use weights::{Model, Weights, read_architecture};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What libraries number differently: layer 0, and the last layer of a pre-LN model. Layers between are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Convention {
    /// transformers and s3prl: 0 is the input of layer 1; the last layer of a pre-LN model has the final norm.
    #[default]
    Hf,
    /// torchaudio and DPHuBERT: 0 is the output of the feature projection; no final norm.
    Torchaudio,
}
