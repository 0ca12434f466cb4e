//! Trains a classifier on each layer and measures it.
//!
//! A point is what has a class: a frame with its phone, or the mean over an utterance's frames with
//! the utterance's label.
use super::classifier::Classifier;
use super::frames::Source;
use super::labels::{LabelledUtterance, TRAIN, TableKind};
use super::result::{BySplit, Counts, LayerAccuracy, ProbeResult};
use crate::Result;
use crate::data::error::error_at;
use crate::data::subsample::Sample;
use compute::random::Key;
use compute::tensor::alone;
use std::collections::BTreeSet;
use std::path::Path;

/// The most points to train on.
const MAX_TRAIN_POINTS: usize = 100_000;
/// The number of utterances whose hidden states are in memory at once.
const GROUP: usize = 16;

/// Probes a source with the utterances of a table, whose path is for messages.
pub(super) fn probe_source(
    source: &Source,
    utterances: Vec<LabelledUtterance>,
    kind: TableKind,
    table: &Path,
) -> Result<ProbeResult> {
    let (train, held_out): (Vec<_>, Vec<_>) = utterances
        .into_iter()
        .partition(|utterance| utterance.split == TRAIN);
    if held_out.is_empty() {
        let message = "all its utterances are in the split `train`: name another split, such as \
                       `dev`, for those to measure on";
        return Err(error_at(table, message));
    }
    let classes: BTreeSet<&str> = train.iter().flat_map(LabelledUtterance::classes).collect();
    let probe = Probe {
        source,
        kind,
        classes: classes.into_iter().collect(),
    };
    let train_points = probe.gather(&train)?;
    if train_points.classes.is_empty() {
        let message = match kind {
            TableKind::Phones => "no frame of the split `train` has a phone",
            TableKind::Labels => "no utterance of the split `train` has a label",
        };
        return Err(error_at(table, message));
    }
    let classifiers = probe.train(&train_points);
    let commonest = probe.commonest(&train_points.classes);
    let counts = probe.measure(&held_out, &classifiers, commonest)?;
    Ok(probe.result(train_points.classes.len(), &counts))
}

/// Counts of a split's points.
struct SplitCounts {
    labelled: usize,
    /// Points of the class that is commonest in training.
    commonest: usize,
    /// Points that each layer's classifier gets right.
    right: Vec<usize>,
}

impl SplitCounts {
    /// Returns a number of points as a share of the labelled ones.
    fn share(&self, points: usize) -> f64 {
        points as f64 / self.labelled.max(1) as f64
    }
}

/// Points to train on.
struct TrainPoints {
    /// The hidden states of all layers side by side, (points, layers · width).
    values: Vec<f32>,
    classes: Vec<u32>,
}

/// The class of a point that is measured.
#[derive(Clone, Copy, PartialEq)]
enum PointClass {
    /// The point does not count.
    None,
    /// A class that was not trained on: the point counts, but no prediction is right.
    Unknown,
    Known(usize),
}

struct Probe<'a> {
    source: &'a Source,
    kind: TableKind,
    /// The phones or labels of the train utterances, in order. A class is an index of it.
    classes: Vec<&'a str>,
}

