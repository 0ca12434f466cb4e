//! Fused ops on tensors, with their gradients.
//!
//! `op/x.rs` is an op on every device: formula, shapes, signature, backward rule and tests. What it
//! needs of a device it asks for in a trait, which `op/x/cpu.rs` and `op/x/cuda.rs` implement, the
//! latter with the kernels of `op/x/x.cu`. An op without needs of its own is written over the
//! passes of `op/passes.rs` and has no folder.
//!
//! Without a tape ([`crate::tensor::NoneTape`]) the backward rule of an op, and all that it retains,
//! is dropped at once, so one function serves trained and frozen models. Batches are ragged; an op
//! that looks across frames goes row by row.
mod argmax;
mod attention;
mod attention_map;
mod broadcast;
#[cfg(test)]
pub mod check;
mod combine_frames;
mod conv1d;
mod conv_first;
mod cosine_logits;
mod cross_entropy;
mod ctc;
mod distance;
mod elementwise;
mod feed_forward;
mod gate;
mod gelu_gate;
mod given;
mod glu;
mod gradient_scale;
mod gram;
mod layer_mix;
mod layer_norm;
mod linear;
mod logit_divergence;
mod lstm;
mod map_divergence;
mod map_softmax;
mod mask_frames;
mod mean_square;
mod norm_projection;
mod passes;
pub(crate) mod position_bias;
mod position_gate;
mod positional;
mod residual_norm;
mod row_mean;
mod scale;
mod select_frames;
mod self_attention;
mod splice;
mod statistics;
mod windows;

pub use argmax::argmax;
pub use attention::attention;
pub use attention_map::{Map, attend, attention_map};
pub use broadcast::broadcast;
pub use combine_frames::{FrameSums, combine_frames};
pub use conv_first::{First, conv_first};
pub use conv1d::{Input, Source, conv1d};
pub use cosine_logits::cosine_logits;
pub use cross_entropy::cross_entropy;
pub use ctc::{ctc, ctc_frames};
pub use distance::{cosine, l1, log_sigmoid_cosine, mse};
pub use elementwise::{dropout, residual};
pub use feed_forward::feed_forward;
pub use gelu_gate::gelu_gate;
pub use given::{given_number, given_vector};
pub use glu::glu;
pub use gradient_scale::gradient_scale;
pub use gram::gram_distance;
pub use layer_mix::layer_mix;
pub use layer_norm::layer_norm;
pub use linear::{linear, linear_start};
pub use logit_divergence::{Compared, Temperatures, logit_divergence};
pub use lstm::lstm;
pub use map_divergence::{map_divergence, mean_map, pairs};
pub use map_softmax::map_softmax;
pub use mask_frames::mask_frames;
pub use mean_square::mean_square;
pub use norm_projection::norm_projection;
pub use passes::packed::PackedWeights;
pub use position_bias::{PositionBias, bucket};
pub use position_gate::position_gate;
pub use positional::positional;
pub use residual_norm::{Branch, residual_norm};
pub use row_mean::row_mean;
pub use scale::scale;
pub use select_frames::select_frames;
pub use self_attention::self_attention;
pub use splice::{Context, splice};
pub use statistics::statistics;
pub use windows::frames_out;

#[cfg(test)]
mod tests {
    use super::check::noise;
    #[cfg(feature = "cuda")]
    use super::check::{Case, agree_op};
    use super::*;
    use crate::gemm::Precision;
    use crate::math::Dropout;
    use crate::tensor::cpu::{Hidden, Tape, backward, hidden, param, read};
    use crate::tensor::put;

