//! What a frozen model's layers know of phones: a linear classifier of frames on each layer's hidden states, trained on some
//! speakers and measured on others. Utterances and their phones are a table (`labels`).
//!
//! A frame's label is the phone at its centre, sample 320 t + 200. The classifier is softmax regression on features of zero
//! mean and unit variance (`classifier`); it sees a sample of the train frames, and is measured on all others.
mod classifier;
mod labels;

use crate::Result;
use crate::data::audio::read_audio;
use crate::data::subsample::Sample;
use crate::model::{Convention, Forward, Model, OPEN};
use crate::node::model_option::layers_wrong;
use classifier::Classifier;
use compute::gemm::Precision;
use compute::random::Key;
use compute::tensor::{alone, read};
use labels::Utterance;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Frames that classifiers are trained on, at most.
const FRAMES: usize = 100_000;
/// Utterances whose hidden states are in memory together.
const TOGETHER: usize = 16;

/// By split, `train` aside.
type BySplit<T> = BTreeMap<String, T>;

#[derive(Serialize)]
pub struct Found {
    pub phones: usize,
    /// That were trained on.
    pub train_frames: usize,
    pub frames: BySplit<usize>,
    /// Share of the phone that is the most frequent in training: what a classifier without input would reach.
    pub constant: BySplit<f64>,
    pub layers: Vec<Layer>,
}

#[derive(Serialize)]
pub struct Layer {
    pub layer: usize,
    /// Share of frames whose phone is found.
    pub accuracy: BySplit<f64>,
}

/// Probes `layers` of the model folder, or all of them, numbered as in transformers.
///
/// # Errors
/// Model, table or an audio file cannot be read, a layer is not there, a speaker is in `train` and elsewhere, or no frame
/// is left to train on.
pub fn probe(model: &Path, table: &Path, layers: Option<Vec<usize>>) -> Result<Found> {
    let model = Model::load(model, None)?;
    let layers = layers.unwrap_or_else(|| (0..=model.architecture.num_hidden_layers).collect());
    layers_wrong(&layers, &model.architecture).map_err(|wrong| {
        wrong
            .into_iter()
            .map(|w| w.message)
            .collect::<Vec<_>>()
            .join("; ")
    })?;
    let (train, held_out): (Vec<_>, Vec<_>) = labels::read(table)?
        .into_iter()
        .partition(|u| u.split == "train");
    let phones: BTreeSet<&str> = train.iter().flat_map(Utterance::phones).collect();
    let probe = Probe {
        model: &model,
        layers: &layers,
        phones: phones.into_iter().collect(),
    };
    let (sample, targets) = probe.gather(&train)?;
    if targets.is_empty() {
        return Err(format!(
            "{}: no frame of the split `train` has a phone",
            table.display()
        )
        .into());
    }
    let counts = probe.measure(
        &held_out,
        &probe.classifiers(&sample.frames, &targets),
        probe.commonest(&targets),
    )?;
    let share = |of: &dyn Fn(&Counts) -> usize| {
        counts
            .iter()
            .map(|(split, c)| (split.clone(), of(c) as f64 / c.all.max(1) as f64))
            .collect()
    };
    let of_layer = |(l, &layer): (usize, &usize)| Layer {
        layer,
        accuracy: share(&|c| c.right[l]),
    };
    Ok(Found {
        phones: probe.phones.len(),
        train_frames: targets.len(),
        frames: counts
            .iter()
            .map(|(split, c)| (split.clone(), c.all))
            .collect(),
        constant: share(&|c| c.constant),
        layers: layers.iter().enumerate().map(of_layer).collect(),
    })
}

/// Frames of a split: all, those of the commonest phone, and those that each layer's classifier gets right.
struct Counts {
    all: usize,
    constant: usize,
    right: Vec<usize>,
}

struct Probe<'a> {
    model: &'a Model,
    layers: &'a [usize],
    /// Of the train utterances, in order: a class is a place here.
    phones: Vec<&'a str>,
}

