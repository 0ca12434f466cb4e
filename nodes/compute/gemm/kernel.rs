//! The micro-kernel, written once for all vectors.
//!
//! It adds k rank-1 updates to a tile of c, (m, n) with m and n at most MR and NR, whose sums stay in
//! registers.
#![allow(unsafe_op_in_unsafe_fn)] // nearly every line is a load, a store or an intrinsic
#![allow(clippy::needless_range_loop)] // constant indices keep the sums in registers
use super::Epilogue;
use super::buffers::LINE_WORDS;
use super::packing::Panel;
use super::simd::{Simd, Word};
use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
use std::array::from_fn;

/// The functions and sizes that the loops around the micro-kernel need, for one instruction set.
pub(super) struct Kernel {
    /// Rows of a tile.
    pub mr: usize,
    /// Columns of a panel of b, and of a tile.
    pub nr: usize,
    /// Numbers of consecutive depth in a word.
    pub k_per_word: usize,
    /// Words of depth that the micro-kernel takes at a time: blocks have a multiple of them.
    pub words_per_step: usize,
    /// Most words of depth in a block, a multiple of `words_per_step`.
    pub max_kc: usize,
    /// Called on a thread before tiles are computed there, and after.
    pub configure: Option<unsafe fn()>,
    pub release: Option<unsafe fn()>,
    pub micro_kernel: unsafe fn(&Tile),
    pub pack_panel: unsafe fn(&Panel),
    pub row_form: RowForm,
    /// Whether tiles prefetch the panel after their own.
    pub prefetches: bool,
}

/// The form in which the micro-kernel reads rows of a.
pub(super) enum RowForm {
    /// In place if a is row-major, else column-major.
    InPlace,
    /// Tiles of `mr` rows, whose words of one depth are side by side; in place if a is row-major
    /// and few panels read them.
    Tiles,
    /// Row-major words, packed by this function, if a is row-major, else column-major.
    Words(unsafe fn(&Panel)),
    /// As this function packs them, whatever a is: `mr` rows after the other, each `k` words long.
    Own(unsafe fn(&Panel)),
}

/// Rows of a tile whose sums are in vectors.
pub(super) const MR: usize = 6;

/// The widest panel of any kernel.
const MAX_NR: usize = 64;

/// One call of the micro-kernel: c (m, n) from rows of a (m, k) and a panel of b (k, NR).
pub(super) struct Tile<'a> {
    /// Words of depth.
    pub k: usize,
    /// Word (row, depth) of a is `a[row * a_rs + depth * a_cs]`.
    pub a: *const f32,
    pub a_rs: usize,
    pub a_cs: usize,
    /// The packed panel.
    pub b: *const f32,
    /// The part of the next panel that this tile prefetches, and its cache lines.
    pub ahead: *const f32,
    pub lines_ahead: usize,
    /// Row-major, with leading dimension `c_rs`.
    pub c: *mut f32,
    pub c_rs: usize,
    /// From 1 to MR.
    pub m: usize,
    /// From 1 to NR.
    pub n: usize,
    /// Adds to c (beta = 1) instead of setting it.
    pub accumulate: bool,
    /// In the last block of depth: the epilogue, and the tile's first row and column in c.
    pub epilogue: Option<(&'a Epilogue<'a>, usize, usize)>,
}

/// Computes a tile with M × (V vectors) sums in registers.
///
/// Each depth costs V loads of b, M broadcasts of a and M · V multiply-adds. A_CS is `a_cs`, or 0
/// where it is known at run time alone: then addresses of a live in memory, and loading them costs
/// as much as loading a.
///
/// # Safety
/// The tile is within a, the panel and c; no other thread uses this part of c.
#[inline(always)]
pub(super) unsafe fn micro_kernel<
    S: Simd,
    W: Word<S>,
    const M: usize,
    const V: usize,
    const A_CS: usize,
>(
    t: &Tile,
    nr: usize,
) {
    debug_assert!(A_CS == 0 || A_CS == t.a_cs);
    let a_cs = if A_CS == 0 { t.a_cs } else { A_CS };
    let mut sums = [[S::splat(0.0); V]; M];
    // Rows past the edge repeat the last one; their sums are not stored.
    let a: [*const f32; M] = from_fn(|i| t.a.wrapping_add(i.min(t.m - 1) * t.a_rs));
    for i in 0..t.m.min(M) * V {
        _mm_prefetch::<_MM_HINT_T0>(
            t.c.wrapping_add(i / V * t.c_rs + i % V * S::LANES) as *const i8
        );
    }
    let mut b = t.b;
    let mut a_offset = 0;
    let mut ahead = t.ahead;
    let ahead_end = t.ahead.wrapping_add(t.lines_ahead * LINE_WORDS);
    macro_rules! rank_1_update {
        () => {
            let y: [S; V] = from_fn(|v| S::load(b.add(v * S::LANES)));
            for i in 0..M {
                let x = S::splat(*a[i].wrapping_add(a_offset));
                for v in 0..V {
                    sums[i][v] = W::mul_add(x, y[v], sums[i][v]);
                }
            }
            b = b.wrapping_add(nr);
            a_offset += a_cs;
        };
    }
    for _ in 0..t.k / 4 {
        if ahead != ahead_end {
            _mm_prefetch::<_MM_HINT_T1>(ahead as *const i8);
            ahead = ahead.wrapping_add(LINE_WORDS);
        }
        rank_1_update!();
        rank_1_update!();
        rank_1_update!();
        rank_1_update!();
    }
    for _ in 0..t.k % 4 {
        rank_1_update!();
    }
    // Constant indices only: with one that is known at run time all sums live in memory, at less
    // than half the speed.
    if t.m >= M && t.n == V * S::LANES {
        for i in 0..M {
            for v in 0..V {
                let c = t.c.wrapping_add(i * t.c_rs + v * S::LANES);
                let sum = if t.accumulate {
                    sums[i][v].add(S::load(c))
                } else {
                    sums[i][v]
                };
                sum.store(c);
            }
        }
    } else {
        let mut edge = [[0.0f32; MAX_NR]; M];
        for i in 0..M {
            for v in 0..V {
                sums[i][v].store(edge[i].as_mut_ptr().add(v * S::LANES));
            }
        }
        for (i, edge) in edge.iter().enumerate().take(t.m) {
            let c = std::slice::from_raw_parts_mut(t.c.add(i * t.c_rs), t.n);
            if t.accumulate {
                c.iter_mut().zip(edge).for_each(|(c, x)| *c += x);
            } else {
                c.copy_from_slice(&edge[..t.n]);
            }
        }
    }
    if let Some((epilogue, row, column)) = t.epilogue {
        for i in 0..t.m.min(M) {
            let c = std::slice::from_raw_parts_mut(t.c.add(i * t.c_rs), t.n);
            epilogue.apply(row + i, column, c);
        }
    }
}
