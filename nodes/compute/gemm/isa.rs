//! The f32 kernels: tiles of 6 × 64 in AVX-512 and of 6 × 16 in AVX2.
#![allow(unsafe_op_in_unsafe_fn)] // each line is an intrinsic
use super::kernel::{Kernel, MR, RowForm, Tile, micro_kernel};
use super::packing::{Panel, pack_panel};
use super::simd::Simd;
use std::arch::x86_64::*;

/// The kernel for AVX-512.
pub(super) static AVX512: Kernel = Kernel {
    mr: MR,
    nr: 64,
    k_per_word: 1,
    words_per_step: 1,
    max_kc: 384, // a panel of 96 KiB
    configure: None,
    release: None,
    micro_kernel: micro_kernel_avx512,
    pack_panel: pack_panel_avx512,
    row_form: RowForm::InPlace,
    prefetches: true,
};

/// The kernel for AVX2 and FMA.
pub(super) static AVX2: Kernel = Kernel {
    mr: MR,
    nr: 16,
    k_per_word: 1,
    words_per_step: 1,
    max_kc: 256, // a panel of 16 KiB: it and two tiles of a fit in L1
    configure: None,
    release: None,
    micro_kernel: micro_kernel_avx2,
    pack_panel: pack_panel_avx2,
    row_form: RowForm::Tiles,
    prefetches: true,
};

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma,avx2")]
unsafe fn micro_kernel_avx512(t: &Tile) {
    match t.a_cs {
        1 => micro_kernel_of_width::<1>(t),
        _ => micro_kernel_of_width::<0>(t),
    }
}

#[inline(always)]
unsafe fn micro_kernel_of_width<const A_CS: usize>(t: &Tile) {
    match t.n.div_ceil(16) {
        1 => micro_kernel::<__m512, f32, MR, 1, A_CS>(t, 64),
        2 => micro_kernel::<__m512, f32, MR, 2, A_CS>(t, 64),
        3 => micro_kernel::<__m512, f32, MR, 3, A_CS>(t, 64),
        _ if t.m <= 2 => micro_kernel::<__m512, f32, 2, 4, A_CS>(t, 64),
        _ if t.m <= 4 => micro_kernel::<__m512, f32, 4, 4, A_CS>(t, 64),
        _ => micro_kernel::<__m512, f32, MR, 4, A_CS>(t, 64),
    }
}

