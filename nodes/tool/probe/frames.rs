//! The frames that are probed: the layers of a model, or log-mel frames.
use crate::Result;
use crate::data::audio::read_audio;
use crate::data::mel::Mel;
use crate::model::row_memory::check_file;
use crate::model::{Convention, Forward, Model, OPEN};
use compute::gemm::Precision;
use compute::tensor::read;
use std::path::Path;

/// Mel filters of the frames that models are measured against.
const BINS: usize = 80;
/// Frames of 10 ms before and after the one in the middle of a frame of 20 ms.
const CONTEXT: usize = 4;

/// What is probed.
pub(super) enum Source {
    /// Layers of a model, numbered as in transformers.
    Model {
        model: Box<Model>,
        layers: Vec<usize>,
    },
    /// Log-mel frames, as one layer 0: the frames 2 t - 4 to 2 t + 4 of 10 ms side by side; beyond
    /// the ends the first or last one again.
    Fbank(Box<Mel>),
}

impl Source {
    /// Prepares log-mel frames.
    pub(super) fn fbank() -> Source {
        Source::Fbank(Box::new(Mel::new(BINS)))
    }

    /// Returns the numbers of the layers.
    pub(super) fn layers(&self) -> &[usize] {
        match self {
            Source::Model { layers, .. } => layers,
            Source::Fbank(_) => &[0],
        }
    }

    /// Returns how many numbers a frame of each layer has.
    pub(super) fn widths(&self) -> Vec<usize> {
        match self {
            Source::Model { model, layers } => {
                let layers = layers.iter();
                layers
                    .map(|layer| model.architecture.layer_width(*layer))
                    .collect()
            }
            Source::Fbank(_) => vec![BINS * (2 * CONTEXT + 1)],
        }
    }

    /// Reads the samples of an audio file, if there is memory for its frames.
    pub(super) fn read(&self, path: &Path) -> Result<Vec<f32>> {
        if let Source::Model { model, layers } = self {
            check_file(&model.architecture, layers.len(), path)?;
        }
        read_audio(path)
    }

    /// Returns the frames of 20 ms of a waveform, the layers of a frame side by side.
    pub(super) fn frames(&self, samples: &[f32]) -> Vec<f32> {
        match self {
            Source::Model { model, layers } => hiddens(model, layers, samples),
            Source::Fbank(mel) => stacked(&mel.features(samples)),
        }
    }
}

/// A layer whose frames are joined stands for each of the frames that it is made of.
fn hiddens(model: &Model, layers: &[usize], samples: &[f32]) -> Vec<f32> {
    let forward = Forward::frozen(model, OPEN, Precision::F32);
    let hiddens = forward.hiddens(&[samples], layers, Convention::Hf);
    let joined = model.architecture.time_reduction;
    let steps: Vec<usize> = layers
        .iter()
        .map(|layer| if *layer == 0 { 1 } else { joined })
        .collect();
    let values: Vec<_> = hiddens.iter().map(|hidden| read(&hidden.values)).collect();
    let covered = hiddens
        .iter()
        .zip(&steps)
        .map(|(x, step)| x.spans.total() * step);
    let mut frames = vec![];
    for t in 0..covered.min().unwrap_or(0) {
        for ((values, hidden), step) in values.iter().zip(&hiddens).zip(&steps) {
            let width = hidden.width();
            frames.extend_from_slice(&values[t / step * width..][..width]);
        }
    }
    frames
}

/// Returns the frames of 20 ms from those of 10 ms.
fn stacked(features: &[f32]) -> Vec<f32> {
    let short = features.len() / BINS;
    let mut frames = vec![];
    for t in 0..short.div_ceil(2) {
        for offset in 0..=2 * CONTEXT {
            let frame = (2 * t + offset).saturating_sub(CONTEXT).min(short - 1);
            frames.extend_from_slice(&features[frame * BINS..][..BINS]);
        }
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_mel_frames_have_their_neighbours_beside_them() {
        let source = Source::fbank();
        // 8 frames of 10 ms, 4 of 20 ms.
        let samples: Vec<f32> = (0..400 + 7 * 160).map(|i| (i as f32 * 0.3).sin()).collect();
        let frames = source.frames(&samples);
        let width = source.widths()[0];
        assert_eq!(frames.len(), 4 * width);
        let short = Mel::new(BINS).features(&samples);
        let part = |t: usize, place: usize| &frames[t * width + place * BINS..][..BINS];
        let own = |frame: usize| &short[frame * BINS..][..BINS];
        assert_eq!(part(0, 0), own(0));
        assert_eq!(part(0, 4), own(0));
        assert_eq!(part(0, 8), own(4));
        assert_eq!(part(3, 4), own(6));
        assert_eq!(part(3, 8), own(7));
    }
}
