//! How a product is cut into blocks of depth and panels, and the packing of each.
use super::View;
use super::kernel::{AForm, Kernel, MR};
use super::packing::Panel;
use crate::parallel::Shared;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most words of depth in a block: a panel of b is then 96 KiB.
const KC: usize = 384;
/// Most rows of a in a task: 200 KiB of L2.
pub(super) const MC: usize = 22 * MR;
/// Lanes of the widest vector.
const MAX_LANES: usize = 16;
/// Fewest panels for which rows of a are packed into tiles: with fewer, packing costs more than it
/// gains.
const PANELS_PER_PACKING: usize = 12;

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

/// Rows of a as the micro-kernel reads them: word (row, depth) of tile i, rows from MR i on, is
/// `first[i * tile + row * rs + depth * cs]`.
pub(super) struct ABlock {
    pub first: *const f32,
    pub tile: usize,
    pub rs: usize,
    pub cs: usize,
}

/// How rows of a are packed.
enum APacking {
    None,
    /// Row-major, by this function.
    Rows(unsafe fn(&Panel)),
    /// Column-major.
    Columns,
    /// Tiles of MR rows one after the other, each column-major.
    Tiles,
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

    /// Returns how a is packed.
    fn a_packing(&self, a: View) -> APacking {
        match self.kernel.a_form {
            AForm::Tiles if a.cs != 1 || self.panels >= PANELS_PER_PACKING => APacking::Tiles,
            AForm::Tiles | AForm::InPlace if a.cs == 1 => APacking::None,
            AForm::Rows(pack) if a.cs == 1 => APacking::Rows(pack),
            _ => APacking::Columns,
        }
    }

    /// Returns the length of the buffer that `rows` rows of a need, 0 if they are read in place.
    pub(super) fn packed_a_len(&self, a: View, rows: usize) -> usize {
        match self.a_packing(a) {
            APacking::None => 0,
            APacking::Rows(_) => rows * self.kc.next_multiple_of(MAX_LANES),
            APacking::Columns => self.kc * rows.next_multiple_of(MAX_LANES),
            APacking::Tiles => self.kc * rows.next_multiple_of(MR) + MAX_LANES,
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
        let panel = Panel {
            source,
            k_stride: a.cs,
            lane_stride: a.rs,
            lanes: rows.len(),
            depth: self.depth(block),
            packed: packed.pointer(),
            packed_ld: 0,
        };
        let first = packed.pointer();
        let pack = self.kernel.pack_panel;
        match self.a_packing(a) {
            APacking::None => ABlock {
                first: source,
                tile: MR * a.rs,
                rs: a.rs,
                cs: a.cs,
            },
            APacking::Rows(pack) => {
                let packed_ld = self.kc.next_multiple_of(MAX_LANES);
                // SAFETY: by this function's contract; so are the others.
                unsafe { pack(&Panel { packed_ld, ..panel }) };
                ABlock {
                    first,
                    tile: MR * packed_ld,
                    rs: packed_ld,
                    cs: 1,
                }
            }
            APacking::Columns => {
                let packed_ld = rows.len().next_multiple_of(MAX_LANES);
                // SAFETY: see above.
                unsafe { pack(&Panel { packed_ld, ..panel }) };
                ABlock {
                    first,
                    tile: MR,
                    rs: 1,
                    cs: packed_ld,
                }
            }
            APacking::Tiles => {
                for row in (0..rows.len()).step_by(MR) {
                    let tile = Panel {
                        source: source.wrapping_add(row * a.rs),
                        lanes: MR.min(rows.len() - row),
                        packed: packed.tail(row * block.kc).pointer(),
                        packed_ld: MR,
                        ..panel
                    };
                    // SAFETY: see above.
                    unsafe { pack(&tile) };
                }
                ABlock {
                    first,
                    tile: MR * block.kc,
                    rs: 1,
                    cs: MR,
                }
            }
        }
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
