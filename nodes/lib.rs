//! What happens to a batch: nodes, their ports, their tensors. Knows no thread, no channel, no JSON text.
pub mod cache;
pub mod column;
pub mod decode;
pub mod extract;
pub mod fbank;
pub mod file;
pub mod inspect;
pub mod kmeans;
pub mod log;
pub mod model;
pub mod near;
pub mod node;
pub mod optimize;
pub mod port;
pub mod probe;
pub mod prune;
pub mod report;
pub mod sample;
pub mod step;
pub mod svg;
pub mod tap;
pub mod targets;

mod cluster;
mod cross_entropy;
mod frames;
mod label;
mod label_file;
mod labels;
mod logits;
mod loss;
mod mask;
#[cfg(test)]
mod parity;
mod project;
mod prune_step;
mod save_labels;
mod student;
mod table;
mod teacher;

pub use compute::{Error, Result};

/// What crosses threads, named here so that `pipeline` needs no arrow.
pub type Batch = arrow::record_batch::RecordBatch;

/// Every kind of node, one line each.
pub const KINDS: &[node::Kind] = &[
    node::Kind::of::<cluster::Options>("cluster"),
    node::Kind::of::<cross_entropy::Options>("cross-entropy"),
    node::Kind::of::<decode::Options>("decode"),
    node::Kind::of::<fbank::Options>("fbank"),
    node::Kind::of::<label::Options>("label"),
    node::Kind::of::<label_file::Options>("label-file"),
    node::Kind::of::<save_labels::Options>("save-labels"),
    node::Kind::of::<log::Options>("log"),
    node::Kind::of::<logits::Options>("logits"),
    node::Kind::of::<loss::Options>("loss"),
    node::Kind::of::<mask::Options>("mask"),
    node::Kind::of::<optimize::Options>("optimize"),
    node::Kind::of::<project::Options>("project"),
    node::Kind::of::<prune_step::Options>("prune-step"),
    node::Kind::of::<student::Options>("student"),
    node::Kind::of::<teacher::Options>("teacher"),
];

/// What is wrong with the option `layers` of a teacher or student.
fn layers_wrong(layers: &[usize], a: &model::Architecture) -> Result<(), Vec<node::Wrong>> {
    let (mut wrong, deepest) = (vec![], a.num_hidden_layers);
    if layers.is_empty() {
        wrong.push(node::Wrong::at("layers", "option `layers`: names no layer"));
    }
    for (i, layer) in layers.iter().enumerate() {
        let mut add =
            |says: String| wrong.push(node::Wrong::at(&format!("layers.{i}"), format!("option `layers`: {says}")));
        if *layer > deepest {
            add(format!("there is no layer {layer}, the model has 0 to {deepest}"));
        } else if layers[..i].contains(layer) {
            add(format!("layer {layer} stands in it twice"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// What is wrong with the input `mask` of a teacher or student.
fn mask_wrong(inputs: &port::Shapes, a: &model::Architecture) -> Result<(), Vec<node::Wrong>> {
    let wrong = a.mask_wrong().filter(|_| inputs.contains_key(port::MASK.name));
    wrong.map_or(Ok(()), |says| Err(vec![node::Wrong::at("inputs.mask", format!("input `mask`: {says}"))]))
}
