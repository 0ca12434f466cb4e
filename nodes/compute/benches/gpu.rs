//! Times HuBERT Base and a student pruned from it on a GPU, as they train: 10 rows of 15.6 s, with
//! dropout: `cargo bench -p compute --features cuda --bench gpu`.
//!
//! For each precision and model it prints a line for the encoder (the peak of a GEMM, forward,
//! forward and backward, share of the peak, memory) and one for the convolutions.
use compute::cuda::gpu::gpu;
use compute::cuda::product::{Factor, Out, View, product};
use compute::gemm::Precision;
use compute::math::Dropout;
use compute::op::{
    First, Input, Source, conv1d, feed_forward, mean_square, mse, residual_norm, self_attention,
};
use compute::random::Key;
use compute::tensor::cuda::{Cuda, Param, backward, hidden, param, tensor};
use compute::tensor::{Hidden, NoneTape, Spans, Tape, Track};
use std::time::Instant;

const LAYERS: usize = size(12);
const ROWS: usize = 10;
const FRAMES: usize = size(779); // 15.6 s
const WIDTH: usize = size(768);
const SAMPLES: usize = size(249_600);
const RATE: f32 = 0.1;
/// Taps and stride of each convolution.
const CONVOLUTIONS: [(usize, usize); 7] = [(10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2)];

/// The sizes of a model that pruning changes.
struct Model {
    name: &'static str,
    heads: usize,
    /// Inner units of a feed-forward.
    inner: usize,
    /// Channels of each convolution.
    channels: [usize; 7],
}

const MODELS: [Model; 2] = [
    Model {
        name: "HuBERT Base",
        heads: size(12),
        inner: size(3072),
        channels: [size(512); 7],
    },
    // Cuts leave widths that no power of two divides.
    Model {
        name: "pruned",
        heads: size(5),
        inner: size(617),
        channels: [
            size(381),
            size(437),
            size(419),
            size(455),
            size(473),
            size(499),
            size(512),
        ],
    },
];

/// Returns a size, reduced on the simulated GPU, which only shows that the benchmark runs.
const fn size(full: usize) -> usize {
    if cfg!(feature = "simulated-gpu") {
        full.div_ceil(12)
    } else {
        full
    }
}

impl Model {
    /// Returns the width of q, k and v.
    fn attention(&self) -> usize {
        self.heads * 64
    }
}

fn main() {
    let waves = vec![noise("wave", SAMPLES); ROWS];
    for precision in [Precision::F32, Precision::Tf32, Precision::Bf16] {
        let peak = peak(precision);
        for model in &MODELS {
            gpu().reset_peak();
            time_encoder(model, precision, peak);
            time_convolutions(model, precision, &waves);
        }
    }
}

fn time_encoder(model: &Model, precision: Precision, peak: f64) {
    const NUMBERS: usize = ROWS * FRAMES * WIDTH;
    let encoder: Vec<Vec<Param>> = (0..LAYERS).map(|_| layer_start(model)).collect();
    let x = hidden(noise("x", NUMBERS), WIDTH, spans());
    let target = hidden(noise("target", NUMBERS), WIDTH, spans());
    let forward = median(|| drop(run(x.clone(), &encoder, model, precision)));
    let both = median(|| {
        let y = run(x.on(&Tape::default()), &encoder, model, precision);
        drop(backward(mse(y, &target), 1.0));
    });
    let attention = model.attention();
    let per_frame = 4 * WIDTH * attention + 2 * WIDTH * model.inner + 2 * FRAMES * attention;
    let flop = 6.0 * LAYERS as f64 * (ROWS * FRAMES) as f64 * per_frame as f64;
    println!(
        "{precision:?}, {}: peak {:.0} TFLOP/s, forward {:.2} ms, with backward {:.2} ms, \
         {:.0} TFLOP/s, {:.0} % of the peak, {:.2} GiB",
        model.name,
        peak / 1e12,
        1e3 * forward,
        1e3 * both,
        flop / both / 1e12,
        100.0 * flop / both / peak,
        gpu().peak_bytes() as f64 / (1u64 << 30) as f64
    );
}

fn time_convolutions(model: &Model, precision: Precision, waves: &[Vec<f32>]) {
    let weights = convolutions(model);
    let forward = median(|| drop(extract(waves, &weights, NoneTape, precision)));
    let both = median(|| {
        let y = extract(waves, &weights, Tape::default(), precision);
        drop(backward(mean_square(y), 1.0));
    });
    println!(
        "convolutions: forward {:.2} ms, with backward {:.2} ms",
        1e3 * forward,
        1e3 * both
    );
}

fn spans() -> Spans {
    Spans::new([FRAMES; ROWS])
}

fn noise(name: &str, n: usize) -> Vec<f32> {
    let key = Key::new(0, &[name]);
    (0..n as u64)
        .map(|i| key.uniform(0, i) * 2.0 - 1.0)
        .collect()
}

