//! Measures what the layers of a frozen model, or log-mel frames, know of phones: a linear
//! classifier of frames on each layer, trained on some speakers and measured on others.
//!
//! Utterances and their phones are a table (module `labels`). The label of a frame is the phone at
//! its centre, sample 320 t + 200. The classifier (module `classifier`) is trained on a sample of
//! the train frames and measured on all others.
mod classifier;
mod frames;
mod labels;

use crate::Result;
use crate::data::audio::read_audio;
use crate::data::error::error_at;
use crate::data::subsample::Sample;
use crate::model::{Convention, Forward, Model, OPEN, UnknownKeys};
use crate::node::model_option::check_command_layers;
use crate::tool::layers::LayerChoice;
use classifier::Classifier;
use compute::gemm::Precision;
use compute::random::Key;
use compute::tensor::alone;
use frames::Source;
use labels::LabelledUtterance;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

/// The most frames to train on.
const MAX_TRAIN_FRAMES: usize = 100_000;
/// The number of utterances whose hidden states are in memory at once.
const GROUP: usize = 16;
/// Utterances over which a model is timed.
const TIMED: usize = 32;
const TRAIN: &str = "train";

/// Values by split, except `train`.
type BySplit<T> = BTreeMap<String, T>;

/// The accuracies of all layers.
#[derive(Deserialize, Serialize)]
pub struct ProbeResult {
    /// The number of phones in training.
    pub phones: usize,
    /// The number of frames that were trained on.
    pub train_frames: usize,
    /// The number of frames that were measured.
    pub frames: BySplit<usize>,
    /// The share of the most frequent train phone, which a classifier without input would reach.
    pub constant: BySplit<f64>,
    pub layers: Vec<LayerAccuracy>,
}

/// The accuracy of one layer.
#[derive(Deserialize, Serialize)]
pub struct LayerAccuracy {
    pub layer: usize,
    /// The share of frames whose phone is predicted.
    pub accuracy: BySplit<f64>,
}

/// Probes layers of a model folder, numbered as in transformers.
///
/// # Errors
/// The model, the table or an audio file cannot be read, a layer does not exist, a speaker is in
/// `train` and in another split, or no frame is left to train on.
pub fn probe(
    model: &Path,
    ignore_keys: &[String],
    table: &Path,
    layers: &LayerChoice,
) -> Result<ProbeResult> {
    let unknown = UnknownKeys::Refuse {
        except: ignore_keys,
    };
    let model = Model::load(model, unknown)?;
    let layers = layers.layers(model.architecture.num_hidden_layers)?;
    check_command_layers(&layers, &model.architecture)?;
    let model = Box::new(model);
    probe_source(Source::Model { model, layers }, table)
}

/// Probes log-mel frames: what a classifier knows without any model.
///
/// # Errors
/// As [`probe`], without a model.
pub fn probe_fbank(table: &Path) -> Result<ProbeResult> {
    probe_source(Source::fbank(), table)
}

/// Returns the seconds that a model computes for a second of audio: one row at a time, in f32, over
/// held-out utterances of the table, after one that is not timed.
///
/// # Errors
/// As [`probe`]; or no utterance is held out.
pub fn real_time_factor(model: &Path, ignore_keys: &[String], table: &Path) -> Result<f64> {
    let unknown = UnknownKeys::Refuse {
        except: ignore_keys,
    };
    let model = Model::load(model, unknown)?;
    let held_out = labels::read(table)?
        .into_iter()
        .filter(|utterance| utterance.split != TRAIN);
    let mut rows = vec![];
    for utterance in held_out.take(TIMED) {
        rows.push(read_audio(&utterance.path)?);
    }
    let Some(first) = rows.first() else {
        return Err(error_at(
            table,
            "holds no utterance outside of the split `train`",
        ));
    };
    let forward = Forward::frozen(&model, OPEN, Precision::F32);
    let deepest = [model.architecture.num_hidden_layers];
    let compute = |row: &[f32]| drop(forward.hiddens(&[row], &deepest, Convention::Hf));
    compute(first);
    let begun = Instant::now();
    for row in &rows {
        compute(row);
    }
    let samples: usize = rows.iter().map(Vec::len).sum();
    Ok(begun.elapsed().as_secs_f64() / (samples as f64 / 16000.0))
}