impl Probe<'_> {
    fn class(&self, phone: &str) -> Option<usize> {
        self.phones.binary_search(&phone).ok()
    }

    /// Frames to train on, the layers side by side, and their classes.
    fn gather(&self, train: &[Utterance]) -> Result<(Sample, Vec<u32>)> {
        let width = self.layers.len() * self.model.architecture.hidden_size;
        let (mut sample, mut targets) = (Sample::new(width, FRAMES, self.key()), vec![]);
        self.each(train, |utterance, frames| {
            for (t, frame) in frames.chunks_exact(width).enumerate() {
                let Some(class) = utterance.phone_of(t).and_then(|phone| self.class(phone)) else {
                    continue;
                };
                if let Some(at) = sample.add(frame) {
                    targets.resize(targets.len().max(at + 1), 0);
                    targets[at] = class as u32;
                }
            }
        })?;
        Ok((sample, targets))
    }

    fn key(&self) -> Key {
        Key::new(0, &["probe"])
    }

    /// One a layer.
    fn classifiers(&self, frames: &[f32], targets: &[u32]) -> Vec<Classifier> {
        let (width, classes) = (self.model.architecture.hidden_size, self.phones.len());
        let train =
            |l| Classifier::train(self.layer(frames, l), width, targets, classes, self.key());
        (0..self.layers.len()).map(train).collect()
    }

    fn commonest(&self, targets: &[u32]) -> usize {
        let count = |class: usize| targets.iter().filter(|t| **t as usize == class).count();
        (0..self.phones.len())
            .max_by_key(|class| count(*class))
            .unwrap_or(0)
    }

    fn measure(
        &self,
        held_out: &[Utterance],
        with: &[Classifier],
        commonest: usize,
    ) -> Result<BySplit<Counts>> {
        let mut counts: BySplit<Counts> = BySplit::new();
        self.each(held_out, |utterance, frames| {
            let n = frames.len() / (self.layers.len() * self.model.architecture.hidden_size);
            // A phone that was not trained on has no class; a frame without a phone does not count.
            let wanted: Vec<Option<Option<usize>>> = (0..n)
                .map(|t| utterance.phone_of(t).map(|phone| self.class(phone)))
                .collect();
            let none = || Counts {
                all: 0,
                constant: 0,
                right: vec![0; with.len()],
            };
            let counts = counts.entry(utterance.split.clone()).or_insert_with(none);
            counts.all += wanted.iter().flatten().count();
            counts.constant += wanted
                .iter()
                .filter(|class| **class == Some(Some(commonest)))
                .count();
            for (l, classifier) in with.iter().enumerate() {
                let found = classifier.classes(self.layer(frames, l));
                counts.right[l] += found
                    .iter()
                    .zip(&wanted)
                    .filter(|(f, w)| Some(Some(**f)) == **w)
                    .count();
            }
        })?;
        Ok(counts)
    }

    /// The `l`-th of the layers that stand side by side.
    fn layer(&self, frames: &[f32], l: usize) -> Vec<f32> {
        let width = self.model.architecture.hidden_size;
        let of = |frame: &[f32]| frame[l * width..(l + 1) * width].to_vec();
        frames
            .chunks_exact(self.layers.len() * width)
            .flat_map(of)
            .collect()
    }

    /// Each utterance in turn, with its frames: the layers side by side, (frames, layers · width).
    fn each(
        &self,
        utterances: &[Utterance],
        mut then: impl FnMut(&Utterance, &[f32]),
    ) -> Result<()> {
        let pass = Forward::frozen(self.model, OPEN, Precision::F32);
        let states = |utterance: &Utterance| {
            let samples = read_audio(&utterance.path)?;
            let hiddens = pass.hiddens(&[&samples], self.layers, Convention::Hf);
            let layers: Vec<_> = hiddens
                .iter()
                .map(|h| (read(&h.values), h.width()))
                .collect();
            let frame = |t: usize| {
                layers
                    .iter()
                    .flat_map(move |(h, width)| &h[t * width..(t + 1) * width])
                    .copied()
            };
            Ok((0..hiddens[0].spans.total())
                .flat_map(frame)
                .collect::<Vec<f32>>())
        };
        for some in utterances.chunks(TOGETHER) {
            let all: Vec<Result<Vec<f32>>> = alone(some.len(), |at| states(&some[at]));
            for (utterance, frames) in some.iter().zip(all) {
                then(utterance, &frames?);
            }
        }
        Ok(())
    }
}
