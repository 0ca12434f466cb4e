//! Operands rounded to bf16, sums in f32: `vdpbf16ps` multiplies pairs, twice as many numbers an instruction as f32.
//!
//! A word is a pair: of an even depth in its low half, of the next in its high half; an odd last one has a zero.
#![allow(unsafe_op_in_unsafe_fn)] // each line is an instruction of the machine
use super::isa::{Isa, MR};
use super::kernel::{Panel, Simd, Tile, Word, pack, tile};
use std::arch::x86_64::*;
use std::mem::transmute;

pub static BF16: Isa = Isa {
    nr: 64,
    numbers: 2,
    tile: tile_pairs,
    pack: pack_pairs,
    rows: Some(rows),
};

struct Pair;

/// The places in two rows, one behind the other, of what a word holds.
const EVEN_AND_ODD: [u16; 32] = [
    0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28,
    13, 29, 14, 30, 15, 31,
];

impl Word<__m512> for Pair {
    const NUMBERS: usize = 2;
    #[inline(always)]
    unsafe fn along(from: *const f32, n: usize) -> __m512 {
        let (low, high) = (
            first(from, n),
            first(from.wrapping_add(16), n.saturating_sub(16)),
        );
        transmute(_mm512_cvtne2ps_pbh(high, low))
    }
    #[inline(always)]
    unsafe fn across(from: *const f32, ks: usize, n: usize, depth: usize) -> __m512 {
        let (even, odd) = (
            first(from, n),
            first(from.wrapping_add(ks), if depth > 1 { n } else { 0 }),
        );
        let both: __m512i = transmute(_mm512_cvtne2ps_pbh(odd, even));
        let pairs = _mm512_loadu_si512(EVEN_AND_ODD.as_ptr() as *const __m512i);
        _mm512_castsi512_ps(_mm512_permutexvar_epi16(pairs, both))
    }
    #[inline(always)]
    unsafe fn mul_add(x: __m512, y: __m512, sum: __m512) -> __m512 {
        _mm512_dpbf16_ps(
            sum,
            transmute::<__m512, __m512bh>(x),
            transmute::<__m512, __m512bh>(y),
        )
    }
}

#[inline(always)]
unsafe fn first(from: *const f32, n: usize) -> __m512 {
    <f32 as Word<__m512>>::along(from, n)
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma,avx2")]
unsafe fn tile_pairs(t: &Tile) {
    match t.n.div_ceil(16) {
        1 => tile::<__m512, Pair, MR, 1>(t, 64),
        2 => tile::<__m512, Pair, MR, 2>(t, 64),
        3 => tile::<__m512, Pair, MR, 3>(t, 64),
        _ => tile::<__m512, Pair, MR, 4>(t, 64),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma,avx2")]
unsafe fn pack_pairs(p: &Panel) {
    pack::<__m512, Pair, 16>(p)
}

/// Row i to `to[i * width ..]`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma,avx2")]
unsafe fn rows(p: &Panel) {
    for (i, k) in (0..p.lanes).flat_map(|i| (0..p.depth).step_by(32).map(move |k| (i, k))) {
        Pair::along(p.from.wrapping_add(i * p.ls + k), p.depth - k)
            .store(p.to.add(i * p.width + k / 2));
    }
}
