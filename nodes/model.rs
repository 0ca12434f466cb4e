//! HuBERT-type encoders: their architecture, their weights, and the forward pass from waveforms to
//! hidden states.
//!
//! Teacher and student run the same code. With [`NoneTape`](compute::tensor::NoneTape) a pass
//! retains nothing for a backward pass.
pub mod activation_bytes;
mod architecture;
mod architecture_option;
mod checkpoint;
mod cmvn;
mod components;
mod config_json;
mod config_keys;
pub mod count;
mod formats;
mod forward;
mod label_head;
mod mask;
mod model_files;
mod normalization;
#[cfg(test)]
pub mod parity;
mod random;
pub mod row_memory;
mod stored;
mod transfer;
mod units;
mod validate;
mod weight_files;
mod weights;
mod whisper;

pub use architecture::{Architecture, EncoderType, ExtractNorm, FrontEnd};
pub use architecture_option::{ArchitectureError, architecture_schema};
pub use checkpoint::{StatedModel, has_statistics, read_architecture};
pub use cmvn::{CMVN_FILE, Cmvn};
pub use components::{Component, DUMMY_WEIGHT, MASK_EMBEDDING};
pub(crate) use components::{Dim, Initial, TensorSpec, lstm_tensors};
pub use config_keys::UnknownKeys;
pub use formats::statistics_file;
pub(crate) use forward::normalized;
pub use forward::{DropoutKey, Encoded, Forward, LayerMap, OPEN, Outputs};
pub use label_head::{
    Classes, HeadClasses, LabelEmbeddings, LabelHead, Numbering, label_classes, label_embeddings,
    label_head_metadata, label_head_path,
};
pub use model_files::{model_files, named_encoder_files};
pub use normalization::{FAIRSEQ_EPSILON, HUGGING_FACE_EPSILON, Normalization};
pub(crate) use random::draw;
pub use transfer::Transfer;
pub use units::{Unit, UnitGroup};
pub use weight_files::weight_paths;
pub use weights::{FILES, LoadedModel, Model, Weights};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Numbering of layers. Libraries differ in layer 0 and in the last layer of a pre-LN model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Convention {
    /// transformers and s3prl: 0 is the input of layer 1; the last layer of a pre-LN model has the
    /// final norm.
    #[default]
    Hf,
    /// torchaudio and DPHuBERT: 0 is the output of the feature projection; no final norm.
    Torchaudio,
}
