//! Measures what the layers of a frozen model know of phones: a linear classifier of frames on each
//! layer's hidden states, trained on some speakers and measured on others.
//!
//! Utterances and their phones are a table (module `labels`). The label of a frame is the phone at
//! its centre, sample 320 t + 200. The classifier (module `classifier`) is trained on a sample of
//! the train frames and measured on all others.
mod classifier;
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
use compute::tensor::{NoneTape, alone, read};
use labels::LabelledUtterance;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The most frames to train on.
const MAX_TRAIN_FRAMES: usize = 100_000;
/// The number of utterances whose hidden states are in memory at once.
const GROUP: usize = 16;
const TRAIN: &str = "train";

/// Values by split, except `train`.
type BySplit<T> = BTreeMap<String, T>;

/// The accuracies of all layers.
#[derive(Serialize)]
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
#[derive(Serialize)]
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
    let model = Model::load(model, None, unknown)?;
    let layers = layers.layers(model.architecture.num_hidden_layers)?;
    check_command_layers(&layers, &model.architecture)?;
    let (train, held_out): (Vec<_>, Vec<_>) = labels::read(table)?
        .into_iter()
        .partition(|utterance| utterance.split == TRAIN);
    let phones: BTreeSet<&str> = train.iter().flat_map(LabelledUtterance::phones).collect();
    let probe = Probe {
        model: &model,
        layers: &layers,
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
    model: &'a Model,
    layers: &'a [usize],
    /// The phones of the train utterances, in order. A class is an index of it.
    phones: Vec<&'a str>,
}

impl Probe<'_> {
    fn class(&self, phone: &str) -> Option<usize> {
        self.phones.binary_search(&phone).ok()
    }

    fn key(&self) -> Key {
        Key::new(0, &["probe"])
    }

    /// Samples the labelled frames of the train utterances.
    fn gather(&self, train: &[LabelledUtterance]) -> Result<TrainFrames> {
        let width = self.layers.len() * self.model.architecture.hidden_size;
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
        let width = self.model.architecture.hidden_size;
        let classes = self.phones.len();
        let mut classifiers = vec![];
        for l in 0..self.layers.len() {
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
        let frame_width = self.layers.len() * self.model.architecture.hidden_size;
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
        for (l, &layer) in self.layers.iter().enumerate() {
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
        let width = self.model.architecture.hidden_size;
        let mut values = Vec::with_capacity(frames.len() / self.layers.len());
        for frame in frames.chunks_exact(self.layers.len() * width) {
            values.extend_from_slice(&frame[l * width..(l + 1) * width]);
        }
        values
    }

    /// Calls `f` with each utterance in turn and its frames, (frames, layers · width).
    fn for_each(
        &self,
        utterances: &[LabelledUtterance],
        mut f: impl FnMut(&LabelledUtterance, &[f32]),
    ) -> Result<()> {
        let forward = Forward::frozen(self.model, OPEN, Precision::F32);
        for group in utterances.chunks(GROUP) {
            let frames = alone(group.len(), |i| self.hiddens(&forward, &group[i]));
            for (utterance, frames) in group.iter().zip(frames) {
                f(utterance, &frames?);
            }
        }
        Ok(())
    }

    /// Returns the hidden states of an utterance, the layers of a frame side by side.
    fn hiddens(
        &self,
        forward: &Forward<NoneTape>,
        utterance: &LabelledUtterance,
    ) -> Result<Vec<f32>> {
        let samples = read_audio(&utterance.path)?;
        let hiddens = forward.hiddens(&[&samples], self.layers, Convention::Hf);
        let layers: Vec<_> = hiddens
            .iter()
            .map(|hidden| (read(&hidden.values), hidden.width()))
            .collect();
        let mut frames = vec![];
        for t in 0..hiddens[0].spans.total() {
            for (values, width) in &layers {
                frames.extend_from_slice(&values[t * width..(t + 1) * width]);
            }
        }
        Ok(frames)
    }
}
