//! Nodes: their kinds, their ports, and what they compute from a batch. Threads, channels and the
//! syntax of graph files are in the crate `pipeline`.
pub mod cache;
pub mod chart;
pub mod data;
pub mod kind;
pub mod kmeans;
pub mod model;
pub mod node;
pub mod prune;
pub mod tool;

pub use compute::{Error, Result};

/// A batch of rows, named here so that `pipeline` does not depend on arrow.
pub type Batch = arrow::record_batch::RecordBatch;

/// All kinds of nodes.
pub const KINDS: &[node::Kind] = &[
    node::Kind::of::<kind::additive_margin::Options>("additive-margin"),
    node::Kind::of::<kind::classifier::Options>("classifier"),
    node::Kind::of::<kind::cluster::Options>("cluster"),
    node::Kind::of::<kind::cmvn::Options>("cmvn"),
    node::Kind::of::<kind::codebook::Options>("codebook"),
    node::Kind::of::<kind::cross_entropy::Options>("cross-entropy"),
    node::Kind::of::<kind::ctc::Options>("ctc"),
    node::Kind::of::<kind::decode::Options>("decode"),
    node::Kind::of::<kind::fbank::Options>("fbank"),
    node::Kind::of::<kind::label::Options>("label"),
    node::Kind::of::<kind::label_file::Options>("label-file"),
    node::Kind::of::<kind::recurrent::Options>("recurrent"),
    node::Kind::of::<kind::save_labels::Options>("save-labels"),
    node::Kind::of::<kind::log::Options>("log"),
    node::Kind::of::<kind::logits::Options>("logits"),
    node::Kind::of::<kind::loss::Options>("loss"),
    node::Kind::of::<kind::mask::Options>("mask"),
    node::Kind::of::<kind::mix::Options>("mix"),
    node::Kind::of::<kind::optimize::Options>("optimize"),
    node::Kind::of::<kind::project::Options>("project"),
    node::Kind::of::<kind::prune_step::Options>("prune-step"),
    node::Kind::of::<kind::spec_augment::Options>("spec-augment"),
    node::Kind::of::<kind::student::Options>("student"),
    node::Kind::of::<kind::teacher::Options>("teacher"),
    node::Kind::of::<kind::transcripts::Options>("transcripts"),
    node::Kind::of::<kind::trials::Options>("trials"),
    node::Kind::of::<kind::x_vector::Options>("x-vector"),
];
