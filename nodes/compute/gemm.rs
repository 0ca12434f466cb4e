//! The seam for matrix products: c = a b or c += a b, on strided views; what follows is done while a tile is in cache.
//!
//! A view may overlap itself: a convolution over (frames, channels) is a product with a view whose row stride is
//! smaller than its width, so no window is ever copied. Every number of c is the same whatever the thread count, and
//! whatever other rows c has.
use crate::parallel::{Shared, Vectors, threads};
pub use epilogue::Epilogue;
pub use precision::Precision;

#[cfg(target_arch = "x86_64")]
mod bf16;

#[cfg(target_arch = "x86_64")]
mod blocked;
mod epilogue;
#[cfg(target_arch = "x86_64")]
mod isa;
#[cfg(target_arch = "x86_64")]
mod kernel;
mod portable;
mod precision;

/// Rows, columns and depth of a product: (m, k) times (k, n).
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub m: usize,
    pub n: usize,
    pub k: usize,
}

/// Element (row, column) lies at `data[row * rs + column * cs]`.
#[derive(Clone, Copy)]
pub struct View<'a> {
    data: &'a [f32],
    rs: usize,
    cs: usize,
}

impl<'a> View<'a> {
    /// Row-major, rows `stride` apart.
    pub fn rows(data: &'a [f32], stride: usize) -> Self {
        View {
            data,
            rs: stride,
            cs: 1,
        }
    }
    /// The transpose.
    pub fn t(self) -> Self {
        View {
            rs: self.cs,
            cs: self.rs,
            ..self
        }
    }
    fn holds(&self, rows: usize, columns: usize) -> bool {
        rows * columns == 0 || (rows - 1) * self.rs + (columns - 1) * self.cs < self.data.len()
    }
}

/// Where a product goes: row-major, rows `rs` apart; added to what is there, or in its place.
pub struct Out<'a> {
    to: Shared<'a>,
    rs: usize,
    add: bool,
}

impl<'a> Out<'a> {
    pub fn set(data: &'a mut [f32], stride: usize) -> Self {
        Out {
            to: Shared::new(data),
            rs: stride,
            add: false,
        }
    }
    pub fn add(data: &'a mut [f32], stride: usize) -> Self {
        Out {
            to: Shared::new(data),
            rs: stride,
            add: true,
        }
    }
    /// Columns of a matrix of which other tasks write other columns.
    ///
    /// # Safety
    /// Nobody else reads or writes these columns meanwhile.
    pub unsafe fn columns(to: Shared<'a>, stride: usize, add: bool) -> Self {
        Out {
            to,
            rs: stride,
            add,
        }
    }
}

/// c = a b or c += a b, over all threads.
pub fn gemm(p: Precision, s: Shape, a: View, b: View, c: Out) {
    run(
        (Vectors::here(), p.on_cpu()),
        threads(),
        s,
        a,
        b,
        c,
        &Epilogue::None,
    )
}

/// As [`gemm`]; then `then` on each tile of the result.
pub fn gemm_then(p: Precision, s: Shape, a: View, b: View, c: Out, then: Epilogue) {
    run((Vectors::here(), p.on_cpu()), threads(), s, a, b, c, &then)
}

/// a b, (m, n), where nothing was before; then `then` on each tile.
pub fn product(p: Precision, s: Shape, a: View, b: View, then: Epilogue) -> Vec<f32> {
    let mut c = Vec::with_capacity(s.m * s.n);
    let to = Out {
        to: Shared::spare(&mut c),
        rs: s.n,
        add: false,
    };
    run((Vectors::here(), p.on_cpu()), threads(), s, a, b, to, &then);
    // SAFETY: where a product is not added it writes every number, and reads none before.
    unsafe { c.set_len(s.m * s.n) };
    c
}

/// As [`gemm`], on the calling thread alone: for products of which many run side by side.
pub fn gemm_here(p: Precision, s: Shape, a: View, b: View, c: Out) {
    run(
        (Vectors::here(), p.on_cpu()),
        1,
        s,
        a,
        b,
        c,
        &Epilogue::None,
    )
}

/// b of many products, each on the calling thread alone: packed once, where that pays.
pub struct Packed<'a> {
    n: usize,
    k: usize,
    b: View<'a>,
    #[cfg(target_arch = "x86_64")]
    words: Option<blocked::Packed>,
}

impl<'a> Packed<'a> {
    /// n wide, k deep.
    pub fn new(p: Precision, n: usize, k: usize, b: View<'a>) -> Self {
        Packed::on((Vectors::here(), p.on_cpu()), n, k, b)
    }

    fn on(machine: Machine, n: usize, k: usize, b: View<'a>) -> Self {
        assert!(b.holds(k, n), "b is too short for {k} x {n}");
        #[cfg(not(target_arch = "x86_64"))]
        let _ = machine;
        Packed {
            n,
            k,
            b,
            // SAFETY: the view is long enough, as just checked; `machine` is this one.
            #[cfg(target_arch = "x86_64")]
            words: isa(machine, n * k).map(|isa| unsafe { blocked::Packed::new(isa, n, k, b) }),
        }
    }