#[target_feature(enable = "fma,avx2")]
unsafe fn micro_kernel_avx2(t: &Tile) {
    match t.a_cs {
        1 => micro_kernel::<__m256, f32, MR, 2, 1>(t, 16),
        MR => micro_kernel::<__m256, f32, MR, 2, MR>(t, 16),
        _ => micro_kernel::<__m256, f32, MR, 2, 0>(t, 16),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma,avx2")]
unsafe fn pack_panel_avx512(p: &Panel) {
    pack_panel::<__m512, f32, 16>(p)
}

#[target_feature(enable = "fma,avx2")]
unsafe fn pack_panel_avx2(p: &Panel) {
    pack_panel::<__m256, f32, 8>(p)
}

impl Simd for __m512 {
    const LANES: usize = 16;
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        _mm512_set1_ps(x)
    }
    #[inline(always)]
    unsafe fn load(source: *const f32) -> Self {
        _mm512_loadu_ps(source)
    }
    #[inline(always)]
    unsafe fn store(self, target: *mut f32) {
        _mm512_storeu_ps(target, self)
    }
    #[inline(always)]
    unsafe fn load_first(source: *const f32, n: usize) -> Self {
        _mm512_maskz_loadu_ps((1u32 << n).wrapping_sub(1) as u16, source)
    }
    #[inline(always)]
    unsafe fn add(self, y: Self) -> Self {
        _mm512_add_ps(self, y)
    }
    #[inline(always)]
    unsafe fn mul_add(self, x: Self, y: Self) -> Self {
        _mm512_fmadd_ps(self, x, y)
    }
    #[inline(always)]
    unsafe fn transpose(r: &mut [Self]) {
        // Transposes the 4 × 4 squares of four rows at a time, then moves quarters between rows.
        let mut b = [_mm512_setzero_ps(); 16];
        for i in 0..4 {
            let low_wx = _mm512_castps_pd(_mm512_unpacklo_ps(r[4 * i], r[4 * i + 1]));
            let low_yz = _mm512_castps_pd(_mm512_unpacklo_ps(r[4 * i + 2], r[4 * i + 3]));
            let high_wx = _mm512_castps_pd(_mm512_unpackhi_ps(r[4 * i], r[4 * i + 1]));
            let high_yz = _mm512_castps_pd(_mm512_unpackhi_ps(r[4 * i + 2], r[4 * i + 3]));
            b[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(low_wx, low_yz));
            b[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low_wx, low_yz));
            b[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high_wx, high_yz));
            b[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high_wx, high_yz));
        }
        const EVEN: i32 = 0x88; // quarters 0 and 2 of both operands
        const ODD: i32 = 0xdd; // quarters 1 and 3
        for j in 0..4 {
            let even_top = _mm512_shuffle_f32x4::<EVEN>(b[j], b[4 + j]);
            let odd_top = _mm512_shuffle_f32x4::<ODD>(b[j], b[4 + j]);
            let even_bottom = _mm512_shuffle_f32x4::<EVEN>(b[8 + j], b[12 + j]);
            let odd_bottom = _mm512_shuffle_f32x4::<ODD>(b[8 + j], b[12 + j]);
            r[j] = _mm512_shuffle_f32x4::<EVEN>(even_top, even_bottom);
            r[8 + j] = _mm512_shuffle_f32x4::<ODD>(even_top, even_bottom);
            r[4 + j] = _mm512_shuffle_f32x4::<EVEN>(odd_top, odd_bottom);
            r[12 + j] = _mm512_shuffle_f32x4::<ODD>(odd_top, odd_bottom);
        }
    }
}

impl Simd for __m256 {
    const LANES: usize = 8;
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        _mm256_set1_ps(x)
    }
    #[inline(always)]
    unsafe fn load(source: *const f32) -> Self {
        _mm256_loadu_ps(source)
    }
    #[inline(always)]
    unsafe fn store(self, target: *mut f32) {
        _mm256_storeu_ps(target, self)
    }
    #[inline(always)]
    unsafe fn load_first(source: *const f32, n: usize) -> Self {
        let mask = _mm256_cmpgt_epi32(
            _mm256_set1_epi32(n as i32),
            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
        );
        _mm256_maskload_ps(source, mask)
    }
    #[inline(always)]
    unsafe fn add(self, y: Self) -> Self {
        _mm256_add_ps(self, y)
    }
    #[inline(always)]
    unsafe fn mul_add(self, x: Self, y: Self) -> Self {
        _mm256_fmadd_ps(self, x, y)
    }
    #[inline(always)]
    unsafe fn transpose(r: &mut [Self]) {
        // Transposes the 4 × 4 squares of four rows at a time, then moves halves between rows.
        let mut b = [_mm256_setzero_ps(); 8];
        for i in 0..2 {
            let low_wx = _mm256_unpacklo_ps(r[4 * i], r[4 * i + 1]);
            let low_yz = _mm256_unpacklo_ps(r[4 * i + 2], r[4 * i + 3]);
            let high_wx = _mm256_unpackhi_ps(r[4 * i], r[4 * i + 1]);
            let high_yz = _mm256_unpackhi_ps(r[4 * i + 2], r[4 * i + 3]);
            b[4 * i] = _mm256_shuffle_ps::<0x44>(low_wx, low_yz);
            b[4 * i + 1] = _mm256_shuffle_ps::<0xee>(low_wx, low_yz);
            b[4 * i + 2] = _mm256_shuffle_ps::<0x44>(high_wx, high_yz);
            b[4 * i + 3] = _mm256_shuffle_ps::<0xee>(high_wx, high_yz);
        }
        for j in 0..4 {
            r[j] = _mm256_permute2f128_ps::<0x20>(b[j], b[4 + j]);
            r[4 + j] = _mm256_permute2f128_ps::<0x31>(b[j], b[4 + j]);
        }
    }
}
