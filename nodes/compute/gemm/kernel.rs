//! The two loops that depend on the machine's vectors, written once: a tile of c, and packing a panel of b.
#![allow(unsafe_op_in_unsafe_fn)] // nearly every line is a load, a store or an instruction of the machine
#![allow(clippy::needless_range_loop)] // constant indices keep the sums in registers
use super::Epilogue;
use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
use std::array::from_fn;

/// A vector of floats. All methods are inlined into functions that carry the features.
pub trait Simd: Copy {
    const LANES: usize;
    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// The first `n` lanes, the others zero; memory behind them is not touched.
    unsafe fn load_first(from: *const f32, n: usize) -> Self;
    unsafe fn add(self, y: Self) -> Self;
    /// self · x + y
    unsafe fn mul_add(self, x: Self, y: Self) -> Self;
    /// LANES × LANES, in place.
    unsafe fn transpose(rows: &mut [Self]);
}

/// What is multiplied: words of 32 bits, each so many numbers that follow each other in depth.
pub trait Word<S: Simd> {
    const NUMBERS: usize;
    /// LANES words of numbers side by side; behind the first `n` numbers zeros, and memory is not touched.
    unsafe fn along(from: *const f32, n: usize) -> S;
    /// A word for each of `n` lanes side by side, its numbers `ks` apart; zeros behind `n` and behind `depth` numbers.
    unsafe fn across(from: *const f32, ks: usize, n: usize, depth: usize) -> S;
    /// Σ x · y over the numbers of a word + sum
    unsafe fn mul_add(x: S, y: S, sum: S) -> S;
}

impl<S: Simd> Word<S> for f32 {
    const NUMBERS: usize = 1;
    #[inline(always)]
    unsafe fn along(from: *const f32, n: usize) -> S {
        if n >= S::LANES {
            S::load(from)
        } else {
            S::load_first(from, n)
        }
    }
    #[inline(always)]
    unsafe fn across(from: *const f32, _: usize, n: usize, _: usize) -> S {
        Self::along(from, n)
    }
    #[inline(always)]
    unsafe fn mul_add(x: S, y: S, sum: S) -> S {
        x.mul_add(y, sum)
    }
}

/// One tile: `rows` × `n` of c, from rows of a and a packed panel of b, k × `nr`; both are words.
pub struct Tile<'a> {
    pub k: usize,
    pub a: *const f32,
    pub a_rs: usize,
    pub a_cs: usize,
    pub b: *const f32,
    pub c: *mut f32,
    pub c_rs: usize,
    pub rows: usize,
    pub n: usize,
    pub add: bool,
    /// If this is the last block of depth: what follows, and the tile's row and column.
    pub then: Option<(&'a Epilogue<'a>, usize, usize)>,
}

/// The widest panel.
const WIDEST: usize = 64;

