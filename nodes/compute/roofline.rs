//! The roofline of this machine's CPU, measured: its FMA peak and its memory read bandwidth
//! (Williams, Waterman and Patterson 2009).
//!
//! FMA peak: each thread adds products to `CHAINS` sums that stay in registers, more than a core
//! has in flight, in the widest vectors, or the tiles, that the matrix products use; a multiply-add counts as two
//! operations. Bandwidth: each thread sums its part of `ARRAY`, which is far larger than a cache.
//! Both take the best of short trials, so that other programs on the machine hardly matter; the FMA
//! peak adds up the threads' own best.
use crate::gemm::{Precision, has_tiles};
use crate::math::sum;
use crate::parallel::{Vectors, wide};
use std::hint::black_box;
use std::time::{Duration, Instant};

#[cfg(target_arch = "x86_64")]
mod isa;

/// Independent sums of a thread: twice the FMA latency (4 cycles) times FMAs issued a cycle (2).
const CHAINS: usize = 16;
/// Time of all trials of one FMA peak.
const FMA_TIME: Duration = Duration::from_millis(60);
/// Instructions of a trial on each sum, about 1 ms: less than a scheduler's time slice.
const FMA_ITERATIONS: usize = 250_000;
/// The same of tiles, whose instruction takes 16 cycles.
const TILE_ITERATIONS: usize = 12_000;
/// Trials of the bandwidth.
const READ_TRIALS: usize = 5;
/// Bytes that a trial of the bandwidth reads.
const ARRAY: usize = 192 << 20;

/// Peak rates of all threads together.
pub struct Roofline {
    /// Operations a second in f32; `None` without AVX2.
    pub f32: Option<f64>,
    /// Operations a second on bf16 operands; `None` if the CPU cannot multiply them.
    pub bf16: Option<f64>,
    /// Bytes a second read from memory.
    pub read: f64,
}

impl Roofline {
    /// Measures this machine, in about 0.3 s.
    pub fn measure() -> Roofline {
        Roofline {
            f32: fma_loop(Precision::F32).map(fma_peak),
            bf16: fma_loop(Precision::Bf16).map(fma_peak),
            read: read_bandwidth(),
        }
    }

    /// Returns the operations a second of matrix products with operands of this precision.
    pub fn peak(&self, precision: Precision) -> Option<f64> {
        if precision == Precision::Bf16 {
            self.bf16
        } else {
            self.f32
        }
    }
}

/// A loop of FMAs in registers.
#[derive(Clone, Copy)]
struct FmaLoop {
    /// Executes `n` FMA instructions on each of [`CHAINS`] sums.
    run: unsafe fn(n: usize),
    /// Operations of one instruction.
    operations: usize,
    /// Instructions of a trial on each sum.
    iterations: usize,
}

/// Returns the widest loop of this machine for the precision, or `None` without one.
fn fma_loop(precision: Precision) -> Option<FmaLoop> {
    if precision != precision.on_cpu() {
        return None;
    }
    match (Vectors::detect(), precision) {
        #[cfg(target_arch = "x86_64")]
        (Vectors::Avx512, Precision::Bf16) if has_tiles() => Some(FmaLoop {
            run: isa::bf16_tiles,
            operations: 2 * 16 * 16 * 32,
            iterations: TILE_ITERATIONS,
        }),
        #[cfg(target_arch = "x86_64")]
        (Vectors::Avx512, Precision::Bf16) => Some(FmaLoop {
            run: isa::bf16_avx512,
            operations: 64,
            iterations: FMA_ITERATIONS,
        }),
        #[cfg(target_arch = "x86_64")]
        (Vectors::Avx512, Precision::F32) => Some(FmaLoop {
            run: isa::f32_avx512,
            operations: 32,
            iterations: FMA_ITERATIONS,
        }),
        #[cfg(target_arch = "x86_64")]
        (Vectors::Avx2, Precision::F32) => Some(FmaLoop {
            run: isa::f32_avx2,
            operations: 16,
            iterations: FMA_ITERATIONS,
        }),
        _ => None,
    }
}

/// Measures the operations a second of all threads.
fn fma_peak(fma_loop: FmaLoop) -> f64 {
    let rates = rayon::broadcast(|_| {
        let started = Instant::now();
        let mut best = 0.0f64;
        while started.elapsed() < FMA_TIME {
            let trial_started = Instant::now();
            // SAFETY: `fma_loop` returns loops of instructions that this machine has.
            unsafe { (fma_loop.run)(fma_loop.iterations) };
            let operations = (fma_loop.iterations * CHAINS * fma_loop.operations) as f64;
            best = best.max(operations / trial_started.elapsed().as_secs_f64());
        }
        best
    });
    rates.into_iter().sum()
}

/// Measures the bytes a second that all threads read from memory.
fn read_bandwidth() -> f64 {
    let array = vec![1.0f32; ARRAY / size_of::<f32>()];
    let mut best = 0.0f64;
    for _ in 0..READ_TRIALS {
        let started = Instant::now();
        rayon::broadcast(|thread| {
            let len = array.len() / thread.num_threads();
            let part = &array[thread.index() * len..][..len];
            black_box(wide!(sum(part.len(), |i| part[i])));
        });
        best = best.max(ARRAY as f64 / started.elapsed().as_secs_f64());
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_with_vectors_has_a_peak() {
        let roofline = Roofline::measure();
        let has_vectors = Vectors::detect() != Vectors::Plain;
        let has_bf16 = Precision::Bf16.on_cpu() == Precision::Bf16;
        assert_eq!(roofline.f32.is_some(), has_vectors);
        assert_eq!(roofline.bf16.is_some(), has_bf16);
        assert!(roofline.read > 0.0 && roofline.f32.is_none_or(|rate| rate > 0.0));
    }
}
