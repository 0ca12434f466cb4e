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

/// One tile: `rows` × `n` of c, from rows of a where they lie and a packed panel of b, k × `nr`.
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

/// M × (V vectors) sums stay in registers over the depth. For each k: V loads of b, M broadcasts of a, M · V FMAs.
///
/// # Safety
/// The tile is within a, the panel and c.
#[inline(always)]
pub unsafe fn tile<S: Simd, const M: usize, const V: usize>(t: &Tile, nr: usize) {
    let mut sum = [[S::splat(0.0); V]; M];
    let a: [*const f32; M] = from_fn(|i| t.a.wrapping_add(i.min(t.rows - 1) * t.a_rs)); // rows beyond the edge: any
    for i in 0..t.rows.min(M) * V {
        _mm_prefetch::<_MM_HINT_T0>(t.c.wrapping_add(i / V * t.c_rs + i % V * S::LANES) as *const i8);
    }
    let (mut b, mut at) = (t.b, 0);
    macro_rules! one {
        () => {
            let y: [S; V] = from_fn(|v| S::load(b.add(v * S::LANES)));
            for i in 0..M {
                let x = S::splat(*a[i].wrapping_add(at));
                for v in 0..V {
                    sum[i][v] = x.mul_add(y[v], sum[i][v]);
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
                (if t.add { sum[i][v].add(S::load(to)) } else { sum[i][v] }).store(to);
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
            then.apply(row + i, column, std::slice::from_raw_parts_mut(t.c.add(i * t.c_rs), t.n));
        }
    }
}

/// A strided panel: element (k, lane) at `from[k * ks + lane * ls]`, `lanes` of them there.
pub struct Panel {
    pub from: *const f32,
    pub ks: usize,
    pub ls: usize,
    pub lanes: usize,
    pub depth: usize,
    pub to: *mut f32,
}

/// `to[k * width + lane] = from[k * ks + lane * ls]`, zeros beyond `lanes`; L is the vector's number of lanes.
///
/// # Safety
/// The panel is within its matrix, and `to` holds depth × `width` floats.
#[inline(always)]
pub unsafe fn pack<S: Simd, const L: usize>(p: &Panel, width: usize) {
    for g in (0..width).step_by(L) {
        let (n, from) = (p.lanes.saturating_sub(g).min(L), p.from.wrapping_add(g * p.ls));
        if p.ls == 1 {
            for k in 0..p.depth {
                let from = from.wrapping_add(k * p.ks);
                let x = if n == L { S::load(from) } else { S::load_first(from, n) };
                x.store(p.to.add(k * width + g));
            }
        } else if p.ks == 1 {
            for k in (0..p.depth).step_by(L) {
                let d = (p.depth - k).min(L);
                let mut rows: [S; L] = from_fn(|l| {
                    let from = from.wrapping_add(l * p.ls + k);
                    if l < n && d == L { S::load(from) } else { S::load_first(from, if l < n { d } else { 0 }) }
                });
                S::transpose(&mut rows);
                for (i, x) in rows.into_iter().enumerate().take(d) {
                    x.store(p.to.add((k + i) * width + g));
                }
            }
        } else {
            for (k, l) in (0..p.depth).flat_map(|k| (0..L).map(move |l| (k, l))) {
                *p.to.add(k * width + g + l) = if l < n { *from.add(k * p.ks + l * p.ls) } else { 0.0 };
            }
        }
    }
}
