//! Every kind of node, one module each. No kind imports another.
pub mod cluster;
pub mod cmvn;
pub mod cross_entropy;
pub mod decode;
pub mod fbank;
pub mod label;
pub mod label_file;
pub mod log;
pub mod logits;
pub mod loss;
pub mod mask;
pub mod optimize;
pub mod project;
pub mod prune_step;
pub mod save_labels;
pub mod student;
pub mod teacher;