    /// All ops one behind the other, on waveforms of these lengths: the loss and all gradients.
    fn network(samples: &[usize], precision: Precision) -> Vec<Vec<f32>> {
        const SIZES: [usize; 36] = [
            80, 8, 8, 192, 8, 8, 8, 8, 8, 96, 12, 12, 5, 360, 12, 144, 12, 144, 12, 144, 12, 288,
            24, 288, 32, 8, 3, 24, 288, 144, 24, 24, 288, 144, 24, 24,
        ];
        let p: Vec<_> = SIZES
            .iter()
            .enumerate()
            .map(|(i, n)| param(noise(&format!("p{i}"), *n)))
            .collect();
        let (bias, gates) = (
            param(noise("bias", 12)),
            [8, 3, 24, 1].map(|n| param(noise("gate", n))),
        );
        let (drop, tape) = (Dropout { rate: 0.2, key: 9 }, Tape::default());
        let on = gates.each_ref().map(|g| put(g, &tape));
        let waves = samples.iter().map(|n| noise("wave", *n)).collect();
        let x = Source::First(
            First::new(waves, [&p[0], &p[1], &p[2]], 10, 5),
            tape.clone(),
        );
        let x = conv1d(
            Input::Gelu(x, Some(&on[0])),
            &p[3],
            Some(&p[4]),
            3,
            2,
            precision,
        );
        let x = layer_norm(x.whole(), &p[5], &p[6], 1e-5, precision);
        let x = gelu_gate(x, Some(&on[0]), Some(&p[4]));
        let x = norm_projection(x, [&p[7], &p[8], &p[9], &p[10], &p[11]], 1e-5, 9, precision);
        let x = positional(x, [&p[12], &p[13], &p[14]], 2, precision);
        let three =
            |x: &Hidden<Tape>| [15, 17, 19].map(|i| linear(x.clone(), &p[i], &p[i + 1], precision));
        let positions = |x: &Hidden<Tape>| {
            let gate = position_gate(x.clone(), [&p[24], &p[25], &p[26]], &[0, 1, 2]);
            Some(PositionBias {
                table: &p[27],
                columns: vec![0, 1, 2],
                buckets: 8,
                farthest: 20,
                gate,
            })
        };
        let o = attention(
            three(&x),
            3,
            Some(&on[1]),
            positions(&x),
            drop.fork(0),
            precision,
        );
        let x = residual(x, scale(o, &on[3]), drop.fork(1));
        let [q, k, v] = three(&x);
        let map = attention_map([q, k], 3, positions(&x), precision);
        let o = attend(map.clone(), v, Some(&on[1]), drop.fork(3), precision);
        let x = attend(
            map,
            residual(x, o, Dropout::NONE),
            None,
            Dropout::NONE,
            precision,
        );
        let x = feed_forward(
            x,
            [&p[21], &p[22], &p[23], &bias],
            Some(&on[2]),
            drop.fork(2),
            precision,
        )
        .whole();
        let [forward, back] = [28, 32].map(|i| [&p[i], &p[i + 1], &p[i + 2], &p[i + 3]]);
        let x = lstm(x, &[forward, back], precision);
        let x = glu(linear(x, &p[21], &p[22], precision));
        let target = hidden(noise("target", x.spans.total() * 12), 12, x.spans.clone());
        let related = gram_distance(x.clone(), x.clone(), &target, &target);
        let labelled = cross_entropy(x.clone(), &vec![3; x.spans.total()], None);
        let classes = cosine_logits(gradient_scale(x.clone(), 0.5), &p[13], 0.1);
        let loss = l1(x.clone(), &target)
            + log_sigmoid_cosine(x, &target)
            + related
            + labelled
            + mean_square(classes);
        let value = read(&loss).to_vec();
        let mut g = backward(loss, 1.0);
        std::iter::once(value)
            .chain(p.iter().chain(&gates).chain([&bias]).map(|p| g.take(p)))
            .collect()
    }

    #[test]
    fn no_bit_depends_on_the_number_of_threads() {
        for precision in [Precision::F32, Precision::Bf16] {
            let with = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .expect("a pool");
                pool.install(|| network(&[900, 3, 2500, 0, 400, 20], precision))
            };
            let one = with(1);
            assert!(
                one.iter().flatten().all(|x| x.is_finite()) && one[0][0] > 0.0 && one == with(3)
            );
        }
    }

    #[test]
    fn batches_without_frames_have_zero_gradients() {
        for samples in [&[][..], &[0], &[3, 0, 12]] {
            assert!(
                network(samples, Precision::F32)
                    .iter()
                    .flatten()
                    .all(|x| *x == 0.0)
            );
        }
    }

    /// Checks a small HuBERT with gates and dropout, on waveforms of these lengths: from samples to
    /// a loss.
    #[cfg(feature = "cuda")]
    fn model_agrees(samples: &[usize]) {
        const SIZES: [usize; 26] = [
            80, 8, 8, 192, 8, 96, 12, 360, 5, 12, 12, 144, 12, 144, 12, 144, 12, 144, 12, 12, 12,
            288, 24, 288, 12, 24,
        ];
        let case = Case::new(&[1], 1, &SIZES);
        let drop = Dropout { rate: 0.2, key: 9 };
        let waves: Vec<_> = samples.iter().map(|n| noise("wave", *n)).collect();
        agree_op!(case, |_, p, tape, precision| {
            let conv_gate = put(&p[4], tape);
            let inner_gate = put(&p[25], tape);
            let first = First::new(waves.clone(), [&p[0], &p[1], &p[2]], 10, 5);
            let x = Source::First(first, tape.clone());
            let x = conv1d(Input::Gelu(x, None), &p[3], None, 3, 2, precision);
            let x = gelu_gate(x.whole(), Some(&conv_gate), None);
            let x = linear(x, &p[5], &p[6], precision);
            let x = positional(x, [&p[8], &p[7], &p[9]], 2, precision);
            let x = layer_norm(x, &p[9], &p[10], 1e-5, precision);
            let weights = [11, 12, 13, 14, 15, 16, 17, 18].map(|i| &p[i]);
            let branch = self_attention(x.clone(), weights, 3, None, None, drop.fork(0), precision);
            let x = residual_norm(x, branch, drop.fork(1), [&p[19], &p[20]], 1e-5, precision);
            let weights = [&p[21], &p[22], &p[23], &p[24]];
            let gate = Some(&inner_gate);
            let branch = feed_forward(x.clone(), weights, gate, drop.fork(2), precision);
            let x = residual(x, branch.whole(), drop.fork(3));
            let target = hidden(noise("target", x.spans.total() * 12), 12, x.spans.clone());
            mse(dropout(x, drop.fork(4)), &target)
        });
    }

    #[cfg(feature = "cuda")]
    #[test]
    fn a_model_agrees_on_both_devices() {
        for samples in [&[900, 3, 400, 0][..], &[], &[0], &[3, 0, 12]] {
            model_agrees(samples);
        }
    }
}
