//! The matrix products of a layer and of a convolution, m x n x k, forward and backward.
use super::noise;
use compute::gemm::{Out, Precision, Shape, View, gemm, gemm_serial};
use compute::parallel::{Shared, for_each};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion};

/// A matrix operand in memory.
struct Operand {
    /// Leading dimension.
    ld: usize,
    transposed: bool,
}

impl Operand {
    fn view<'a>(&self, data: &'a [f32]) -> View<'a> {
        let view = View::rows(data, self.ld);
        if self.transposed { view.t() } else { view }
    }
}

const fn rows(ld: usize) -> Operand {
    Operand {
        ld,
        transposed: false,
    }
}

const fn transposed(ld: usize) -> Operand {
    Operand {
        ld,
        transposed: true,
    }
}

const fn shape(m: usize, n: usize, k: usize) -> Shape {
    Shape { m, n, k }
}

/// Name, shape, a and b. Windows of `conv2` are 3 frames of 512 channels, 2 frames apart.
const PRODUCTS: [(&str, Shape, Operand, Operand); 7] = [
    (
        "linear-996x768x768",
        shape(996, 768, 768),
        rows(768),
        transposed(768),
    ),
    (
        "linear-996x3072x768",
        shape(996, 3072, 768),
        rows(768),
        transposed(768),
    ),
    (
        "linear-996x768x3072",
        shape(996, 768, 3072),
        rows(3072),
        transposed(3072),
    ),
    (
        "grad_x-996x768x3072",
        shape(996, 768, 3072),
        rows(3072),
        rows(768),
    ),
    (
        "grad_w-3072x768x996",
        shape(3072, 768, 996),
        transposed(3072),
        rows(768),
    ),
    (
        "conv2-7999x512x1536",
        shape(7999, 512, 1536),
        rows(1024),
        transposed(1536),
    ),
    (
        "conv2_grad_w-512x1536x7999",
        shape(512, 1536, 7999),
        transposed(512),
        rows(1024),
    ),
];

pub(crate) fn all(c: &mut Criterion) {
    let mut group = c.benchmark_group("products");
    for (precision, suffix) in [(Precision::F32, "f32"), (Precision::Bf16, "bf16")] {
        for (name, s, a, b) in &PRODUCTS {
            let a_data = noise(s.m * s.k + (s.m + s.k) * a.ld);
            let b_data = noise(s.n * s.k + (s.n + s.k) * b.ld);
            let mut c = vec![0.0; s.m * s.n];
            group.bench_function(BenchmarkId::new(*name, suffix), |bench| {
                bench.iter(|| {
                    let out = Out::set(&mut c, s.n);
                    gemm(precision, *s, a.view(&a_data), b.view(&b_data), out)
                })
            });
        }
        attention(&mut group, precision, suffix);
    }
}

/// The products of 4 rows of 249 frames with 12 heads of 64 numbers, a task for each head.
fn attention(group: &mut BenchmarkGroup<WallTime>, precision: Precision, suffix: &str) {
    const HEADS: usize = 12;
    const WIDTH: usize = 64 * HEADS;
    const FRAMES: usize = 249;
    const TASKS: usize = 4 * HEADS;
    let head_start = |task: usize| task / HEADS * FRAMES * WIDTH + task % HEADS * 64;
    let map_start = |task: usize| task * FRAMES * FRAMES;
    let q = noise(4 * FRAMES * WIDTH);
    let k = noise(4 * FRAMES * WIDTH);
    let mut maps = noise(TASKS * FRAMES * FRAMES);
    let mut contexts = noise(4 * FRAMES * WIDTH);
    group.bench_function(BenchmarkId::new("scores-48x249x249x64", suffix), |bench| {
        bench.iter(|| {
            let out = Shared::new(&mut maps);
            for_each(TASKS, |task| {
                let q = View::rows(&q[head_start(task)..], WIDTH);
                let k = View::rows(&k[head_start(task)..], WIDTH);
                // SAFETY: each task has a map of its own.
                let map = unsafe { Out::columns(out.tail(map_start(task)), FRAMES, false) };
                gemm_serial(precision, shape(FRAMES, FRAMES, 64), q, k.t(), map);
            });
        });
    });
    group.bench_function(BenchmarkId::new("context-48x249x64x249", suffix), |bench| {
        bench.iter(|| {
            let out = Shared::new(&mut contexts);
            for_each(TASKS, |task| {
                let map = View::rows(&maps[map_start(task)..], FRAMES);
                let v = View::rows(&k[head_start(task)..], WIDTH);
                // SAFETY: each task has the columns of its head, in its row.
                let context = unsafe { Out::columns(out.tail(head_start(task)), WIDTH, false) };
                gemm_serial(precision, shape(FRAMES, 64, FRAMES), map, v, context);
            });
        });
    });
}
