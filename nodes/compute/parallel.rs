//! Loops over all cores whose results do not depend on how many there are, and code compiled for the widest vectors
//! the machine has.
use rayon::prelude::*;
use std::marker::PhantomData;

/// Runs a copy of this code that is compiled for [`Vectors::here`].
///
/// rustc builds for the oldest machine of its target; code inlined into a function with `target_feature` is compiled
/// with that function's features, so plain loops become wide without an intrinsic. A macro, so that each copy is a
/// closure of its own, called once: only such a one is inlined at any size. The numbers are the same at any width: the
/// compiler neither reorders sums nor fuses a product with a sum.
#[macro_export]
macro_rules! wide {
    ($code:expr) => {
        match $crate::parallel::Vectors::here() {
            $crate::parallel::Vectors::Plain => $code,
            // SAFETY, here and below: the features are those that were found.
            #[cfg(target_arch = "x86_64")]
            $crate::parallel::Vectors::Avx2 => {
                let code = || $code;
                unsafe { $crate::parallel::avx2(code) }
            }
            #[cfg(target_arch = "x86_64")]
            $crate::parallel::Vectors::Avx512 => {
                let code = || $code;
                unsafe { $crate::parallel::avx512(code) }
            }
        }
    };
}
pub use crate::wide;

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma,avx2")]
pub fn avx512<R>(f: impl FnOnce() -> R) -> R {
    f()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "fma,avx2")]
pub fn avx2<R>(f: impl FnOnce() -> R) -> R {
    f()
}

/// Frames whose sums one task takes together, where a sum over frames is split: fixed, so that no thread count changes a
/// bit.
pub const FRAMES: usize = 64;

/// Numbers that make a part worth a task.
const CHUNK: usize = 1 << 14;

pub fn threads() -> usize {
    rayon::current_num_threads()
}

/// Threads on which loops of the calling thread run as long as this is kept, itself the first of them: so it neither
/// hands a loop to others nor sleeps until they are done. None where the system has no more threads; it is then alone.
pub fn own() -> Option<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads())
        .use_current_thread()
        .build()
        .ok()
}

/// `f(0) .. f(n - 1)`, over all threads.
pub fn each(n: usize, f: impl Fn(usize) + Sync + Send) {
    (0..n).into_par_iter().with_min_len(grain(n)).for_each(f);
}

/// `[f(0), .., f(n - 1)]`, over all threads.
pub fn map<R: Send>(n: usize, f: impl Fn(usize) -> R + Sync + Send) -> Vec<R> {
    (0..n).into_par_iter().map(f).collect()
}

/// `n` numbers, those of the i-th part of `size` from `f(i)`, over all threads, into memory that nobody clears first.
pub fn made<I: ExactSizeIterator<Item = f32>>(
    n: usize,
    size: usize,
    f: impl Fn(usize) -> I + Sync + Send,
) -> Vec<f32> {
    let mut made: Vec<f32> = Vec::with_capacity(n);
    let tasks = n.div_ceil(size.max(1));
    let room = made.spare_capacity_mut()[..n]
        .par_chunks_mut(size.max(1))
        .with_min_len(grain(tasks));
    room.enumerate().for_each(|(i, part)| {
        wide!({
            let numbers = f(i);
            assert!(numbers.len() >= part.len(), "a number for each place");
            part.iter_mut()
                .zip(numbers)
                .for_each(|(to, x)| _ = to.write(x));
        })
    });
    // SAFETY: each part has been written, as just asserted.
    unsafe { made.set_len(n) };
    made
}

/// `f` of each number, over all threads.
pub fn mapped(from: &[f32], f: impl Fn(f32) -> f32 + Sync + Send) -> Vec<f32> {
    made(from.len(), CHUNK, |c| {
        from[c * CHUNK..].iter().map(|x| f(*x))
    })
}

/// A copy, by all threads.
pub fn copied(from: &[f32]) -> Vec<f32> {
    mapped(from, |x| x)
}

/// `f(i, part)` on every `size` numbers of `to` (the last part may be shorter), over all threads.
pub fn parts(to: &mut [f32], size: usize, f: impl Fn(usize, &mut [f32]) + Sync + Send) {
    let n = to.len().div_ceil(size.max(1));
    to.par_chunks_mut(size.max(1))
        .with_min_len(grain(n))
        .enumerate()
        .for_each(|(i, part)| f(i, part));
}

/// As [`parts`], with parts of these sizes.
pub fn uneven(
    mut to: &mut [f32],
    sizes: impl Iterator<Item = usize>,
    f: impl Fn(usize, &mut [f32]) + Sync + Send,
) {
    let parts: Vec<&mut [f32]> = sizes
        .map(|n| to.split_off_mut(..n).expect("numbers for each part"))
        .collect();
    parts
        .into_par_iter()
        .enumerate()
        .for_each(|(i, part)| f(i, part));
}

