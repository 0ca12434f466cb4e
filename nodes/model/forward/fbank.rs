//! The front end over log-mel frames: a convolution of stride 2 with zeros at both ends of a row, a
//! gated linear unit, and a linear map.
use super::Forward;
use crate::data::mel::Mel;
use crate::model::Model;
use crate::model::components::ComponentKind;
use compute::op::{Input, conv1d, glu, linear};
use compute::tensor::{Hidden, Spans, Track, hidden};

const STRIDE: usize = 2;

impl Model {
    /// Returns the normalised log-mel frames, (frames, bins), of each row of samples.
    pub fn log_mel(&self, rows: &[&[f32]]) -> Vec<Vec<f32>> {
        let mel = Mel::new(self.architecture.fbank_bins);
        let rows = rows.iter();
        rows.map(|row| self.normalized_log_mel(mel.features(row)))
            .collect()
    }

    /// Normalises the log-mel frames of a row.
    pub fn normalized_log_mel(&self, mut frames: Vec<f32>) -> Vec<f32> {
        if let Some(cmvn) = &self.cmvn {
            cmvn.apply(&mut frames);
        }
        frames
    }
}

impl<T: Track> Forward<'_, T> {
    /// Returns the gated convolution of normalised log-mel frames: as many frames a row as HuBERT's
    /// extractor has.
    pub fn fbank_features(&self, rows: Vec<Vec<f32>>) -> Hidden<T> {
        let a = &self.model.architecture;
        let kernel = a.fbank_conv_kernel[0];
        let margin = vec![0.0; kernel / 2 * a.fbank_bins];
        let mut padded = vec![];
        let mut lengths = vec![];
        for row in &rows {
            if row.is_empty() {
                lengths.push(0);
                continue;
            }
            padded.extend_from_slice(&margin);
            padded.extend_from_slice(row);
            padded.extend_from_slice(&margin);
            lengths.push(row.len() / a.fbank_bins + 2 * (kernel / 2));
        }
        let frames = hidden(padded, a.fbank_bins, Spans::new(lengths));
        let prefix = ComponentKind::FbankConvolution.prefix();
        let [weight, bias] = self.model.weights.all(&prefix, ["weight", "bias"]);
        let input = Input::Raw(frames.on(&self.tape));
        glu(conv1d(input, weight, Some(bias), kernel, STRIDE, self.precision).whole())
    }

    /// Maps the gated channels to the encoder's input.
    pub(super) fn fbank_projection(&self, x: Hidden<T>) -> Hidden<T> {
        let prefix = ComponentKind::FbankProjection.prefix();
        let [weight, bias] = self.model.weights.all(&prefix, ["weight", "bias"]);
        linear(x, weight, bias, self.precision)
    }
}
