//! Each op forward and backward, from a gradient of ones, with all gradients that it has.
use super::noise;
use compute::adamw::{AdamW, Form, Moments};
use compute::gemm::Precision;
use compute::gemm::Precision::{Bf16, F32};
use compute::math::Dropout;
use compute::op::*;
use compute::tensor::cpu::{
    Hidden, Matrix, Number, Param, Spans, Tape, Vector, backward, hidden, param, put, record, split,
};
use criterion::{BenchmarkId, Criterion};

/// `rows` x `frames`, `width` wide.
fn noisy(rows: usize, frames: usize, width: usize) -> Hidden {
    hidden(
        noise(rows * frames * width),
        width,
        Spans::new(vec![frames; rows]),
    )
}

fn params<const N: usize>(sizes: [usize; N]) -> [Param; N] {
    sizes.map(|n| param(noise(n)))
}

/// Backward, as of the sum of all numbers of y.
macro_rules! pull {
    ($y:expr) => {{
        let (y, tape) = split($y);
        let sum = record(vec![0.0], (), tape, move |_, g| g.of(&y).fill(1.0));
        drop(backward(sum, 1.0));
    }};
}

fn from(y: Hidden<Tape>) {
    let y: Matrix<Tape> = y.values;
    pull!(y);
}

pub fn all(c: &mut Criterion) {
    let mut group = c.benchmark_group("ops");
    let mut time = |name: &str, suffix: &str, f: &dyn Fn(&Tape)| {
        group.bench_function(BenchmarkId::new(name, suffix), |bench| {
            bench.iter(|| f(&Tape::default()))
        });
    };
    let (none, x) = (Dropout::NONE, noisy(4, 249, 768));
    let [w, b, up, up_bias, down] = params([768 * 768, 768, 3072 * 768, 3072, 768 * 3072]);
    let [key, value] = [noisy(4, 249, 768), noisy(4, 249, 768)];
    let (gates, channels) = (param(vec![0.5; 12]), param(vec![0.5; 512]));
    let (long, [conv_w]) = (noisy(1, 15999, 512), params([512 * 512 * 3]));
    let positions = params([128, 768 * 48 * 128, 768]);
    let directions = [(); 2].map(|()| params([4 * 384 * 768, 4 * 384 * 384, 4 * 384, 4 * 384]));
    let [one, other] = directions.each_ref().map(|d| d.each_ref());
    let precisions: [(Precision, &str); 2] = [(F32, "f32"), (Bf16, "bf16")];
    for (p, suffix) in precisions {
        time("linear-996x768x768", suffix, &|t| {
            from(linear(x.on(t), &w, &b, p))
        });
        let weights = [&up, &up_bias, &down, &b];
        time("feed_forward-996x768x3072", suffix, &|t| {
            from(feed_forward(x.on(t), weights, None, none, p).whole())
        });
        time("attention-4x249x768-12heads-gates", suffix, &|t| {
            let qkv = [&x, &key, &value].map(|x| x.on(t));
            from(attention(qkv, 12, Some(&put(&gates, t)), None, none, p))
        });
        time("attention_map-4x249x768-12heads", suffix, &|t| {
            let map: Vector<Tape> = attention_map([x.on(t), key.on(t)], 12, None, p).values;
            pull!(map)
        });
        time("conv1d-1x15999x512-k3s2-gelu-gates", suffix, &|t| {
            let input = Input::Gelu(Source::Hidden(long.on(t)), Some(&put(&channels, t)));
            from(conv1d(input, &conv_w, None, 3, 2, p).whole())
        });
        time("positional-4x249x768-k128-16groups", suffix, &|t| {
            from(positional(
                x.on(t),
                [&positions[0], &positions[1], &positions[2]],
                16,
                p,
            ))
        });
        time("lstm-4x249x768-384", suffix, &|t| {
            from(lstm(x.on(t), &[one], p))
        });
        time("lstm-4x249x768-2x384", suffix, &|t| {
            from(lstm(x.on(t), &[one, other], p))
        });
    }
    time("layer_norm-996x768", "f32", &|t| {
        from(layer_norm(x.on(t), &b, &b, 1e-5, Precision::F32))
    });
    let (wave, [first, gamma, beta]) = (vec![noise(80000)], params([512 * 10, 512, 512]));
    time("conv_first-1x80000x512-k10s5", "f32", &|t| {
        from(conv_first(
            First::new(wave.clone(), [&first, &gamma, &beta], 10, 5),
            t.clone(),
        ))
    });
    time("gram-4x249x768", "f32", &|t| {
        let y: Number<Tape> = gram_distance(x.on(t), key.on(t), &value, &value);
        drop(backward(y, 1.0))
    });
    time("l1_cosine-996x768", "f32", &|t| {
        drop(backward(l1(x.on(t), &value) + cosine(x.on(t), &value), 1.0))
    });
    let (logits, labels) = (noisy(4, 249, 500), vec![3; 996]);
    time("cross_entropy-996x500", "f32", &|t| {
        drop(backward(cross_entropy(logits.on(t), &labels, None), 1.0))
    });
    let (g, weights) = (
        noise(1 << 24),
        std::cell::RefCell::new((noise(1 << 24), Moments::zeros(1 << 24))),
    );
    time("adamw-16777216", "f32", &|_| {
        let (weights, moments) = &mut *weights.borrow_mut();
        let adamw = AdamW {
            form: Form::default(),
            rate: 2e-4,
            betas: [0.9, 0.999],
            eps: 1e-8,
            decay: 0.0,
            update: 9,
        };
        adamw.step(weights, moments, &g, 1.0)
    });
}
