//! The loops of the peak, one a vector: nothing but multiply-adds on sums in registers.
use super::CHAINS;
use std::arch::x86_64::*;
use std::hint::black_box;
use std::mem::transmute;

/// `n` times `$next` on each of [`CHAINS`] sums: the indices are constant, so that no sum goes to memory.
macro_rules! chains {
    ($n:ident, $zero:expr, $next:expr) => {
        let mut sums = [$zero; CHAINS];
        for _ in 0..$n {
            for sum in &mut sums {
                *sum = $next(*sum);
            }
        }
        black_box(sums);
    };
}

#[target_feature(enable = "avx512f")]
pub fn floats512(n: usize) {
    let x = _mm512_set1_ps(black_box(0.5));
    chains!(n, x, |sum| _mm512_fmadd_ps(x, x, sum));
}

#[target_feature(enable = "avx512f,avx512bf16")]
pub fn pairs512(n: usize) {
    let x = _mm512_set1_ps(black_box(0.5));
    // SAFETY: 512 bits are 512 bits.
    let pairs: __m512bh = unsafe { transmute(x) };
    chains!(n, x, |sum| _mm512_dpbf16_ps(sum, pairs, pairs));
}

#[target_feature(enable = "avx2,fma")]
pub fn floats256(n: usize) {
    let x = _mm256_set1_ps(black_box(0.5));
    chains!(n, x, |sum| _mm256_fmadd_ps(x, x, sum));
}