impl Probe<'_> {
    /// Returns how many numbers a point of all layers has.
    fn point_width(&self) -> usize {
        self.source.widths().iter().sum()
    }

    fn class(&self, name: &str) -> Option<usize> {
        self.classes.binary_search(&name).ok()
    }

    fn key(&self) -> Key {
        Key::new(0, &["probe"])
    }

    /// Samples the labelled points of the train utterances.
    fn gather(&self, train: &[LabelledUtterance]) -> Result<TrainPoints> {
        let width = self.point_width();
        let mut sample = Sample::new(width, MAX_TRAIN_POINTS, self.key());
        let mut classes = vec![];
        self.for_each(train, |utterance, points| {
            for (t, point) in points.chunks_exact(width).enumerate() {
                let name = utterance.class_of(t);
                let Some(class) = name.and_then(|name| self.class(name)) else {
                    continue;
                };
                if let Some(index) = sample.add(point) {
                    classes.resize(classes.len().max(index + 1), 0);
                    classes[index] = class as u32;
                }
            }
        })?;
        Ok(TrainPoints {
            values: sample.frames,
            classes,
        })
    }

    /// Trains a classifier for each layer.
    fn train(&self, points: &TrainPoints) -> Vec<Classifier> {
        let classes = self.classes.len();
        let mut classifiers = vec![];
        for (l, width) in self.source.widths().into_iter().enumerate() {
            let values = self.layer_values(&points.values, l);
            let targets = &points.classes;
            let key = self.key();
            classifiers.push(Classifier::train(values, width, targets, classes, key));
        }
        classifiers
    }

    /// Returns the most frequent class.
    fn commonest(&self, classes: &[u32]) -> usize {
        let count = |class: usize| classes.iter().filter(|c| **c as usize == class).count();
        let all_classes = 0..self.classes.len();
        all_classes.max_by_key(|class| count(*class)).unwrap_or(0)
    }

    fn measure(
        &self,
        held_out: &[LabelledUtterance],
        classifiers: &[Classifier],
        commonest: usize,
    ) -> Result<BySplit<SplitCounts>> {
        let width = self.point_width();
        let mut by_split: BySplit<SplitCounts> = BySplit::new();
        self.for_each(held_out, |utterance, points| {
            let classes: Vec<PointClass> = (0..points.len() / width)
                .map(|t| self.point_class(utterance, t))
                .collect();
            let count = |class| classes.iter().filter(|other| **other == class).count();
            let split = utterance.split.clone();
            let counts = by_split.entry(split).or_insert_with(|| SplitCounts {
                labelled: 0,
                commonest: 0,
                right: vec![0; classifiers.len()],
            });
            counts.labelled += classes.len() - count(PointClass::None);
            counts.commonest += count(PointClass::Known(commonest));
            for (l, classifier) in classifiers.iter().enumerate() {
                let predicted = classifier.classes(self.layer_values(points, l));
                for (predicted, class) in predicted.into_iter().zip(&classes) {
                    counts.right[l] += usize::from(*class == PointClass::Known(predicted));
                }
            }
        })?;
        Ok(by_split)
    }

    fn point_class(&self, utterance: &LabelledUtterance, t: usize) -> PointClass {
        match utterance.class_of(t).map(|name| self.class(name)) {
            None => PointClass::None,
            Some(None) => PointClass::Unknown,
            Some(Some(class)) => PointClass::Known(class),
        }
    }

    fn result(&self, trained: usize, by_split: &BySplit<SplitCounts>) -> ProbeResult {
        let mut measured = BySplit::new();
        let mut constant = BySplit::new();
        for (split, counts) in by_split {
            measured.insert(split.clone(), counts.labelled);
            constant.insert(split.clone(), counts.share(counts.commonest));
        }
        let mut layers = vec![];
        for (l, &layer) in self.source.layers().iter().enumerate() {
            let accuracy = by_split
                .iter()
                .map(|(split, counts)| (split.clone(), counts.share(counts.right[l])))
                .collect();
            layers.push(LayerAccuracy { layer, accuracy });
        }
        let counts = match self.kind {
            TableKind::Phones => Counts::Frames {
                phones: self.classes.len(),
                train_frames: trained,
                frames: measured,
            },
            TableKind::Labels => Counts::Utterances {
                labels: self.classes.len(),
                train_utterances: trained,
                utterances: measured,
            },
        };
        ProbeResult {
            counts,
            constant,
            layers,
        }
    }

    /// Copies the values of the `l`-th layer from points with all layers side by side.
    fn layer_values(&self, points: &[f32], l: usize) -> Vec<f32> {
        let widths = self.source.widths();
        let start: usize = widths[..l].iter().sum();
        let mut values = Vec::with_capacity(points.len() / self.point_width() * widths[l]);
        for point in points.chunks_exact(self.point_width()) {
            values.extend_from_slice(&point[start..start + widths[l]]);
        }
        values
    }

    /// Calls `f` with each utterance in turn and its points, (points, layers · width).
    fn for_each(
        &self,
        utterances: &[LabelledUtterance],
        mut f: impl FnMut(&LabelledUtterance, &[f32]),
    ) -> Result<()> {
        for group in utterances.chunks(GROUP) {
            let points = alone(group.len(), |i| self.points(&group[i].path));
            for (utterance, points) in group.iter().zip(points) {
                f(utterance, &points?);
            }
        }
        Ok(())
    }

    /// Computes the points of an audio file.
    fn points(&self, path: &Path) -> Result<Vec<f32>> {
        let frames = self.source.frames(&self.source.read(path)?);
        match self.kind {
            TableKind::Phones => Ok(frames),
            TableKind::Labels if frames.is_empty() => Err(error_at(
                path,
                "is too short for a frame, so it has no mean; take its row out of the table",
            )),
            TableKind::Labels => Ok(mean(&frames, self.point_width())),
        }
    }
}

/// Returns the mean over frames, (frames, width).
fn mean(frames: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0; width];
    for frame in frames.chunks_exact(width) {
        for (sum, x) in sums.iter_mut().zip(frame) {
            *sum += f64::from(*x);
        }
    }
    let count = (frames.len() / width) as f64;
    sums.into_iter().map(|sum| (sum / count) as f32).collect()
}
