//! Columns and batches that nodes exchange, audio and its manifests, labels, metrics, and files in
//! general.
pub mod audio;
pub mod column;
pub(crate) mod deltas;
pub mod entry;
pub(crate) mod error;
pub mod file;
pub mod folder_tree;
pub(crate) mod labels;
pub mod manifest;
pub mod mel;
pub mod metrics;
pub(crate) mod panic;
pub(crate) mod placeholder;
pub mod printable;
pub(crate) mod protobuf;
pub mod read_files;
pub mod regular;
pub(crate) mod subsample;
pub mod suggestion;
pub(crate) mod table;
pub mod targets;
pub mod text;
pub(crate) mod torch;
pub(crate) mod unicode;
pub(crate) mod whisper_mel;