/// Returns the parameters of a layer: weight and bias of q, k, v and the output, of the norm after
/// them, of the two projections of the feed-forward, and of its norm.
fn layer_start(model: &Model) -> Vec<Param> {
    let weight = |n: usize, width: usize| {
        param(
            noise("w", n * width)
                .into_iter()
                .map(|w| w / (width as f32).sqrt())
                .collect(),
        )
    };
    let row = |value: f32, n: usize| param(vec![value; n]);
    let attention = model.attention();
    let inner = model.inner;
    let mut p: Vec<Param> = (0..3)
        .flat_map(|_| [weight(attention, WIDTH), row(0.0, attention)])
        .collect();
    p.extend([weight(WIDTH, attention), row(0.0, WIDTH)]);
    let norm = || [row(1.0, WIDTH), row(0.0, WIDTH)];
    p.extend(norm());
    p.extend([
        weight(inner, WIDTH),
        row(0.0, inner),
        weight(WIDTH, inner),
        row(0.0, WIDTH),
    ]);
    p.extend(norm());
    p
}

fn run<T: Track<Cuda>>(
    x: Hidden<T, Cuda>,
    encoder: &[Vec<Param>],
    model: &Model,
    precision: Precision,
) -> Hidden<T, Cuda> {
    let layers = encoder.iter().enumerate();
    layers.fold(x, |x, (number, p)| layer(x, p, number, model, precision))
}

fn layer<T: Track<Cuda>>(
    x: Hidden<T, Cuda>,
    p: &[Param],
    number: usize,
    model: &Model,
    precision: Precision,
) -> Hidden<T, Cuda> {
    let drop = |place: usize| Dropout {
        rate: RATE,
        key: (4 * number + place) as u32,
    };
    let weights = [0, 1, 2, 3, 4, 5, 6, 7].map(|i| &p[i]);
    let heads = model.heads;
    let branch = self_attention(x.clone(), weights, heads, None, None, drop(0), precision);
    let x = residual_norm(x, branch, drop(1), [&p[8], &p[9]], 1e-5, precision);
    let weights = [10, 11, 12, 13].map(|i| &p[i]);
    let branch = feed_forward(x.clone(), weights, None, drop(2), precision);
    residual_norm(x, branch, drop(3), [&p[14], &p[15]], 1e-5, precision)
}

/// Returns weight, γ and β of the first convolution, and taps, stride and weight of each later one.
fn convolutions(model: &Model) -> ([Param; 3], Vec<(usize, usize, Param)>) {
    let weight = |out: usize, inputs: usize| {
        param(
            noise("w", out * inputs)
                .into_iter()
                .map(|w| w / (inputs as f32).sqrt())
                .collect(),
        )
    };
    let [first, ..] = model.channels;
    let [(taps, _), ..] = CONVOLUTIONS;
    let mut later = vec![];
    for ((k, s), widths) in CONVOLUTIONS[1..].iter().zip(model.channels.windows(2)) {
        later.push((*k, *s, weight(widths[1], widths[0] * k)));
    }
    let gamma = param(vec![1.0; first]);
    let beta = param(vec![0.0; first]);
    ([weight(first, taps), gamma, beta], later)
}

/// Runs the convolutions on waves in the host's memory, which are uploaded each time.
fn extract<T: Track<Cuda>>(
    waves: &[Vec<f32>],
    (first, later): &([Param; 3], Vec<(usize, usize, Param)>),
    tape: T,
    precision: Precision,
) -> Hidden<T, Cuda> {
    let [(k, s), ..] = CONVOLUTIONS;
    let first = Source::First(First::new(waves.to_vec(), first.each_ref(), k, s), tape);
    let next = |x, (k, s, w): &(usize, usize, Param)| {
        conv1d(Input::Gelu(x, None), w, None, *k, *s, precision)
    };
    later.iter().fold(first, next).whole()
}

/// Returns the FLOP/s of a GEMM of matrices of 8192 x 8192.
fn peak(precision: Precision) -> f64 {
    const N: usize = size(8192);
    let factor = Factor::of(precision, &tensor(noise("peak", N * N), (N, N)));
    let to = gpu().memory(precision, N * N);
    let view = factor.rows(N);
    2.0 * (N as f64).powi(3)
        / median(|| {
            product(
                precision,
                [N; 3],
                view,
                view.t(),
                Out::Set(View::of(&to, N)),
            )
        })
}

/// Returns the median seconds of 20 runs, after three that do not count.
fn median(mut run: impl FnMut()) -> f64 {
    let mut once = || {
        gpu().wait();
        let started = Instant::now();
        run();
        gpu().wait();
        started.elapsed().as_secs_f64()
    };
    (0..3).for_each(|_| _ = once());
    let mut times: Vec<f64> = (0..20).map(|_| once()).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
