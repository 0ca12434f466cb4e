use super::*;
use crate::math::Dropout;
use crate::op::check::{close, gelu, gelu_slope, noise};

/// m, n and k: empty ones, edges of tiles, several panels, several blocks of depth.
const SHAPES: [[usize; 3]; 16] = [
    [1, 1, 1],
    [0, 3, 2],
    [3, 4, 0],
    [6, 64, 384],
    [7, 65, 385],
    [7, 17, 257],
    [13, 5, 3],
    [5, 130, 771],
    [150, 33, 40],
    [300, 70, 129],
    [2, 16, 4000],
    [40, 48, 17],
    [14, 200, 391],
    [32, 32, 32],
    [33, 47, 1030],
    [161, 64, 1026],
];

/// Calls `f` for each backend of this machine, on one and on three threads, and each shape.
fn for_each_case(mut f: impl FnMut(Backend, usize, Shape)) {
    let mut backends: Vec<Backend> = Vectors::all()
        .map(|vectors| Backend {
            vectors,
            ..backend(Precision::F32)
        })
        .collect();
    if Precision::Bf16.on_cpu() == Precision::Bf16 {
        let bf16 = backend(Precision::Bf16);
        backends.push(Backend {
            has_tiles: false,
            ..bf16
        });
        backends.extend(bf16.has_tiles.then_some(bf16));
    }
    for backend in backends {
        for [m, n, k] in SHAPES {
            f(backend, 1, Shape { m, n, k });
            f(backend, 3, Shape { m, n, k });
        }
    }
}

/// Rounds to the nearest, ties to even.
fn rounded(x: f32, precision: Precision) -> f64 {
    if precision != Precision::Bf16 {
        return x as f64;
    }
    let tie = 0x7fff + (x.to_bits() >> 16 & 1);
    f32::from_bits((x.to_bits() + tie) & 0xffff_0000) as f64
}

/// Returns a b (m, n) by definition, in f64, of rounded operands.
fn reference(backend: Backend, s: Shape, a: View, b: View) -> Vec<f64> {
    let number = |view: View, row: usize, column: usize| {
        rounded(
            view.data[row * view.rs + column * view.cs],
            backend.precision,
        )
    };
    let element = |i: usize, j: usize| (0..s.k).map(|k| number(a, i, k) * number(b, k, j)).sum();
    (0..s.m * s.n).map(|i| element(i / s.n, i % s.n)).collect()
}

fn tolerance(s: Shape) -> f64 {
    1e-6 * (10.0 + s.k as f64)
}

#[test]
fn products_are_those_of_the_definition() {
    for_each_case(|backend, threads, s| {
        let x = noise("a", (s.m + 3) * (s.k + 3) * 2);
        let y = noise("b", (s.n + 3) * (s.k + 3) * 2);
        let two_apart = |data, rs| View { data, rs, cs: 2 };
        let views_of_a = [
            View::rows(&x, s.k + 3),
            View::rows(&x, s.m + 1).t(),
            View::rows(&x, 1),
            two_apart(&x, 2 * s.k + 1),
        ];
        let views_of_b = [
            View::rows(&y, s.n),
            View::rows(&y, s.k + 3).t(),
            View::rows(&y, 1),
            two_apart(&y, 2 * s.n),
        ];
        for a in views_of_a {
            for b in views_of_b {
                let product = reference(backend, s, a, b);
                for accumulate in [false, true] {
                    check_product(backend, threads, s, a, b, &product, accumulate);
                }
            }
        }
    });
}

/// Compares a b, set or accumulated, with `product`; c has two columns more than the product.
fn check_product(
    backend: Backend,
    threads: usize,
    s: Shape,
    a: View,
    b: View,
    product: &[f64],
    accumulate: bool,
) {
    let rs = s.n + 2;
    let before = noise("c", s.m * rs);
    let mut c = before.clone();
    let out = Out {
        data: Shared::new(&mut c),
        rs,
        accumulate,
    };
    multiply(backend, threads, s, a, b, out, &Epilogue::None);
    for (i, (row, before)) in c.chunks_exact(rs).zip(before.chunks_exact(rs)).enumerate() {
        let beta = if accumulate { 1.0 } else { 0.0 };
        let expected: Vec<f64> = (0..s.n)
            .map(|j| product[i * s.n + j] + beta * before[j] as f64)
            .collect();
        close(&row[..s.n], &expected, tolerance(s));
        assert_eq!(row[s.n..], before[s.n..], "wrote beside the columns");
    }
}