    /// c = a b or c += a b, with m rows of a.
    pub fn multiply(&self, m: usize, a: View, c: Out) {
        self.multiply_then(m, a, c, &Epilogue::None)
    }

    /// As [`Packed::multiply`]; then `then` on each tile of the result.
    pub fn multiply_then(&self, m: usize, a: View, c: Out, then: &Epilogue) {
        let s = Shape {
            m,
            n: self.n,
            k: self.k,
        };
        if !fits(s, a, self.b, &c) {
            return;
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(words) = &self.words {
            // SAFETY: the views are long enough, as just checked.
            return unsafe { words.multiply(m, a, c, then) };
        }
        portable::gemm(1, s, a, self.b, c, then);
    }
}

/// Bytes in which operands lie packed, of all threads.
pub fn packed_bytes() -> usize {
    #[cfg(target_arch = "x86_64")]
    return blocked::packed_bytes();
    #[cfg(not(target_arch = "x86_64"))]
    0
}

/// What to compute with; only what is here.
type Machine = (Vectors, Precision);

/// What multiplies so many numbers here; None: portable code.
#[cfg(target_arch = "x86_64")]
fn isa(machine: Machine, numbers: usize) -> Option<&'static isa::Isa> {
    match machine {
        _ if numbers == 0 => None,
        (Vectors::Avx512, Precision::Bf16) => Some(&bf16::BF16),
        (Vectors::Avx512, _) => Some(&isa::AVX512),
        (Vectors::Avx2, _) => Some(&isa::AVX2),
        _ => None,
    }
}

/// Whether there is anything to compute; all that it takes is there.
fn fits(s: Shape, a: View, b: View, c: &Out) -> bool {
    if s.m * s.n == 0 {
        return false;
    }
    assert!(a.holds(s.m, s.k), "a is too short for {s:?}");
    assert!(b.holds(s.k, s.n), "b is too short for {s:?}");
    assert!(
        c.to.holds((s.m - 1) * c.rs + s.n),
        "c is too short for {s:?}"
    );
    true
}

