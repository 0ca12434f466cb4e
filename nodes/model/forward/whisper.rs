//! The front end of Whisper's encoder: log-mel frames, two convolutions with GELU, and positions. It
//! is not trained, so its frames have no gradients.
use super::Forward;
use crate::data::whisper_mel::WhisperMel;
use crate::model::components::ComponentKind;
use compute::math::{Dropout, gelu};
use compute::op::{Input, conv1d, gelu_gate, residual, select_frames};
use compute::tensor::{Hidden, Spans, Track, hidden, read};

impl<T: Track> Forward<'_, T> {
    /// Returns the output of the convolutions for rows of samples.
    pub(super) fn whisper_features(&self, rows: &[&[f32]]) -> Hidden<T> {
        let a = &self.model.architecture;
        let mel = WhisperMel::new(a.fbank_bins);
        let frames = rows.iter().map(|row| {
            let [computed, _] = a.whisper_frames(row.len());
            let mut frames = mel.features(row);
            frames.truncate(computed * a.fbank_bins);
            frames
        });
        let first = self.padded_convolution(0, frames.collect());
        let width = first.width();
        let values = read(&first.values);
        let activated = first.spans.iter().map(|row| {
            let row = &values[row.start * width..row.end * width];
            row.iter().map(|x| gelu(*x)).collect()
        });
        gelu_gate(self.padded_convolution(1, activated.collect()), None, None)
    }

    /// Convolves each row with a frame of zeros at both of its ends.
    fn padded_convolution(&self, i: usize, rows: Vec<Vec<f32>>) -> Hidden<T> {
        let a = &self.model.architecture;
        let width = if i == 0 {
            a.fbank_bins
        } else {
            a.conv_dim[i - 1]
        };
        let margin = vec![0.0; width];
        let mut padded = vec![];
        let mut lengths = vec![];
        for row in rows {
            if row.is_empty() {
                lengths.push(0);
                continue;
            }
            lengths.push(row.len() / width + 2);
            padded.extend_from_slice(&margin);
            padded.extend(row);
            padded.extend_from_slice(&margin);
        }
        let frames = hidden(padded, width, Spans::new(lengths));
        let prefix = ComponentKind::WhisperConvolution(i).prefix();
        let [weight, bias] = self.model.weights.all(&prefix, ["weight", "bias"]);
        let input = Input::Raw(frames.on(&self.tape));
        let kernel = a.conv_kernel[i];
        conv1d(
            input,
            weight,
            Some(bias),
            kernel,
            a.conv_stride[i],
            self.precision,
        )
        .whole()
    }

    /// Adds the positions of each row's frames.
    pub(super) fn whisper_positions(&self, x: Hidden<T>) -> Hidden<T> {
        let name = format!("{}weight", ComponentKind::WhisperPositions.prefix());
        let table = read(self.model.weights.get(&name));
        let width = x.width();
        let mut positions = vec![];
        for frames in x.spans.lengths() {
            positions.extend_from_slice(&table[..frames * width]);
        }
        let positions = hidden(positions, width, x.spans.clone());
        residual(x, positions.on(&self.tape), Dropout::NONE)
    }
}

/// Keeps the first frames of each row, as many as `frames` says.
pub(super) fn first_frames<T: Track>(x: Hidden<T>, frames: &[usize]) -> Hidden<T> {
    let mut keep = vec![];
    for (computed, wanted) in x.spans.lengths().zip(frames) {
        keep.extend((0..computed).map(|t| t < *wanted));
    }
    select_frames(x, &keep)
}