/// M × (V vectors) sums stay in registers over the depth. For each k: V loads of b, M broadcasts of a, M · V products.
///
/// # Safety
/// The tile is within a, the panel and c.
#[inline(always)]
pub unsafe fn tile<S: Simd, W: Word<S>, const M: usize, const V: usize>(t: &Tile, nr: usize) {
    let mut sum = [[S::splat(0.0); V]; M];
    let a: [*const f32; M] = from_fn(|i| t.a.wrapping_add(i.min(t.rows - 1) * t.a_rs)); // rows beyond the edge: any
    for i in 0..t.rows.min(M) * V {
        _mm_prefetch::<_MM_HINT_T0>(
            t.c.wrapping_add(i / V * t.c_rs + i % V * S::LANES) as *const i8
        );
    }
    let (mut b, mut at) = (t.b, 0);
    macro_rules! one {
        () => {
            let y: [S; V] = from_fn(|v| S::load(b.add(v * S::LANES)));
            for i in 0..M {
                let x = S::splat(*a[i].wrapping_add(at));
                for v in 0..V {
                    sum[i][v] = W::mul_add(x, y[v], sum[i][v]);
                }
            }
            (b, at) = (b.wrapping_add(nr), at + t.a_cs);
        };
    }
    for _ in 0..t.k / 4 {
        one!();
        one!();
        one!();
        one!();
    }
    for _ in 0..t.k % 4 {
        one!();
    }
    // Constant indices only: one index known at run time, and all sums live in memory, at less than half the speed.
    if t.rows >= M && t.n == V * S::LANES {
        for i in 0..M {
            for v in 0..V {
                let to = t.c.wrapping_add(i * t.c_rs + v * S::LANES);
                (if t.add {
                    sum[i][v].add(S::load(to))
                } else {
                    sum[i][v]
                })
                .store(to);
            }
        }
    } else {
        let mut edge = [[0.0f32; WIDEST]; M];
        for i in 0..M {
            for v in 0..V {
                sum[i][v].store(edge[i].as_mut_ptr().add(v * S::LANES));
            }
        }
        for (i, edge) in edge.iter().enumerate().take(t.rows) {
            let to = std::slice::from_raw_parts_mut(t.c.add(i * t.c_rs), t.n);
            if t.add {
                to.iter_mut().zip(edge).for_each(|(c, x)| *c += x);
            } else {
                to.copy_from_slice(&edge[..t.n]);
            }
        }
    }
    if let Some((then, row, column)) = t.then {
        for i in 0..t.rows.min(M) {
            then.apply(
                row + i,
                column,
                std::slice::from_raw_parts_mut(t.c.add(i * t.c_rs), t.n),
            );
        }
    }
}

/// A strided panel: number (k, lane) at `from[k * ks + lane * ls]`, `depth` × `lanes` of them.
pub struct Panel {
    pub from: *const f32,
    pub ks: usize,
    pub ls: usize,
    pub lanes: usize,
    pub depth: usize,
    pub to: *mut f32,
    /// Words from a depth to the next: a multiple of the vector's lanes.
    pub width: usize,
}

/// Word (k, lane) to `to[k * width + lane]`, zeros beyond `lanes`; L is the vector's number of lanes.
///
/// # Safety
/// The panel is within its matrix, and `to` holds a word for each depth × `width`.
#[inline(always)]
pub unsafe fn pack<S: Simd, W: Word<S>, const L: usize>(p: &Panel) {
    const AHEAD: usize = 6; // short runs, far apart: the hardware does not foresee them
    let words = p.depth.div_ceil(W::NUMBERS);
    let left = |k: usize| p.depth - k * W::NUMBERS;
    let at = |k: usize, lane: usize| p.from.wrapping_add(k * W::NUMBERS * p.ks + lane * p.ls);
    let lanes = |g: usize| p.lanes.saturating_sub(g).min(L);
    let store = |k: usize, g: usize, x: S| x.store(p.to.add(k * p.width + g));
    if p.ls == 1 {
        for (k, g) in (0..words).flat_map(|k| (0..p.width).step_by(L).map(move |g| (k, g))) {
            for row in 0..W::NUMBERS {
                _mm_prefetch::<_MM_HINT_T0>(at(k + AHEAD, g).wrapping_add(row * p.ks) as *const i8);
            }
            store(k, g, W::across(at(k, g), p.ks, lanes(g), left(k)));
        }
    } else if p.ks == 1 {
        for (g, k) in (0..p.width)
            .step_by(L)
            .flat_map(|g| (0..words).step_by(L).map(move |k| (g, k)))
        {
            let mut square: [S; L] =
                from_fn(|l| W::along(at(k, g + l), if l < lanes(g) { left(k) } else { 0 }));
            S::transpose(&mut square);
            square
                .into_iter()
                .enumerate()
                .take(words - k)
                .for_each(|(i, x)| store(k + i, g, x));
        }
    } else {
        for (k, g) in (0..words).flat_map(|k| (0..p.width).step_by(L).map(move |g| (k, g))) {
            let number = |j: usize, l: usize| *at(k, g + l).wrapping_add(j * p.ks);
            let there = |j: usize, l: usize| j < left(k) && l < lanes(g);
            let numbers: [[f32; L]; 2] =
                from_fn(|j| from_fn(|l| if there(j, l) { number(j, l) } else { 0.0 }));
            store(k, g, W::across(numbers.as_ptr() as *const f32, L, L, 2));
        }
    }
}