#[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))]
fn run(machine: Machine, threads: usize, s: Shape, a: View, b: View, c: Out, then: &Epilogue) {
    if !fits(s, a, b, &c) {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(isa) = isa(machine, s.k) {
        // SAFETY: the views are long enough, as just checked; `machine` is this one.
        return unsafe { blocked::gemm(isa, threads, s, a, b, c, then) };
    }
    portable::gemm(threads, s, a, b, c, then)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::Dropout;
    use crate::op::check::{close, gelu, gelu_slope, noise};

    const SHAPES: [[usize; 3]; 11] = [
        [1, 1, 1],
        [0, 3, 2],
        [3, 4, 0],
        [6, 64, 384],
        [7, 65, 385],
        [13, 5, 3],
        [5, 130, 771],
        [150, 33, 40],
        [300, 70, 129],
        [2, 16, 4000],
        [40, 48, 17],
    ];

    fn every_path(mut f: impl FnMut(Machine, usize, Shape)) {
        let pairs = (Vectors::here(), Precision::Bf16.on_cpu());
        let f32s = Vectors::all().map(|vectors| (vectors, Precision::F32));
        for machine in f32s.chain((pairs.1 == Precision::Bf16).then_some(pairs)) {
            for [m, n, k] in SHAPES {
                f(machine, 1, Shape { m, n, k });
                f(machine, 3, Shape { m, n, k });
            }
        }
    }

    /// To the nearest, ties to even.
    fn rounded(x: f32, to: Precision) -> f64 {
        let tie = 0x7fff + (x.to_bits() >> 16 & 1);
        let bf16 = f32::from_bits((x.to_bits() + tie) & 0xffff_0000);
        (if to == Precision::Bf16 { bf16 } else { x }) as f64
    }

    /// By definition, in f64, of rounded operands.
    fn definition((_, p): Machine, s: Shape, a: View, b: View) -> Vec<f64> {
        let at = |v: View, i: usize, j: usize| rounded(v.data[i * v.rs + j * v.cs], p);
        let entry = |i: usize, j: usize| (0..s.k).map(|p| at(a, i, p) * at(b, p, j)).sum();
        (0..s.m * s.n).map(|x| entry(x / s.n, x % s.n)).collect()
    }

    #[test]
    fn products_are_those_of_the_definition() {
        every_path(|machine, threads, s| {
            let (x, y) = (
                noise("a", (s.m + 3) * (s.k + 3) * 2),
                noise("b", (s.n + 3) * (s.k + 3) * 2),
            );
            let two = |data, rs| View { data, rs, cs: 2 };
            let lefts = [
                View::rows(&x, s.k + 3),
                View::rows(&x, s.m + 1).t(),
                View::rows(&x, 1),
                two(&x, 2 * s.k + 1),
            ];
            let rights = [
                View::rows(&y, s.n),
                View::rows(&y, s.k + 3).t(),
                View::rows(&y, 1),
                two(&y, 2 * s.n),
            ];
            for (a, b) in lefts
                .iter()
                .flat_map(|a| rights.iter().map(move |b| (*a, *b)))
            {
                let product = definition(machine, s, a, b);
                for add in [false, true] {
                    let rs = s.n + 2;
                    let before = noise("c", s.m * rs);
                    let mut c = before.clone();
                    run(
                        machine,
                        threads,
                        s,
                        a,
                        b,
                        Out {
                            to: Shared::new(&mut c),
                            rs,
                            add,
                        },
                        &Epilogue::None,
                    );
                    for (i, (c, before)) in
                        c.chunks_exact(rs).zip(before.chunks_exact(rs)).enumerate()
                    {
                        let keep = |j: usize| if add { before[j] as f64 } else { 0.0 };
                        let row: Vec<f64> =
                            (0..s.n).map(|j| product[i * s.n + j] + keep(j)).collect();
                        close(&c[..s.n], &row, 1e-6 * (10.0 + s.k as f64));
                        assert_eq!(c[s.n..], before[s.n..], "wrote beside the columns");
                    }
                }
            }
        });
    }

    #[test]
    fn a_number_depends_neither_on_threads_nor_on_other_rows() {
        every_path(|machine, threads, s| {
            let (x, y) = (noise("a", s.m * s.k), noise("b", s.n * s.k));
            let product = |threads: usize, rows: usize| {
                let mut c = vec![0.0; rows * s.n];
                let (a, b) = (View::rows(&x, s.k), View::rows(&y, s.k).t());
                run(
                    machine,
                    threads,
                    Shape { m: rows, ..s },
                    a,
                    b,
                    Out::set(&mut c, s.n),
                    &Epilogue::None,
                );
                c
            };
            let all = product(1, s.m);
            assert!(
                all == product(threads, s.m) && all[..s.m / 2 * s.n] == product(threads, s.m / 2)
            );
            let (mut packed, b) = (vec![0.0; s.m * s.n], View::rows(&y, s.k).t());
            Packed::on(machine, s.n, s.k, b).multiply(
                s.m,
                View::rows(&x, s.k),
                Out::set(&mut packed, s.n),
            );
            assert!(all == packed);
        });
    }

    /// Of 8 bits, an operand is off by 2^-8 of itself at most: a product by 2^-7 of Σ |a| |b|, and what f32 adds.
    #[test]
    fn bf16_is_within_its_bits() {
        for [m, n, k] in SHAPES {
            let s = Shape { m, n, k };
            let (x, y) = (noise("a", m * k), noise("b", n * k));
            let mut c = vec![0.0; m * n];
            gemm(
                Precision::Bf16,
                s,
                View::rows(&x, k),
                View::rows(&y, n),
                Out::set(&mut c, n),
            );
            for (i, c) in c.iter().enumerate() {
                let terms = || (0..k).map(|p| x[i / n * k + p] as f64 * y[p * n + i % n] as f64);
                let within = 2f64.powi(-7) + 2f64.powi(-16) + k as f64 * 2f64.powi(-23);
                let bound = within * terms().map(f64::abs).sum::<f64>();
                assert!(
                    (*c as f64 - terms().sum::<f64>()).abs() <= bound,
                    "number {i} of {s:?}"
                );
            }
        }
    }

    #[test]
    fn epilogues() {
        let drop = Dropout { rate: 0.3, key: 1 };
        every_path(|machine, threads, s| {
            let (x, y, bias, z) = (
                noise("a", s.m * s.k),
                noise("b", s.n * s.k),
                noise("bias", s.n),
                noise("z", s.m * s.n),
            );
            let (a, b) = (View::rows(&x, s.k), View::rows(&y, s.n));
            let product = definition(machine, s, a, b);
            let biased: Vec<f64> = product
                .iter()
                .enumerate()
                .map(|(i, c)| c + bias[i % s.n] as f64)
                .collect();
            let factor = |i: usize| drop.factor(i) as f64;
            let [mut c, mut kept, mut h] = [vec![0.0; s.m * s.n], vec![0.0; s.m * s.n], z.clone()];
            let tolerance = 1e-6 * (10.0 + s.k as f64);
            let mut then = |then: Epilogue, reference: &dyn Fn(usize) -> f64| {
                run(machine, threads, s, a, b, Out::set(&mut c, s.n), &then);
                close(
                    &c,
                    &(0..s.m * s.n).map(reference).collect::<Vec<_>>(),
                    tolerance,
                );
            };
            then(Epilogue::Bias(&bias), &|i| biased[i]);
            let keep = Some(Shared::new(&mut kept));
            then(
                Epilogue::BiasGelu {
                    bias: &bias,
                    keep,
                    drop,
                },
                &|i| gelu(biased[i]) * factor(i),
            );
            let slope = Epilogue::GeluSlope {
                z: Shared::new(&mut h),
                width: s.n,
                drop,
            };
            then(slope, &|i| product[i] * gelu_slope(z[i] as f64) * factor(i));
            close(&kept, &biased, tolerance);
            close(
                &h,
                &(0..h.len())
                    .map(|i| gelu(z[i] as f64) * factor(i))
                    .collect::<Vec<_>>(),
                1e-5,
            );
        });
    }
}