/// As [`parts`], on two slices side by side, each with its size of a part.
pub fn parts2(
    (a, size_a): (&mut [f32], usize),
    (b, size_b): (&mut [f32], usize),
    f: impl Fn(usize, &mut [f32], &mut [f32]) + Sync + Send,
) {
    let n = a.len().div_ceil(size_a.max(1));
    let both = a
        .par_chunks_mut(size_a.max(1))
        .zip(b.par_chunks_mut(size_b.max(1)));
    both.with_min_len(grain(n))
        .enumerate()
        .for_each(|(i, (a, b))| f(i, a, b));
}

/// `f(&mut to[i], from[i])`, over all threads.
pub fn zip(to: &mut [f32], from: &[f32], f: impl Fn(&mut f32, f32) + Sync + Send) {
    parts(to, CHUNK, |c, part| {
        wide!(
            part.iter_mut()
                .zip(&from[c * CHUNK..])
                .for_each(|(to, from)| f(to, *from))
        )
    });
}

/// to += from, number by number.
pub fn add(to: &mut [f32], from: &[f32]) {
    zip(to, from, |to, from| *to += from);
}

/// Σ over the rows of `x` (rows, width), in their order.
pub fn column_sums(x: &[f32], width: usize) -> Vec<f32> {
    const COLUMNS: usize = 64;
    let mut sums = vec![0.0; width];
    parts(&mut sums, COLUMNS, |c, sums| {
        wide!(for row in x.chunks_exact(width) {
            sums.iter_mut()
                .zip(&row[c * COLUMNS..])
                .for_each(|(a, b)| *a += b);
        });
    });
    sums
}

/// How many of `n` tasks go together, so that a thread meets at most 64 of them.
fn grain(n: usize) -> usize {
    n.div_ceil(64 * threads()).max(1)
}

/// Vector instructions that code is compiled for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Vectors {
    Plain,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Vectors {
    /// The widest that this machine has.
    pub fn here() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx2") && has!("fma") {
                let wide =
                    has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
                return if wide { Vectors::Avx512 } else { Vectors::Avx2 };
            }
        }
        Vectors::Plain
    }

    pub fn name(self) -> &'static str {
        match self {
            Vectors::Plain => "portable code",
            #[cfg(target_arch = "x86_64")]
            Vectors::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Vectors::Avx512 => "AVX-512",
        }
    }

    /// All that this machine has.
    #[cfg(test)]
    pub fn all() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        const ALL: [Vectors; 3] = [Vectors::Plain, Vectors::Avx2, Vectors::Avx512];
        #[cfg(not(target_arch = "x86_64"))]
        const ALL: [Vectors; 1] = [Vectors::Plain];
        ALL.into_iter().filter(|v| *v <= Vectors::here())
    }
}

/// A slice of which tasks write disjoint numbers.
#[derive(Clone, Copy)]
pub struct Shared<'a> {
    first: *mut f32,
    len: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: whoever writes through it promises disjoint parts.
unsafe impl Send for Shared<'_> {}
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub fn new(slice: &'a mut [f32]) -> Self {
        Shared {
            first: slice.as_mut_ptr(),
            len: slice.len(),
            slice: PhantomData,
        }
    }
    /// The room that a Vec has beyond its numbers.
    pub fn spare(of: &'a mut Vec<f32>) -> Self {
        let room = of.spare_capacity_mut();
        Shared {
            first: room.as_mut_ptr().cast(),
            len: room.len(),
            slice: PhantomData,
        }
    }
    pub fn holds(self, len: usize) -> bool {
        len <= self.len
    }
    pub fn pointer(self) -> *mut f32 {
        self.first
    }
    /// From number `from` on.
    pub fn tail(self, from: usize) -> Self {
        assert!(from <= self.len, "behind the end");
        Shared {
            first: self.first.wrapping_add(from),
            len: self.len - from,
            ..self
        }
    }
    /// # Safety
    /// No two live parts overlap, and `from + len` is within the slice.
    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    pub unsafe fn part(self, from: usize, len: usize) -> &'a mut [f32] {
        debug_assert!(from + len <= self.len);
        // SAFETY: by this function's contract.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(from), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_meet_every_number_once() {
        for n in [0, 1, 63, 64, 65, 40_000] {
            let (mut x, y) = (vec![1.0; n], (0..n).map(|i| i as f32).collect::<Vec<_>>());
            add(&mut x, &y);
            assert!(x.iter().enumerate().all(|(i, x)| *x == 1.0 + i as f32));
            assert_eq!(map(n, |i| i), (0..n).collect::<Vec<_>>());
        }
        assert_eq!(column_sums(&[1.0, 2.0, 3.0, 4.0], 2), [4.0, 6.0]);
        assert_eq!(column_sums(&[], 2), [0.0, 0.0]);
    }
}
