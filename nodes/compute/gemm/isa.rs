//! The kernel for each instruction set: tiles of 6 × 64 in AVX-512, 6 × 16 in AVX2.
#![allow(unsafe_op_in_unsafe_fn)] // each line is an instruction of the machine
use super::kernel::{Panel, Simd, Tile, pack, tile};
use std::arch::x86_64::*;

/// What the loops around the kernel need of a machine.
pub struct Isa {
    /// Width of a panel of b.
    pub nr: usize,
    /// Of the depth, in a word.
    pub numbers: usize,
    pub tile: unsafe fn(&Tile),
    pub pack: unsafe fn(&Panel),
    /// Rows of a, one behind the other, into words; None: they are read where they lie.
    pub rows: Option<unsafe fn(&Panel)>,
}

/// Rows of a tile.
pub const MR: usize = 6;
pub static AVX512: Isa = Isa {
    nr: 64,
    numbers: 1,
    tile: tile512,
    pack: pack512,
    rows: None,
};
pub static AVX2: Isa = Isa {
    nr: 16,
    numbers: 1,
    tile: tile256,
    pack: pack256,
    rows: None,
};

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma,avx2")]
unsafe fn tile512(t: &Tile) {
    match t.n.div_ceil(16) {
        1 => tile::<__m512, f32, MR, 1>(t, 64),
        2 => tile::<__m512, f32, MR, 2>(t, 64),
        3 => tile::<__m512, f32, MR, 3>(t, 64),
        _ if t.rows <= 2 => tile::<__m512, f32, 2, 4>(t, 64),
        _ if t.rows <= 4 => tile::<__m512, f32, 4, 4>(t, 64),
        _ => tile::<__m512, f32, MR, 4>(t, 64),
    }
}

#[target_feature(enable = "fma,avx2")]
unsafe fn tile256(t: &Tile) {
    tile::<__m256, f32, MR, 2>(t, 16)
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma,avx2")]
unsafe fn pack512(p: &Panel) {
    pack::<__m512, f32, 16>(p)
}

#[target_feature(enable = "fma,avx2")]
unsafe fn pack256(p: &Panel) {
    pack::<__m256, f32, 8>(p)
}

impl Simd for __m512 {
    const LANES: usize = 16;
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        _mm512_set1_ps(x)
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        _mm512_loadu_ps(from)
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        _mm512_storeu_ps(to, self)
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, n: usize) -> Self {
        _mm512_maskz_loadu_ps((1u32 << n).wrapping_sub(1) as u16, from)
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
        let mut b = [_mm512_setzero_ps(); 16];
        for i in 0..4 {
            let [w, x, y, z] = [r[4 * i], r[4 * i + 1], r[4 * i + 2], r[4 * i + 3]];
            let low = (_mm512_unpacklo_ps(w, x), _mm512_unpacklo_ps(y, z));
            let high = (_mm512_unpackhi_ps(w, x), _mm512_unpackhi_ps(y, z));
            for (h, (p, q)) in [low, high].into_iter().enumerate() {
                let (p, q) = (_mm512_castps_pd(p), _mm512_castps_pd(q));
                b[4 * i + 2 * h] = _mm512_castpd_ps(_mm512_unpacklo_pd(p, q));
                b[4 * i + 2 * h + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(p, q));
            }
        }
        const EVEN: i32 = 0x88; // quarters 0 and 2 of both
        const ODD: i32 = 0xdd;
        for j in 0..4 {
            let (p, q) = (
                _mm512_shuffle_f32x4::<EVEN>(b[j], b[4 + j]),
                _mm512_shuffle_f32x4::<ODD>(b[j], b[4 + j]),
            );
            let (x, y) = (b[8 + j], b[12 + j]);
            let (s, t) = (
                _mm512_shuffle_f32x4::<EVEN>(x, y),
                _mm512_shuffle_f32x4::<ODD>(x, y),
            );
            r[j] = _mm512_shuffle_f32x4::<EVEN>(p, s);
            r[8 + j] = _mm512_shuffle_f32x4::<ODD>(p, s);
            r[4 + j] = _mm512_shuffle_f32x4::<EVEN>(q, t);
            r[12 + j] = _mm512_shuffle_f32x4::<ODD>(q, t);
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
    unsafe fn load(from: *const f32) -> Self {
        _mm256_loadu_ps(from)
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        _mm256_storeu_ps(to, self)
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, n: usize) -> Self {
        let mask = _mm256_cmpgt_epi32(
            _mm256_set1_epi32(n as i32),
            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
        );
        _mm256_maskload_ps(from, mask)
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
        let mut b = [_mm256_setzero_ps(); 8];
        for i in 0..2 {
            let [w, x, y, z] = [r[4 * i], r[4 * i + 1], r[4 * i + 2], r[4 * i + 3]];
            let low = (_mm256_unpacklo_ps(w, x), _mm256_unpacklo_ps(y, z));
            let high = (_mm256_unpackhi_ps(w, x), _mm256_unpackhi_ps(y, z));
            for (h, (p, q)) in [low, high].into_iter().enumerate() {
                b[4 * i + 2 * h] = _mm256_shuffle_ps::<0x44>(p, q);
                b[4 * i + 2 * h + 1] = _mm256_shuffle_ps::<0xee>(p, q);
            }
        }
        for j in 0..4 {
            r[j] = _mm256_permute2f128_ps::<0x20>(b[j], b[4 + j]);
            r[4 + j] = _mm256_permute2f128_ps::<0x31>(b[j], b[4 + j]);
        }
    }
}