#[test]
fn a_number_depends_neither_on_threads_nor_on_other_rows() {
    for_each_case(|backend, threads, s| {
        let x = noise("a", s.m * s.k);
        let y = noise("b", s.n * s.k);
        let a = View::rows(&x, s.k);
        let b = View::rows(&y, s.k).t();
        let product = |threads: usize, m: usize| {
            let mut c = vec![0.0; m * s.n];
            let out = Out::set(&mut c, s.n);
            multiply(
                backend,
                threads,
                Shape { m, ..s },
                a,
                b,
                out,
                &Epilogue::None,
            );
            c
        };
        let expected = product(1, s.m);
        assert!(expected == product(threads, s.m));
        assert!(expected[..s.m / 2 * s.n] == product(threads, s.m / 2));

        let mut packed = vec![0.0; s.m * s.n];
        Packed::with_backend(backend, s.n, s.k, b).multiply(s.m, a, Out::set(&mut packed, s.n));
        assert!(expected == packed);
    });
}

/// An operand of 8 bits is off by 2^-8 of itself at most, so a sum of products by 2^-7 of
/// Σ |a| |b|; the f32 sum adds its own error.
#[test]
fn bf16_is_within_its_bits() {
    for [m, n, k] in SHAPES {
        let s = Shape { m, n, k };
        let x = noise("a", m * k);
        let y = noise("b", n * k);
        let a = View::rows(&x, k);
        let b = View::rows(&y, n);
        let mut c = vec![0.0; m * n];
        gemm(Precision::Bf16, s, a, b, Out::set(&mut c, n));
        for (i, c) in c.iter().enumerate() {
            let terms = || (0..k).map(|p| x[i / n * k + p] as f64 * y[p * n + i % n] as f64);
            let relative = 2f64.powi(-7) + 2f64.powi(-16) + k as f64 * 2f64.powi(-23);
            let bound = relative * terms().map(f64::abs).sum::<f64>();
            let error = (*c as f64 - terms().sum::<f64>()).abs();
            assert!(error <= bound, "number {i} of {s:?}");
        }
    }
}

#[test]
fn epilogues() {
    let drop = Dropout { rate: 0.3, key: 1 };
    for_each_case(|backend, threads, s| {
        let x = noise("a", s.m * s.k);
        let y = noise("b", s.n * s.k);
        let a = View::rows(&x, s.k);
        let b = View::rows(&y, s.n);
        let bias = noise("bias", s.n);
        let z = noise("z", s.m * s.n);
        let product = reference(backend, s, a, b);
        let biased: Vec<f64> = product
            .iter()
            .enumerate()
            .map(|(i, c)| c + bias[i % s.n] as f64)
            .collect();
        let factor = |i: usize| drop.factor(i) as f64;
        let check = |epilogue: Epilogue, reference: &dyn Fn(usize) -> f64| {
            let mut c = vec![0.0; s.m * s.n];
            let out = Out::set(&mut c, s.n);
            multiply(backend, threads, s, a, b, out, &epilogue);
            let expected: Vec<f64> = (0..s.m * s.n).map(reference).collect();
            close(&c, &expected, tolerance(s));
        };

        check(Epilogue::Bias(&bias), &|i| biased[i]);

        let mut kept = vec![0.0; s.m * s.n];
        let bias_gelu = Epilogue::BiasGelu {
            bias: &bias,
            keep: Some(Shared::new(&mut kept)),
            drop,
        };
        check(bias_gelu, &|i| gelu(biased[i]) * factor(i));
        close(&kept, &biased, tolerance(s));

        let mut h = z.clone();
        let gelu_backward = Epilogue::GeluBackward {
            z: Shared::new(&mut h),
            width: s.n,
            drop,
        };
        check(gelu_backward, &|i| {
            product[i] * gelu_slope(z[i] as f64) * factor(i)
        });
        let expected: Vec<f64> = (0..h.len())
            .map(|i| gelu(z[i] as f64) * factor(i))
            .collect();
        close(&h, &expected, 1e-5);
    });
}
