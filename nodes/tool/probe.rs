//! Measures what the layers of a frozen model, or log-mel frames, know of phones or of a label an
//! utterance: a linear classifier on each layer, trained on some speakers and measured on others.
//!
//! Utterances and their phones or labels are a table (module `labels`). The phone of a frame is the
//! one at its centre, sample 320 t + 200; a label is predicted from the mean over the utterance's
//! frames. The classifier (module `classifier`) is trained on a sample of what `train` has and
//! measured on all others (module `measure`).
mod classifier;
mod frames;
mod labels;
mod measure;
mod result;

use crate::Result;
use crate::data::audio::read_audio;
use crate::data::error::error_at;
use crate::node::layer_outputs::check_command_layers;
use crate::tool::layers::LayerChoice;
use crate::tool::model_options::ModelOptions;
use crate::tool::timing;
use compute::gemm::Precision;
use frames::Source;
use labels::{LabelTable, TRAIN};
use measure::probe_source;
use std::path::Path;

pub use result::{Counts, LayerAccuracy, ProbeResult};

/// Utterances over which a model is timed.
const TIMED: usize = 32;

/// Probes layers of a model folder, numbered as in transformers. `say` is told what the folder lacks.
///
/// # Errors
/// The model, the table or an audio file cannot be read, a layer does not exist, a speaker is in
/// `train` and in another split, or nothing is left to train on.
pub fn probe(
    model: &Path,
    options: &ModelOptions,
    table: &Path,
    layers: &LayerChoice,
    say: impl Fn(&str),
) -> Result<ProbeResult> {
    let mut model = options.load(model)?;
    let layers = layers.layers(model.architecture.num_hidden_layers)?;
    check_command_layers(&layers, &model.architecture)?;
    if let Some(reason) = model.why_not_normalized() {
        say(&reason);
    }
    model.pack(Precision::F32);
    let model = Box::new(model);
    probe_table(&Source::Model { model, layers }, table)
}

/// Probes log-mel frames: what a classifier knows without any model.
///
/// # Errors
/// As [`probe`], without a model.
pub fn probe_fbank(table: &Path) -> Result<ProbeResult> {
    probe_table(&Source::fbank(), table)
}

/// Returns the seconds that a model computes for a second of audio, over held-out utterances of the table.
///
/// # Errors
/// As [`probe`]; or no utterance is held out.
pub fn real_time_factor(model: &Path, options: &ModelOptions, table: &Path) -> Result<f64> {
    let model = options.load(model)?;
    let held_out = labels::read(table)?
        .utterances
        .into_iter()
        .filter(|utterance| utterance.split != TRAIN);
    let mut rows = vec![];
    for utterance in held_out.take(TIMED) {
        rows.push(read_audio(&utterance.path)?);
    }
    timing::real_time_factor(model, &rows)
        .ok_or_else(|| error_at(table, "holds no utterance outside of the split `train`"))
}

fn probe_table(source: &Source, table: &Path) -> Result<ProbeResult> {
    let LabelTable { kind, utterances } = labels::read(table)?;
    probe_source(source, utterances, kind, table)
}
