//! The loops of the FMA peak, one for each instruction: nothing but FMAs on sums in registers.
use super::CHAINS;
use crate::gemm::{configure_tiles, release_tiles};
use std::arch::asm;
use std::arch::x86_64::*;
use std::hint::black_box;
use std::mem::transmute;

/// Applies `$fma` to each of [`CHAINS`] sums, `$n` times.
///
/// The indices are constant, so that no sum goes to memory.
macro_rules! fma_chains {
    ($n:ident, $first:expr, $fma:expr) => {
        let mut sums = [$first; CHAINS];
        for _ in 0..$n {
            for sum in &mut sums {
                *sum = $fma(*sum);
            }
        }
        black_box(sums);
    };
}

/// Executes `n` `vfmadd` of 16 floats on each sum.
#[target_feature(enable = "avx512f")]
pub(super) fn f32_avx512(n: usize) {
    let x = _mm512_set1_ps(black_box(0.5));
    fma_chains!(n, x, |sum| _mm512_fmadd_ps(x, x, sum));
}

/// Executes `n` `vdpbf16ps` of 16 pairs of bf16 on each sum.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) fn bf16_avx512(n: usize) {
    let x = _mm512_set1_ps(black_box(0.5));
    // SAFETY: both types are 512 bits without invalid values.
    let pairs: __m512bh = unsafe { transmute(x) };
    fma_chains!(n, x, |sum| _mm512_dpbf16_ps(sum, pairs, pairs));
}

/// Executes `n` `tdpbf16ps` of whole tiles [`CHAINS`] times, on four sums: as many as the products'.
///
/// # Safety
/// The machine has AMX-BF16, and the process may use it.
pub(super) unsafe fn bf16_tiles(n: usize) {
    const SUMS: usize = 4;
    // SAFETY: by this function's contract.
    unsafe {
        configure_tiles();
        asm!(
            "2:",
            "tdpbf16ps tmm0, tmm4, tmm6
             tdpbf16ps tmm1, tmm4, tmm7
             tdpbf16ps tmm2, tmm5, tmm6
             tdpbf16ps tmm3, tmm5, tmm7",
            "dec {steps}",
            "jnz 2b",
            steps = inout(reg) n * CHAINS / SUMS => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            options(nostack, nomem),
        );
        release_tiles();
    }
}

/// Executes `n` `vfmadd` of 8 floats on each sum.
#[target_feature(enable = "avx2,fma")]
pub(super) fn f32_avx2(n: usize) {
    let x = _mm256_set1_ps(black_box(0.5));
    fma_chains!(n, x, |sum| _mm256_fmadd_ps(x, x, sum));
}