fn probe_source(source: Source, table: &Path) -> Result<ProbeResult> {
    let (train, held_out): (Vec<_>, Vec<_>) = labels::read(table)?
        .into_iter()
        .partition(|utterance| utterance.split == TRAIN);
    let phones: BTreeSet<&str> = train.iter().flat_map(LabelledUtterance::phones).collect();
    let probe = Probe {
        source: &source,
        phones: phones.into_iter().collect(),
    };
    let train_frames = probe.gather(&train)?;
    if train_frames.classes.is_empty() {
        let message = "no frame of the split `train` has a phone";
        return Err(error_at(table, message));
    }
    let classifiers = probe.train(&train_frames);
    let commonest = probe.commonest(&train_frames.classes);
    let counts = probe.measure(&held_out, &classifiers, commonest)?;
    Ok(probe.result(train_frames.classes.len(), &counts))
}

/// Counts of a split's frames.
struct SplitCounts {
    labelled: usize,
    /// Frames of the commonest phone.
    commonest: usize,
    /// Frames that each layer's classifier gets right.
    right: Vec<usize>,
}

impl ProbeResult {
    /// Returns the accuracy of the best layer, a mean over the splits whose names end in `test`, or
    /// over those named `dev` where there are none; `None` without such a split.
    pub fn best(&self) -> Option<f64> {
        let ending = |end: &str| -> Vec<&str> {
            let names = self.frames.keys().map(String::as_str);
            names.filter(|name| name.ends_with(end)).collect()
        };
        let mut splits = ending("test");
        if splits.is_empty() {
            splits = ending("dev");
        }
        let accuracies = self.layers.iter().filter_map(|layer| {
            let of_splits = splits.iter().map(|split| layer.accuracy.get(*split));
            let sum: Option<f64> = of_splits.map(|accuracy| accuracy.copied()).sum();
            sum.filter(|_| !splits.is_empty())
                .map(|sum| sum / splits.len() as f64)
        });
        accuracies.reduce(f64::max)
    }
}

impl SplitCounts {
    /// Returns a number of frames as a share of the labelled ones.
    fn share(&self, frames: usize) -> f64 {
        frames as f64 / self.labelled.max(1) as f64
    }
}

/// Frames to train on.
struct TrainFrames {
    /// The hidden states of all layers side by side, (frames, layers · width).
    values: Vec<f32>,
    classes: Vec<u32>,
}

/// The label of a frame that is measured.
#[derive(Clone, Copy, PartialEq)]
enum FrameLabel {
    /// The frame does not count.
    NoPhone,
    /// A phone that was not trained on: the frame counts, but no class is right.
    UnknownPhone,
    Class(usize),
}

struct Probe<'a> {
    source: &'a Source,
    /// The phones of the train utterances, in order. A class is an index of it.
    phones: Vec<&'a str>,
}

