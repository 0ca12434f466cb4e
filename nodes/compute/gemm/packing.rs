//! Packing a panel: NR columns of b, or rows of a, so that the words of each depth are contiguous.
#![allow(unsafe_op_in_unsafe_fn)] // nearly every line is a load or a store
use super::simd::{Simd, Word};
use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
use std::array::from_fn;

/// One call of a packing function: `depth` numbers in each of `lanes` columns of b or rows of a.
pub(super) struct Panel {
    /// Number (k, lane) is `source[k * k_stride + lane * lane_stride]`.
    pub source: *const f32,
    pub k_stride: usize,
    pub lane_stride: usize,
    pub lanes: usize,
    /// Numbers, not words.
    pub depth: usize,
    /// The words.
    pub packed: *mut f32,
    /// Leading dimension of `packed`: a multiple of the vector's lanes, or less than one vector.
    /// Then each word of depth is written over what the one before wrote past its lanes, and what
    /// the last one writes past them must be in `packed` too.
    pub packed_ld: usize,
}

/// Packs a panel: word (k, lane) goes to `packed[k * packed_ld + lane]`, zeros past `lanes`.
///
/// L is the number of lanes of S.
///
/// # Safety
/// The panel is within its matrix, and `packed` has `packed_ld` words for each word of depth.
#[inline(always)]
pub(super) unsafe fn pack_panel<S: Simd, W: Word<S>, const L: usize>(p: &Panel) {
    const PREFETCH_K: usize = 6; // short runs far apart are not prefetched by the hardware
    let words = p.depth.div_ceil(W::K_PER_WORD);
    let depth_left = |word: usize| p.depth - word * W::K_PER_WORD;
    let lanes_left = |lane: usize| p.lanes.saturating_sub(lane).min(L);
    let source = |word: usize, lane: usize| {
        p.source
            .wrapping_add(word * W::K_PER_WORD * p.k_stride + lane * p.lane_stride)
    };
    let store = |word: usize, lane: usize, x: S| x.store(p.packed.add(word * p.packed_ld + lane));
    if p.lane_stride == 1 {
        for word in 0..words {
            for lane in (0..p.packed_ld).step_by(L) {
                let ahead = source(word + PREFETCH_K, lane);
                for i in 0..W::K_PER_WORD {
                    _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(i * p.k_stride) as *const i8);
                }
                let first = source(word, lane);
                let x = W::load_across_k(first, p.k_stride, lanes_left(lane), depth_left(word));
                store(word, lane, x);
            }
        }
    } else if p.k_stride == 1 {
        for lane in (0..p.packed_ld).step_by(L) {
            for word in (0..words).step_by(L) {
                let depth_of = |i: usize| {
                    if i < lanes_left(lane) {
                        depth_left(word)
                    } else {
                        0
                    }
                };
                let mut square: [S; L] =
                    from_fn(|i| W::load_along_k(source(word, lane + i), depth_of(i)));
                S::transpose(&mut square);
                for (i, x) in square.into_iter().enumerate().take(words - word) {
                    store(word + i, lane, x);
                }
            }
        }
    } else {
        for word in 0..words {
            for lane in (0..p.packed_ld).step_by(L) {
                let number = |k: usize, i: usize| {
                    if k < depth_left(word) && i < lanes_left(lane) {
                        *source(word, lane + i).wrapping_add(k * p.k_stride)
                    } else {
                        0.0
                    }
                };
                let numbers: [[f32; L]; 2] = from_fn(|k| from_fn(|i| number(k, i)));
                let x = W::load_across_k(numbers.as_ptr() as *const f32, L, L, 2);
                store(word, lane, x);
            }
        }
    }
}
