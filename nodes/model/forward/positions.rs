//! data2vec's positional convolutions, one after another: x + p(x), where p is five times a grouped
//! convolution, a norm over channels without parameters, and GELU (fairseq's `make_conv_pos` with a
//! depth above 1). They are not trained.
use super::Forward;
use crate::model::components::stacked_prefix;
use compute::gemm::Precision;
use compute::math::Dropout;
use compute::op::{gelu_gate, layer_norm, positional, residual, scale};
use compute::tensor::{Hidden, Track, param, put, read};

/// The norms' epsilon, PyTorch's default.
const EPSILON: f32 = 1e-5;

impl<T: Track> Forward<'_, T> {
    /// Adds the stacked convolutions of x to x.
    pub(super) fn stacked_positions(&self, x: Hidden<T>) -> Hidden<T> {
        let a = &self.model.architecture;
        let width = a.hidden_size;
        let ones = param(vec![1.0; width]);
        let zeros = param(vec![0.0; width]);
        let minus = put(&param(vec![-1.0]), &self.tape);
        let mut positions = x.clone();
        for i in 0..a.conv_pos_depth {
            let weights = self
                .model
                .weights
                .all(&stacked_prefix(i), ["weight", "bias"]);
            let [weight, bias] = weights;
            let norms = tap_norms(&read(weight), a.num_conv_pos_embeddings);
            let biases = read(bias);
            let groups = a.num_conv_pos_embedding_groups;
            // With these factors the weight norm of `positional` changes nothing but a sign.
            let activated = |sign: f32| {
                let signed = |values: &[f32]| param(values.iter().map(|x| sign * x).collect());
                let parameters = [&signed(&norms), weight, &signed(&biases)];
                positional(positions.clone(), parameters, groups, self.precision)
            };
            // `positional` ends with x + GELU(u), and GELU(u) - GELU(-u) = u.
            let convolved = residual(
                activated(1.0),
                scale(activated(-1.0), &minus),
                Dropout::NONE,
            );
            let normed = layer_norm(convolved, &ones, &zeros, EPSILON, Precision::F32);
            positions = gelu_gate(normed, None, None);
        }
        residual(x, positions, Dropout::NONE)
    }
}

/// Returns the norm of each tap, the last dimension of a weight.
fn tap_norms(weight: &[f32], taps: usize) -> Vec<f32> {
    let mut squares = vec![0f64; taps];
    for row in weight.chunks_exact(taps) {
        for (sum, w) in squares.iter_mut().zip(row) {
            *sum += f64::from(*w).powi(2);
        }
    }
    squares.into_iter().map(|sum| sum.sqrt() as f32).collect()
}
