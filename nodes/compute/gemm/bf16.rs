//! The kernel for operands rounded to bf16, with sums in f32, where the CPU has no AMX (gemm/amx.rs).
//!
//! `vdpbf16ps` multiplies pairs, so it has twice the numbers of an f32 FMA. A word is a pair: an
//! even depth in its low half, the next depth in its high half, which is zero past the last depth.
#![allow(unsafe_op_in_unsafe_fn)] // each line is an intrinsic
use super::kernel::{Kernel, MR, RowForm, Tile, micro_kernel};
use super::packing::{Panel, pack_panel};
use super::simd::{Simd, Word};
use std::arch::x86_64::*;
use std::mem::transmute;

/// The kernel for AVX512-BF16.
pub(super) static BF16: Kernel = Kernel {
    mr: MR,
    nr: 64,
    k_per_word: 2,
    words_per_step: 1,
    max_kc: 384,
    configure: None,
    release: None,
    micro_kernel: micro_kernel_bf16,
    pack_panel: pack_panel_bf16,
    row_form: RowForm::Words(pack_rows_bf16),
    prefetches: false,
};

/// A word of two bf16.
struct Pair;

/// Interleaves two rows of 16 bf16, one behind the other, into 16 pairs.
const INTERLEAVE: [u16; 32] = [
    0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28,
    13, 29, 14, 30, 15, 31,
];

impl Word<__m512> for Pair {
    const K_PER_WORD: usize = 2;
    #[inline(always)]
    unsafe fn load_along_k(source: *const f32, n: usize) -> __m512 {
        let low = load_f32(source, n);
        let high = load_f32(source.wrapping_add(16), n.saturating_sub(16));
        transmute(_mm512_cvtne2ps_pbh(high, low))
    }
    #[inline(always)]
    unsafe fn load_across_k(source: *const f32, k_stride: usize, n: usize, depth: usize) -> __m512 {
        let even = load_f32(source, n);
        let odd = load_f32(source.wrapping_add(k_stride), if depth > 1 { n } else { 0 });
        let both: __m512i = transmute(_mm512_cvtne2ps_pbh(odd, even));
        let order = _mm512_loadu_si512(INTERLEAVE.as_ptr() as *const __m512i);
        _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, both))
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

/// Loads the first `n` of 16 numbers, zeros past them.
#[inline(always)]
unsafe fn load_f32(source: *const f32, n: usize) -> __m512 {
    <f32 as Word<__m512>>::load_along_k(source, n)
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma,avx2")]
unsafe fn micro_kernel_bf16(t: &Tile) {
    match t.a_cs {
        1 => micro_kernel_of_width::<1>(t),
        _ => micro_kernel_of_width::<0>(t),
    }
}

#[inline(always)]
unsafe fn micro_kernel_of_width<const A_CS: usize>(t: &Tile) {
    match t.n.div_ceil(16) {
        1 => micro_kernel::<__m512, Pair, MR, 1, A_CS>(t, 64),
        2 => micro_kernel::<__m512, Pair, MR, 2, A_CS>(t, 64),
        3 => micro_kernel::<__m512, Pair, MR, 3, A_CS>(t, 64),
        _ => micro_kernel::<__m512, Pair, MR, 4, A_CS>(t, 64),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma,avx2")]
pub(super) unsafe fn pack_panel_bf16(p: &Panel) {
    pack_panel::<__m512, Pair, 16>(p)
}

/// Packs rows that are contiguous in depth: row i goes to `packed[i * packed_ld ..]`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma,avx2")]
pub(super) unsafe fn pack_rows_bf16(p: &Panel) {
    for row in 0..p.lanes {
        for k in (0..p.depth).step_by(32) {
            let source = p.source.wrapping_add(row * p.lane_stride + k);
            let packed = p.packed.add(row * p.packed_ld + k / 2);
            Pair::load_along_k(source, p.depth - k).store(packed);
        }
    }
}
