//! Each op forward and backward, from a gradient of ones, with the gradients of all its inputs.
use super::noise;
use compute::adamw::cpu::{Moments, step};
use compute::adamw::{AdamW, Form};
use compute::gemm::Precision;
use compute::gemm::Precision::{Bf16, F32};
use compute::math::Dropout;
use compute::op::*;
use compute::tensor::cpu::{
    Hidden, Matrix, Number, Param, Spans, Tape, Vector, backward, hidden, param, put, record, split,
};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion};

type Group<'a> = BenchmarkGroup<'a, WallTime>;

pub(crate) fn all(c: &mut Criterion) {
    let mut group = c.benchmark_group("ops");
    for (precision, suffix) in [(F32, "f32"), (Bf16, "bf16")] {
        layers(&mut group, precision, suffix);
    }
    f32_layers(&mut group);
    losses(&mut group);
    optimizer(&mut group);
}

fn time(group: &mut Group, name: &str, suffix: &str, mut run: impl FnMut(&Tape)) {
    group.bench_function(BenchmarkId::new(name, suffix), |bench| {
        bench.iter(|| run(&Tape::default()))
    });
}

/// Returns `rows` rows of `frames` frames.
fn noisy(rows: usize, frames: usize, width: usize) -> Hidden {
    let values = noise(rows * frames * width);
    hidden(values, width, Spans::new(vec![frames; rows]))
}

fn params<const N: usize>(sizes: [usize; N]) -> [Param; N] {
    sizes.map(|n| param(noise(n)))
}

/// Runs backward from the sum of all numbers of a tensor.
macro_rules! backward_of_sum {
    ($y:expr) => {{
        let (y, tape) = split($y);
        let sum = record(vec![0.0], (), tape, move |_, g| g.of(&y).fill(1.0));
        drop(backward(sum, 1.0));
    }};
}

fn backward_of(y: Hidden<Tape>) {
    let y: Matrix<Tape> = y.values;
    backward_of_sum!(y);
}

/// The ops with matrix products.
fn layers(group: &mut Group, p: Precision, suffix: &str) {
    let none = Dropout::NONE;
    let x = noisy(4, 249, 768);
    let [w, b] = params([768 * 768, 768]);
    time(group, "linear-996x768x768", suffix, |t| {
        backward_of(linear(x.on(t), &w, &b, p))
    });

    let [up, up_bias, down] = params([3072 * 768, 3072, 768 * 3072]);
    time(group, "feed_forward-996x768x3072", suffix, |t| {
        let weights = [&up, &up_bias, &down, &b];
        backward_of(feed_forward(x.on(t), weights, None, none, p).whole())
    });

    let key = noisy(4, 249, 768);
    let value = noisy(4, 249, 768);
    let gates = param(vec![0.5; 12]);
    time(group, "attention-4x249x768-12heads-gates", suffix, |t| {
        let qkv = [&x, &key, &value].map(|x| x.on(t));
        backward_of(attention(qkv, 12, Some(&put(&gates, t)), None, none, p))
    });
    time(group, "attention_map-4x249x768-12heads", suffix, |t| {
        let map: Vector<Tape> = attention_map([x.on(t), key.on(t)], 12, None, p).values;
        backward_of_sum!(map)
    });

    // A row of 16 s; one of 60 s, whose queries are computed in blocks.
    let drop = Dropout { rate: 0.1, key: 1 };
    for frames in [799, 2999] {
        let qkv = [(); 3].map(|_| noisy(1, frames, 768));
        let name = format!("attention-1x{frames}x768-12heads-dropout");
        time(group, &name, suffix, |t| {
            let qkv = qkv.each_ref().map(|x| x.on(t));
            backward_of(attention(qkv, 12, None, None, drop, p))
        });
    }

    let frames = noisy(1, 15999, 512);
    let channels = param(vec![0.5; 512]);
    let [conv] = params([512 * 512 * 3]);
    time(group, "conv1d-1x15999x512-k3s2-gelu-gates", suffix, |t| {
        let input = Input::Gelu(Source::Hidden(frames.on(t)), Some(&put(&channels, t)));
        backward_of(conv1d(input, &conv, None, 3, 2, p).whole())
    });

    let positions = params([128, 768 * 48 * 128, 768]);
    time(group, "positional-4x249x768-k128-16groups", suffix, |t| {
        backward_of(positional(x.on(t), positions.each_ref(), 16, p))
    });

    let forward = params([4 * 384 * 768, 4 * 384 * 384, 4 * 384, 4 * 384]);
    let reverse = params([4 * 384 * 768, 4 * 384 * 384, 4 * 384, 4 * 384]);
    time(group, "lstm-4x249x768-384", suffix, |t| {
        backward_of(lstm(x.on(t), &[forward.each_ref()], p))
    });
    time(group, "lstm-4x249x768-2x384", suffix, |t| {
        let directions = [forward.each_ref(), reverse.each_ref()];
        backward_of(lstm(x.on(t), &directions, p))
    });
}

/// The ops of an encoder that compute in f32 at any precision.
fn f32_layers(group: &mut Group) {
    let x = noisy(4, 249, 768);
    let [b] = params([768]);
    time(group, "layer_norm-996x768", "f32", |t| {
        backward_of(layer_norm(x.on(t), &b, &b, 1e-5, F32))
    });

    let wave = vec![noise(80000)];
    let [conv, gamma, beta] = params([512 * 10, 512, 512]);
    time(group, "conv_first-1x80000x512-k10s5", "f32", |t| {
        let first = First::new(wave.clone(), [&conv, &gamma, &beta], 10, 5);
        backward_of(conv_first(first, t.clone()))
    });
}

fn losses(group: &mut Group) {
    let x = noisy(4, 249, 768);
    let key = noisy(4, 249, 768);
    let value = noisy(4, 249, 768);
    time(group, "gram-4x249x768", "f32", |t| {
        let loss: Number<Tape> = gram_distance(x.on(t), key.on(t), &value, &value);
        drop(backward(loss, 1.0))
    });
    time(group, "l1_cosine-996x768", "f32", |t| {
        drop(backward(l1(x.on(t), &value) + cosine(x.on(t), &value), 1.0))
    });

    let logits = noisy(4, 249, 500);
    let labels = vec![3; 996];
    time(group, "cross_entropy-996x500", "f32", |t| {
        drop(backward(cross_entropy(logits.on(t), &labels, None), 1.0))
    });
}

fn optimizer(group: &mut Group) {
    const N: usize = 1 << 24;
    let [gradient, mut weight] = params([N, N]);
    let mut moments = Moments::zeros(N);
    time(group, "adamw-16777216", "f32", |_| {
        let adamw = AdamW {
            form: Form::default(),
            rate: 2e-4,
            betas: [0.9, 0.999],
            eps: 1e-8,
            decay: 0.0,
            update: 9,
        };
        step(&adamw, &mut weight, &mut moments, &gradient, 1.0)
    });
}
