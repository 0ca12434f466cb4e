//! The convolutions of the feature extractor.
use super::Forward;
use crate::model::components::{ComponentKind, DUMMY_WEIGHT};
use crate::model::{ExtractNorm, Unit};
use compute::gemm::Precision;
use compute::op::{First, Input, Source, conv1d, gelu_gate, layer_norm};
use compute::tensor::{Hidden, Spans, Track, hidden};

/// The norms' epsilon: PyTorch's default, whatever `layer_norm_eps` says.
const EPSILON: f32 = 1e-5;

impl<T: Track> Forward<'_, T> {
    /// Runs all convolutions, the last activation included.
    pub(super) fn extract(&self, waves: Vec<Vec<f32>>) -> Hidden<T> {
        let convolutions = self.model.architecture.conv_dim.len();
        let mut z = self.first_convolution(waves);
        for i in 1..convolutions {
            let input = Input::Gelu(z, self.gate(Unit::Conv, i - 1));
            z = self.convolution(i, input, self.precision);
        }
        gelu_gate(
            z.whole(),
            self.gate(Unit::Conv, convolutions - 1),
            self.model.weights.find(DUMMY_WEIGHT),
        )
    }

    fn first_convolution(&self, waves: Vec<Vec<f32>>) -> Source<T> {
        let a = &self.model.architecture;
        if a.feat_extract_norm == ExtractNorm::Layer {
            let speech = hidden(waves.concat(), 1, Spans::new(waves.iter().map(Vec::len)));
            return self.convolution(0, Input::Raw(speech.on(&self.tape)), Precision::F32);
        }
        // A bias before a norm over time changes nothing.
        let weights = self.model.weights.all(
            &ComponentKind::Convolution(0).prefix(),
            ["conv.weight", "layer_norm.weight", "layer_norm.bias"],
        );
        let first = First::new(waves, weights, a.conv_kernel[0], a.conv_stride[0]);
        Source::First(first, self.tape.clone())
    }

    /// Runs one convolution, and its layer norm if it has one. Its output is not yet activated.
    fn convolution(&self, i: usize, input: Input<T>, precision: Precision) -> Source<T> {
        let a = &self.model.architecture;
        let weights = &self.model.weights;
        let prefix = ComponentKind::Convolution(i).prefix();
        let z = conv1d(
            input,
            weights.get(&format!("{prefix}conv.weight")),
            weights.find(&format!("{prefix}conv.bias")),
            a.conv_kernel[i],
            a.conv_stride[i],
            precision,
        );
        if a.feat_extract_norm == ExtractNorm::Group {
            return z;
        }
        let [gamma, beta] = weights.all(&prefix, ["layer_norm.weight", "layer_norm.bias"]);
        Source::Hidden(layer_norm(z.whole(), gamma, beta, EPSILON, Precision::F32))
    }
}
