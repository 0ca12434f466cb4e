//! The products of a layer and of a convolution, m x n x k, forward and backward.
use super::noise;
use compute::gemm::{Out, Precision, Shape, View, gemm, gemm_here};
use compute::parallel::{Shared, each};
use criterion::{BenchmarkId, Criterion};

pub fn all(c: &mut Criterion) {
    let mut group = c.benchmark_group("products");
    for (precision, suffix) in [(Precision::F32, "f32"), (Precision::Bf16, "bf16")] {
        // Row strides of a and b, and whether each is read as its transpose.
        for (name, [m, n, k], (a_stride, a_turned), (b_stride, b_turned)) in [
            (
                "linear-996x768x768",
                [996, 768, 768],
                (768, false),
                (768, true),
            ),
            (
                "linear-996x3072x768",
                [996, 3072, 768],
                (768, false),
                (768, true),
            ),
            (
                "linear-996x768x3072",
                [996, 768, 3072],
                (3072, false),
                (3072, true),
            ),
            (
                "grad_x-996x768x3072",
                [996, 768, 3072],
                (3072, false),
                (768, false),
            ),
            (
                "grad_w-3072x768x996",
                [3072, 768, 996],
                (3072, true),
                (768, false),
            ),
            // Windows of 3 frames of 512 channels, 2 frames apart.
            (
                "conv2-7999x512x1536",
                [7999, 512, 1536],
                (1024, false),
                (1536, true),
            ),
            (
                "conv2_grad_w-512x1536x7999",
                [512, 1536, 7999],
                (512, true),
                (1024, false),
            ),
        ] {
            let [a, b] = [
                noise(m * k + m * a_stride + k * a_stride),
                noise(n * k + n * b_stride + k * b_stride),
            ];
            let turn = |v: View<'static>, turned| if turned { v.t() } else { v };
            let (a, b): (&'static [f32], &'static [f32]) = (a.leak(), b.leak());
            let (a, b) = (
                turn(View::rows(a, a_stride), a_turned),
                turn(View::rows(b, b_stride), b_turned),
            );
            let mut y = vec![0.0; m * n];
            let product = || gemm(precision, Shape { m, n, k }, a, b, Out::set(&mut y, n));
            let mut product = product;
            group.bench_function(BenchmarkId::new(name, suffix), |bench| {
                bench.iter(&mut product)
            });
        }
        // A head a task, its columns 768 apart: 4 rows of 12 heads.
        let (q, k, mut p, mut o) = (
            noise(996 * 768),
            noise(996 * 768),
            noise(48 * 249 * 249),
            noise(996 * 768),
        );
        let at = |task: usize| task / 12 * 249 * 768 + task % 12 * 64;
        group.bench_function(BenchmarkId::new("scores-48x249x249x64", suffix), |bench| {
            bench.iter(|| {
                let p = Shared::new(&mut p);
                each(48, |task| {
                    let (q, k) = (
                        View::rows(&q[at(task)..], 768),
                        View::rows(&k[at(task)..], 768),
                    );
                    // SAFETY: each task has a square of its own.
                    let to = unsafe { Out::columns(p.tail(task * 249 * 249), 249, false) };
                    gemm_here(
                        precision,
                        Shape {
                            m: 249,
                            n: 249,
                            k: 64,
                        },
                        q,
                        k.t(),
                        to,
                    );
                });
            });
        });
        group.bench_function(BenchmarkId::new("context-48x249x64x249", suffix), |bench| {
            bench.iter(|| {
                let o = Shared::new(&mut o);
                each(48, |task| {
                    let (p, v) = (
                        View::rows(&p[task * 249 * 249..], 249),
                        View::rows(&k[at(task)..], 768),
                    );
                    // SAFETY: each task has the columns of its head, in its row.
                    let to = unsafe { Out::columns(o.tail(at(task)), 768, false) };
                    gemm_here(
                        precision,
                        Shape {
                            m: 249,
                            n: 64,
                            k: 249,
                        },
                        p,
                        v,
                        to,
                    );
                });
            });
        });
    }
}
