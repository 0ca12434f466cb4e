//! What this machine does at its best, measured: the least time that products can take, and that memory can be read in.
//!
//! Multiply-adds: every thread turns `CHAINS` sums that stay in registers, more than a core has in flight, in the
//! widest vectors that the products use; 2 operations a number. Reading: every thread sums its part of `ARRAY`, far
//! larger than a cache. The best of many short trials, the threads' rates added: what else runs here counts for little.
use crate::gemm::Precision;
use crate::math::sum;
use crate::parallel::{Vectors, wide};
use std::hint::black_box;
use std::time::{Duration, Instant};

#[cfg(target_arch = "x86_64")]
mod isa;

/// Sums of a thread: latency (4) times multiply-adds begun a cycle (2) are 8; twice that.
const CHAINS: usize = 16;
/// Of all trials of a peak.
const SPAN: Duration = Duration::from_millis(60);
/// Turns of one, about 1 ms: shorter than what a scheduler gives to another program.
const TURNS: usize = 250_000;
const READS: usize = 5;
/// Bytes.
const ARRAY: usize = 192 << 20;

pub struct Floor {
    /// Operations a second; None: without vectors, or without bf16.
    pub f32: Option<f64>,
    pub bf16: Option<f64>,
    /// Bytes a second, from memory.
    pub read: f64,
}

impl Floor {
    /// Takes about 0.3 s.
    pub fn measure() -> Floor {
        let peak = |precision| turns(precision).map(operations);
        Floor {
            f32: peak(Precision::F32),
            bf16: peak(Precision::Bf16),
            read: reading(),
        }
    }

    /// Operations a second of products whose operands are rounded so.
    pub fn peak(&self, precision: Precision) -> Option<f64> {
        if precision == Precision::Bf16 {
            self.bf16
        } else {
            self.f32
        }
    }
}

/// `turn(n)` adds n products to each of [`CHAINS`] sums.
#[derive(Clone, Copy)]
struct Loop {
    turn: unsafe fn(usize),
    /// Operations of one product.
    each: usize,
}

fn turns(precision: Precision) -> Option<Loop> {
    if precision != precision.on_cpu() {
        return None;
    }
    match (Vectors::here(), precision) {
        #[cfg(target_arch = "x86_64")]
        (Vectors::Avx512, Precision::Bf16) => Some(Loop {
            turn: isa::pairs512,
            each: 64,
        }),
        #[cfg(target_arch = "x86_64")]
        (Vectors::Avx512, Precision::F32) => Some(Loop {
            turn: isa::floats512,
            each: 32,
        }),
        #[cfg(target_arch = "x86_64")]
        (Vectors::Avx2, Precision::F32) => Some(Loop {
            turn: isa::floats256,
            each: 16,
        }),
        _ => None,
    }
}

/// Operations a second of all threads.
fn operations(Loop { turn, each }: Loop) -> f64 {
    let trial = |_| {
        let begun = Instant::now();
        // SAFETY: `turns` has found the instructions.
        unsafe { turn(TURNS) };
        (TURNS * CHAINS * each) as f64 / begun.elapsed().as_secs_f64()
    };
    let begun = Instant::now();
    let best = || {
        (0..)
            .take_while(|_| begun.elapsed() < SPAN)
            .map(trial)
            .fold(0.0, f64::max)
    };
    rayon::broadcast(|_| best()).into_iter().sum()
}

fn reading() -> f64 {
    let array = vec![1.0f32; ARRAY / size_of::<f32>()];
    let trial = |_| {
        let begun = Instant::now();
        rayon::broadcast(|thread| {
            let part = array.len() / thread.num_threads();
            let part = &array[thread.index() * part..][..part];
            black_box(wide!(sum(part.len(), |i| part[i])));
        });
        ARRAY as f64 / begun.elapsed().as_secs_f64()
    };
    (0..READS).map(trial).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_with_vectors_has_a_peak() {
        let floor = Floor::measure();
        assert_eq!(floor.f32.is_some(), Vectors::here() != Vectors::Plain);
        assert_eq!(
            floor.bf16.is_some(),
            Precision::Bf16.on_cpu() == Precision::Bf16
        );
        assert!(floor.read > 0.0 && floor.f32.is_none_or(|rate| rate > 0.0));
    }
}
