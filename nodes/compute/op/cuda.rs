//! The ops. A file says how its CPU form is computed here; formulas and shapes stand there, in `nodes/op/`.

pub use crate::op::{
    Branch, First, Input, Source, argmax, broadcast, conv_first, conv1d, cosine, cosine_logits,
    cross_entropy, dropout, feed_forward, gelu_gate, given_number, given_vector, gradient_scale,
    gram_distance, l1, layer_norm, linear, log_sigmoid_cosine, lstm, mask_frames, mean_square, mse,
    norm_projection, positional, residual, residual_norm, scale, self_attention,
};
pub use crate::op::{attend, attention, attention_map, position_gate};

#[cfg(test)]
mod tests {
    use crate::cuda::check::both;
    use crate::math::Dropout;
    use crate::op::check::{Case, noise};

    /// A small HuBERT with gates and dropout, on waveforms of these lengths: from samples to a loss.
    fn network(samples: &[usize]) {
        const SIZES: [usize; 26] = [
            80, 8, 8, 192, 8, 96, 12, 360, 5, 12, 12, 144, 12, 144, 12, 144, 12, 144, 12, 12, 12,
            288, 24, 288, 12, 24,
        ];
        let (case, drop) = (Case::new(&[1], 1, &SIZES), Dropout { rate: 0.2, key: 9 });
        let waves: Vec<_> = samples.iter().map(|n| noise("wave", *n)).collect();
        both!(agree: &case, |_x, p, tape, precision| {
            let [conv, ffn] = [4, 25].map(|i| put(&p[i], tape));
            let x = Source::First(First::new(waves.clone(), [&p[0], &p[1], &p[2]], 10, 5), tape.clone());
            let x = conv1d(Input::Gelu(x, None), &p[3], None, 3, 2, precision);
            let x = linear(gelu_gate(x.whole(), Some(&conv), None), &p[5], &p[6], precision);
            let x = layer_norm(positional(x, [&p[8], &p[7], &p[9]], 2, precision), &p[9], &p[10], 1e-5, precision);
            let weights = [11, 12, 13, 14, 15, 16, 17, 18].map(|i| &p[i]);
            let branch = self_attention(x.clone(), weights, 3, None, None, drop.fork(0), precision);
            let x = residual_norm(x, branch, drop.fork(1), [&p[19], &p[20]], 1e-5, precision);
            let weights = [&p[21], &p[22], &p[23], &p[24]];
            let x = residual(x.clone(), feed_forward(x, weights, Some(&ffn), drop.fork(2), precision).whole(), drop.fork(3));
            let target = hidden(noise("target", x.spans.total() * 12), 12, x.spans.clone());
            mse(dropout(x, drop.fork(4)), &target)
        });
    }

    #[test]
    fn a_model_is_that_of_the_cpu() {
        network(&[900, 3, 400, 0]);
    }

    #[test]
    fn batches_without_frames_are_those_of_the_cpu() {
        for samples in [&[][..], &[0], &[3, 0, 12]] {
            network(samples);
        }
    }
}
