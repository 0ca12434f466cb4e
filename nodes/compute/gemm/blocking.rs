//! How a product is cut into blocks of depth and panels, and the packing of b.
use super::View;
use super::kernel::Kernel;
use super::packing::Panel;
use crate::parallel::Shared;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Rows of a in a task, up to whole tiles: at most 200 KiB of L2.
pub(super) const MC: usize = 132;

/// How b (k, n) is cut: its columns into panels, its depth into even blocks.
pub(super) struct Blocking {
    pub kernel: &'static Kernel,
    pub n: usize,
    pub k: usize,
    /// Panels that n columns make.
    pub panels: usize,
    /// Words that k numbers of depth make, in whole steps of the micro-kernel.
    pub words: usize,
    /// Most words of depth in a block.
    pub kc: usize,
}

/// A block of depth.
#[derive(Clone, Copy)]
pub(super) struct KBlock {
    /// Its first word.
    pub first: usize,
    /// Its words.
    pub kc: usize,
    /// Where its panels begin in packed b.
    offset: usize,
}

impl Blocking {
    /// Cuts b (k, n) for a kernel; neither k nor n is 0.
    pub(super) fn new(kernel: &'static Kernel, n: usize, k: usize) -> Blocking {
        let step = kernel.words_per_step;
        let words = k.div_ceil(kernel.k_per_word).next_multiple_of(step);
        let blocks = words.div_ceil(kernel.max_kc);
        Blocking {
            kernel,
            n,
            k,
            panels: n.div_ceil(kernel.nr),
            words,
            kc: words.div_ceil(blocks).next_multiple_of(step),
        }
    }

    /// Returns the length of packed b for `words` words of depth.
    pub(super) fn packed_len(&self, words: usize) -> usize {
        self.panels * self.kernel.nr * words
    }

    /// Iterates over the blocks of these words of depth, of which packed b holds no others.
    pub(super) fn blocks(&self, words: Range<usize>) -> impl Iterator<Item = KBlock> {
        words.clone().step_by(self.kc).map(move |first| KBlock {
            first,
            kc: self.kc.min(words.end - first),
            offset: self.packed_len(first - words.start),
        })
    }

    /// Returns where a panel of a block begins in packed b.
    pub(super) fn panel_offset(&self, block: KBlock, panel: usize) -> usize {
        block.offset + panel * self.kernel.nr * block.kc
    }

    /// Returns the numbers of depth in a block.
    pub(super) fn depth(&self, block: KBlock) -> usize {
        let k_per_word = self.kernel.k_per_word;
        (block.kc * k_per_word).min(self.k - block.first * k_per_word)
    }

    /// Packs these words of b, on so many threads.
    ///
    /// # Safety
    /// b is (k, n), and `packed` has the length for the words.
    pub(super) unsafe fn pack_b(
        &self,
        threads: usize,
        b: View,
        words: Range<usize>,
        packed: Shared,
    ) {
        let nr = self.kernel.nr;
        for_each_task(threads, self.panels, &|panel| {
            for block in self.blocks(words.clone()) {
                let b_offset = block.first * self.kernel.k_per_word * b.rs + panel * nr * b.cs;
                let panel = Panel {
                    source: b.data.as_ptr().wrapping_add(b_offset),
                    k_stride: b.rs,
                    lane_stride: b.cs,
                    lanes: nr.min(self.n - panel * nr),
                    depth: self.depth(block),
                    packed: packed.tail(self.panel_offset(block, panel)).pointer(),
                    packed_ld: nr,
                };
                // SAFETY: the panel is in b, and no other task writes its words.
                unsafe { (self.kernel.pack_panel)(&panel) };
            }
        });
    }
}

/// Calls `task` for each number in `0..n`, in this order, on all threads if there is more than
/// one.
pub(super) fn for_each_task(threads: usize, n: usize, task: &(dyn Fn(usize) + Sync)) {
    if threads == 1 {
        return (0..n).for_each(task);
    }
    let next = AtomicUsize::new(0);
    let work = |_| {
        while let Some(i) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|i| *i < n) {
            task(i);
        }
    };
    (0..threads.min(n))
        .into_par_iter()
        .with_max_len(1)
        .for_each(work);
}
