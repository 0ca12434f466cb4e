//! Loops over slices on a thread pool, with results that do not depend on the number of threads.
//!
//! All run on the current rayon pool. Chunk sizes are constants or the caller's, so each sum is
//! added in the same order on any machine. Elementwise loops run in [`wide!`].
use rayon::prelude::*;

mod shared;
mod vectors;

pub use crate::wide;
pub use shared::Shared;
pub use vectors::Vectors;
#[cfg(target_arch = "x86_64")]
pub use vectors::{avx2, avx512};

/// Frames that one task sums, where a sum over frames is split between tasks.
pub const FRAMES_PER_TASK: usize = 64;

/// Numbers that one task of an elementwise loop handles.
const CHUNK: usize = 1 << 14;

/// Returns the number of threads of the current pool.
pub fn threads() -> usize {
    rayon::current_num_threads()
}

/// Builds a private pool whose first worker is the calling thread, until the pool is dropped.
///
/// Small parallel loops of this thread then start without waking another pool. Returns `None` if
/// the system refuses more threads.
pub fn private_pool() -> Option<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads())
        .use_current_thread()
        .build()
        .ok()
}

/// Calls `f(i)` for each `i` in `0..n`, in parallel.
pub fn for_each(n: usize, f: impl Fn(usize) + Sync + Send) {
    (0..n).into_par_iter().with_min_len(min_len(n)).for_each(f);
}

/// Maps `f` over `0..n` in parallel and returns the results in order.
pub fn map<R: Send>(n: usize, f: impl Fn(usize) -> R + Sync + Send) -> Vec<R> {
    (0..n).into_par_iter().map(f).collect()
}

/// Collects `len` numbers in parallel: chunk `i`, of `size` numbers, is the start of `f(i)`.
///
/// The memory is not cleared first. The last chunk may be shorter.
///
/// # Panics
/// If `f(i)` is shorter than its chunk.
pub fn collect_chunks<I: ExactSizeIterator<Item = f32>>(
    len: usize,
    size: usize,
    f: impl Fn(usize) -> I + Sync + Send,
) -> Vec<f32> {
    let chunks = len.div_ceil(size.max(1));
    let mut collected: Vec<f32> = Vec::with_capacity(len);
    collected.spare_capacity_mut()[..len]
        .par_chunks_mut(size.max(1))
        .with_min_len(min_len(chunks))
        .enumerate()
        .for_each(|(i, chunk)| {
            wide!({
                let numbers = f(i);
                assert!(numbers.len() >= chunk.len(), "too few numbers for a chunk");
                for (slot, number) in chunk.iter_mut().zip(numbers) {
                    slot.write(number);
                }
            })
        });
    // SAFETY: the loop has written all `len` numbers, as asserted for each chunk.
    unsafe { collected.set_len(len) };
    collected
}

/// Maps `f` over the numbers of `source` in parallel.
pub fn map_numbers(source: &[f32], f: impl Fn(f32) -> f32 + Sync + Send) -> Vec<f32> {
    collect_chunks(source.len(), CHUNK, |chunk| {
        source[chunk * CHUNK..].iter().map(|x| f(*x))
    })
}

/// Copies `source` in parallel.
pub fn copy(source: &[f32]) -> Vec<f32> {
    map_numbers(source, |x| x)
}

/// Calls `f(i, chunk)` for each chunk of `size` numbers of `slice`, in parallel.
///
/// The last chunk may be shorter.
pub fn for_each_chunk(slice: &mut [f32], size: usize, f: impl Fn(usize, &mut [f32]) + Sync + Send) {
    let chunks = slice.len().div_ceil(size.max(1));
    slice
        .par_chunks_mut(size.max(1))
        .with_min_len(min_len(chunks))
        .enumerate()
        .for_each(|(i, chunk)| f(i, chunk));
}

/// Calls `f(i, chunk)` as [`for_each_chunk`] does, for consecutive chunks of the given sizes.
///
/// # Panics
/// If `slice` is shorter than the sum of `sizes`.
pub fn for_each_uneven_chunk(
    mut slice: &mut [f32],
    sizes: impl Iterator<Item = usize>,
    f: impl Fn(usize, &mut [f32]) + Sync + Send,
) {
    let chunks: Vec<&mut [f32]> = sizes
        .map(|size| slice.split_off_mut(..size).expect("numbers for each chunk"))
        .collect();
    chunks
        .into_par_iter()
        .enumerate()
        .for_each(|(i, chunk)| f(i, chunk));
}

/// Calls `f(i, chunk of a, chunk of b)` as [`for_each_chunk`] does, for two slices with as many chunks.
pub fn for_each_chunk_pair(
    (a, size_a): (&mut [f32], usize),
    (b, size_b): (&mut [f32], usize),
    f: impl Fn(usize, &mut [f32], &mut [f32]) + Sync + Send,
) {
    let chunks = a.len().div_ceil(size_a.max(1));
    a.par_chunks_mut(size_a.max(1))
        .zip(b.par_chunks_mut(size_b.max(1)))
        .with_min_len(min_len(chunks))
        .enumerate()
        .for_each(|(i, (chunk_a, chunk_b))| f(i, chunk_a, chunk_b));
}

/// Calls `f(&mut target[i], source[i])` for each `i`, in parallel.
pub fn zip(target: &mut [f32], source: &[f32], f: impl Fn(&mut f32, f32) + Sync + Send) {
    for_each_chunk(target, CHUNK, |i, chunk| {
        wide!(for (x, y) in chunk.iter_mut().zip(&source[i * CHUNK..]) {
            f(x, *y);
        })
    });
}

/// Adds `source` to `target`, element by element.
pub fn add(target: &mut [f32], source: &[f32]) {
    zip(target, source, |x, y| *x += y);
}

/// Sums the rows of `x` (rows, width), in their order; returns (width).
pub fn column_sums(x: &[f32], width: usize) -> Vec<f32> {
    const COLUMNS: usize = 64; // of one task
    let mut sums = vec![0.0; width];
    for_each_chunk(&mut sums, COLUMNS, |i, sums| {
        wide!(for row in x.chunks_exact(width) {
            for (sum, x) in sums.iter_mut().zip(&row[i * COLUMNS..]) {
                *sum += x;
            }
        });
    });
    sums
}

/// Returns how many of `n` tasks rayon keeps together, so that a thread has at most 64 pieces.
fn min_len(n: usize) -> usize {
    n.div_ceil(64 * threads()).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_meet_every_number_once() {
        for n in [0, 1, 63, 64, 65, 40_000] {
            let mut x = vec![1.0; n];
            let indices: Vec<f32> = (0..n).map(|i| i as f32).collect();
            add(&mut x, &indices);
            assert!(x.iter().enumerate().all(|(i, x)| *x == 1.0 + i as f32));
            assert_eq!(map(n, |i| i), (0..n).collect::<Vec<_>>());
            assert_eq!(copy(&indices), indices);
        }
        assert_eq!(column_sums(&[1.0, 2.0, 3.0, 4.0], 2), [4.0, 6.0]);
        assert_eq!(column_sums(&[], 2), [0.0, 0.0]);
    }
}