impl Probe<'_> {
    /// Returns how many numbers a frame of all layers has.
    fn frame_width(&self) -> usize {
        self.source.widths().iter().sum()
    }

    fn class(&self, phone: &str) -> Option<usize> {
        self.phones.binary_search(&phone).ok()
    }

    fn key(&self) -> Key {
        Key::new(0, &["probe"])
    }

    /// Samples the labelled frames of the train utterances.
    fn gather(&self, train: &[LabelledUtterance]) -> Result<TrainFrames> {
        let width = self.frame_width();
        let mut sample = Sample::new(width, MAX_TRAIN_FRAMES, self.key());
        let mut classes = vec![];
        self.for_each(train, |utterance, frames| {
            for (t, frame) in frames.chunks_exact(width).enumerate() {
                let phone = utterance.phone_of(t);
                let Some(class) = phone.and_then(|phone| self.class(phone)) else {
                    continue;
                };
                if let Some(index) = sample.add(frame) {
                    classes.resize(classes.len().max(index + 1), 0);
                    classes[index] = class as u32;
                }
            }
        })?;
        Ok(TrainFrames {
            values: sample.frames,
            classes,
        })
    }

    /// Trains a classifier for each layer.
    fn train(&self, frames: &TrainFrames) -> Vec<Classifier> {
        let classes = self.phones.len();
        let mut classifiers = vec![];
        for (l, width) in self.source.widths().into_iter().enumerate() {
            let values = self.layer_values(&frames.values, l);
            let targets = &frames.classes;
            classifiers.push(Classifier::train(
                values,
                width,
                targets,
                classes,
                self.key(),
            ));
        }
        classifiers
    }

    /// Returns the most frequent class.
    fn commonest(&self, classes: &[u32]) -> usize {
        let count = |class: usize| classes.iter().filter(|c| **c as usize == class).count();
        let all_classes = 0..self.phones.len();
        all_classes.max_by_key(|class| count(*class)).unwrap_or(0)
    }

    fn measure(
        &self,
        held_out: &[LabelledUtterance],
        classifiers: &[Classifier],
        commonest: usize,
    ) -> Result<BySplit<SplitCounts>> {
        let frame_width = self.frame_width();
        let mut by_split: BySplit<SplitCounts> = BySplit::new();
        self.for_each(held_out, |utterance, frames| {
            let labels: Vec<FrameLabel> = (0..frames.len() / frame_width)
                .map(|t| self.label(utterance, t))
                .collect();
            let count = |label| labels.iter().filter(|other| **other == label).count();
            let split = utterance.split.clone();
            let counts = by_split.entry(split).or_insert_with(|| SplitCounts {
                labelled: 0,
                commonest: 0,
                right: vec![0; classifiers.len()],
            });
            counts.labelled += labels.len() - count(FrameLabel::NoPhone);
            counts.commonest += count(FrameLabel::Class(commonest));
            for (l, classifier) in classifiers.iter().enumerate() {
                let predicted = classifier.classes(self.layer_values(frames, l));
                for (class, label) in predicted.into_iter().zip(&labels) {
                    counts.right[l] += usize::from(*label == FrameLabel::Class(class));
                }
            }
        })?;
        Ok(by_split)
    }

    fn label(&self, utterance: &LabelledUtterance, t: usize) -> FrameLabel {
        match utterance.phone_of(t).map(|phone| self.class(phone)) {
            None => FrameLabel::NoPhone,
            Some(None) => FrameLabel::UnknownPhone,
            Some(Some(class)) => FrameLabel::Class(class),
        }
    }

    fn result(&self, train_frames: usize, by_split: &BySplit<SplitCounts>) -> ProbeResult {
        let mut result = ProbeResult {
            phones: self.phones.len(),
            train_frames,
            frames: BySplit::new(),
            constant: BySplit::new(),
            layers: vec![],
        };
        for (split, counts) in by_split {
            result.frames.insert(split.clone(), counts.labelled);
            let constant = counts.share(counts.commonest);
            result.constant.insert(split.clone(), constant);
        }
        for (l, &layer) in self.source.layers().iter().enumerate() {
            let accuracy = by_split
                .iter()
                .map(|(split, counts)| (split.clone(), counts.share(counts.right[l])))
                .collect();
            result.layers.push(LayerAccuracy { layer, accuracy });
        }
        result
    }

    /// Copies the values of the `l`-th layer from frames with all layers side by side.
    fn layer_values(&self, frames: &[f32], l: usize) -> Vec<f32> {
        let widths = self.source.widths();
        let start: usize = widths[..l].iter().sum();
        let mut values = Vec::with_capacity(frames.len() / self.frame_width() * widths[l]);
        for frame in frames.chunks_exact(self.frame_width()) {
            values.extend_from_slice(&frame[start..start + widths[l]]);
        }
        values
    }

    /// Calls `f` with each utterance in turn and its frames, (frames, layers · width).
    fn for_each(
        &self,
        utterances: &[LabelledUtterance],
        mut f: impl FnMut(&LabelledUtterance, &[f32]),
    ) -> Result<()> {
        for group in utterances.chunks(GROUP) {
            let frames = alone(group.len(), |i| {
                Ok::<_, crate::Error>(self.source.frames(&self.source.read(&group[i].path)?))
            });
            for (utterance, frames) in group.iter().zip(frames) {
                f(utterance, &frames?);
            }
        }
        Ok(())
    }
}
