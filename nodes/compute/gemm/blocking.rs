//! How a product is cut into blocks of depth and panels, and the packing of each.
use super::View;
use super::kernel::{Kernel, MR};
use super::packing::Panel;
use crate::parallel::Shared;
use rayon::prelude::*;
use std::ops::Range;

/// Most words of depth in a block: a panel of b is then 96 KiB.
const KC: usize = 384;
/// Most rows of a in a task: 200 KiB of L2.
pub(super) const MC: usize = 22 * MR;
/// Lanes of the widest vector.
const MAX_LANES: usize = 16;

/// How b (k, n) is cut: its columns into panels, its depth into even blocks.
pub(super) struct Blocking {
    pub kernel: &'static Kernel,
    pub threads: usize,
    pub n: usize,
    k: usize,
    /// Panels that n columns make.
    pub panels: usize,
    /// Words that k numbers of depth make.
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

/// Rows of a as the micro-kernel reads them: word (row, depth) is `first[row * rs + depth * cs]`.
pub(super) struct ABlock {
    pub first: *const f32,
    pub rs: usize,
    pub cs: usize,
}

impl Blocking {
    /// Cuts b (k, n) for a kernel; neither k nor n is 0.
    pub(super) fn new(kernel: &'static Kernel, threads: usize, n: usize, k: usize) -> Blocking {
        let words = k.div_ceil(kernel.k_per_word);
        Blocking {
            kernel,
            threads,
            n,
            k,
            panels: n.div_ceil(kernel.nr),
            words,
            kc: words.div_ceil(words.div_ceil(KC)),
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
    fn depth(&self, block: KBlock) -> usize {
        let k_per_word = self.kernel.k_per_word;
        (block.kc * k_per_word).min(self.k - block.first * k_per_word)
    }

    /// Packs these words of b.
    ///
    /// # Safety
    /// b is (k, n), and `packed` has the length for the words.
    pub(super) unsafe fn pack_b(&self, b: View, words: Range<usize>, packed: Shared) {
        let nr = self.kernel.nr;
        for_each_task(self.threads, self.panels, &|panel| {
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

    /// Returns the length of the buffer that `rows` rows of a need, 0 if they are read in place.
    pub(super) fn packed_a_len(&self, a: View, rows: usize) -> usize {
        let height = if a.cs == 1 { rows } else { self.kc };
        self.a_packer(a)
            .map_or(0, |_| height * self.packed_a_ld(a, rows))
    }

    /// Returns the leading dimension of packed a: row-major if a is, else column-major.
    fn packed_a_ld(&self, a: View, rows: usize) -> usize {
        let width = if a.cs == 1 { self.kc } else { rows };
        width.next_multiple_of(MAX_LANES)
    }

    /// Returns the function that packs a; `None` if the micro-kernel reads it in place.
    fn a_packer(&self, a: View) -> Option<unsafe fn(&Panel)> {
        if a.cs == 1 {
            self.kernel.pack_rows
        } else {
            Some(self.kernel.pack_panel)
        }
    }

    /// Returns a block of these rows of a, packed if it cannot be read in place.
    ///
    /// # Safety
    /// The rows are in a, and `packed` has the length of [`Blocking::packed_a_len`].
    pub(super) unsafe fn a_block(
        &self,
        a: View,
        rows: Range<usize>,
        block: KBlock,
        packed: Shared,
    ) -> ABlock {
        let offset = rows.start * a.rs + block.first * self.kernel.k_per_word * a.cs;
        let source = a.data.as_ptr().wrapping_add(offset);
        let Some(pack) = self.a_packer(a) else {
            return ABlock {
                first: source,
                rs: a.rs,
                cs: a.cs,
            };
        };
        let ld = self.packed_a_ld(a, rows.len());
        let panel = Panel {
            source,
            k_stride: a.cs,
            lane_stride: a.rs,
            lanes: rows.len(),
            depth: self.depth(block),
            packed: packed.pointer(),
            packed_ld: ld,
        };
        // SAFETY: by this function's contract.
        unsafe { pack(&panel) };
        ABlock {
            first: packed.pointer(),
            rs: if a.cs == 1 { ld } else { 1 },
            cs: if a.cs == 1 { 1 } else { ld },
        }
    }
}

/// Calls `task` for each number in `0..n`, in parallel if there is more than one thread.
pub(super) fn for_each_task(threads: usize, n: usize, task: &(dyn Fn(usize) + Sync)) {
    if threads > 1 {
        (0..n).into_par_iter().with_max_len(1).for_each(task);
    } else {
        (0..n).for_each(task);
    }
}
