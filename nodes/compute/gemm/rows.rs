//! Rows of a in the form in which the micro-kernel reads them, packed where it gains by it.
//!
//! Single words of a are broadcast, so wide vectors hardly gain from packing where a is row-major;
//! where it is transposed, reading it in place would touch a page a number.
use super::View;
use super::blocking::{Blocking, KBlock};
use super::kernel::RowForm;
use super::packing::Panel;
use crate::parallel::Shared;
use std::ops::Range;

/// Lanes of the widest vector.
const MAX_LANES: usize = 16;
/// Fewest panels for which rows of a are packed into tiles: with fewer, packing costs more than it
/// gains.
const PANELS_PER_PACKING: usize = 12;

/// The left operand of a product, and how a task packs its rows.
pub(super) struct Rows<'a> {
    blocking: &'a Blocking,
    a: View<'a>,
    packing: Packing,
}

#[derive(Clone, Copy)]
enum Packing {
    None,
    /// Row-major, by this function.
    Rows(unsafe fn(&Panel)),
    /// In the kernel's own form, by this function.
    Own(unsafe fn(&Panel)),
    /// Column-major.
    Columns,
    /// Tiles of the kernel's rows one after the other, each column-major.
    Tiles,
}

/// A block of rows: word (row, depth) of tile i, rows from mr i on, is
/// `first[i * tile + row * rs + depth * cs]`.
pub(super) struct ABlock {
    pub first: *const f32,
    pub tile: usize,
    pub rs: usize,
    pub cs: usize,
}

impl<'a> Rows<'a> {
    /// Chooses how a is packed.
    pub(super) fn new(blocking: &'a Blocking, a: View<'a>) -> Rows<'a> {
        let kernel = blocking.kernel;
        let is_row_major = a.cs == 1;
        let packing = match kernel.row_form {
            RowForm::Own(pack) => Packing::Own(pack),
            RowForm::Words(pack) if is_row_major => Packing::Rows(pack),
            RowForm::Tiles if !is_row_major || blocking.panels >= PANELS_PER_PACKING => {
                Packing::Tiles
            }
            _ if is_row_major => Packing::None,
            _ => Packing::Columns,
        };
        Rows {
            blocking,
            a,
            packing,
        }
    }

    /// Returns the length of the buffer that `rows` rows need, 0 if they are read in place.
    pub(super) fn packed_len(&self, rows: usize) -> usize {
        let kc = self.blocking.kc;
        let mr = self.blocking.kernel.mr;
        match self.packing {
            Packing::None => 0,
            Packing::Rows(_) => rows * kc.next_multiple_of(MAX_LANES),
            Packing::Own(_) => rows.next_multiple_of(mr) * kc,
            Packing::Columns => kc * rows.next_multiple_of(MAX_LANES),
            Packing::Tiles => kc * rows.next_multiple_of(mr) + MAX_LANES,
        }
    }

    /// Returns a block of these rows, packed if it is not read in place.
    ///
    /// # Safety
    /// The rows are in a, and `packed` has the length of [`Rows::packed_len`].
    pub(super) unsafe fn block(&self, rows: Range<usize>, block: KBlock, packed: Shared) -> ABlock {
        let kernel = self.blocking.kernel;
        let mr = kernel.mr;
        let a = self.a;
        let offset = rows.start * a.rs + block.first * kernel.k_per_word * a.cs;
        let source = a.data.as_ptr().wrapping_add(offset);
        let first = packed.pointer();
        let panel = Panel {
            source,
            k_stride: a.cs,
            lane_stride: a.rs,
            lanes: rows.len(),
            depth: self.blocking.depth(block),
            packed: first,
            packed_ld: 0,
        };
        match self.packing {
            Packing::None => ABlock {
                first: source,
                tile: mr * a.rs,
                rs: a.rs,
                cs: a.cs,
            },
            Packing::Rows(pack) => {
                let packed_ld = self.blocking.kc.next_multiple_of(MAX_LANES);
                // SAFETY: by this function's contract; so are the others.
                unsafe { pack(&Panel { packed_ld, ..panel }) };
                ABlock {
                    first,
                    tile: mr * packed_ld,
                    rs: packed_ld,
                    cs: 1,
                }
            }
            Packing::Own(pack) => {
                let packed_ld = block.kc;
                // SAFETY: see above.
                unsafe { pack(&Panel { packed_ld, ..panel }) };
                ABlock {
                    first,
                    tile: mr * packed_ld,
                    rs: 0,
                    cs: 0,
                }
            }
            Packing::Columns => {
                let packed_ld = rows.len().next_multiple_of(MAX_LANES);
                // SAFETY: see above.
                unsafe { (kernel.pack_panel)(&Panel { packed_ld, ..panel }) };
                ABlock {
                    first,
                    tile: mr,
                    rs: 1,
                    cs: packed_ld,
                }
            }
            Packing::Tiles => {
                for row in (0..rows.len()).step_by(mr) {
                    let tile = Panel {
                        source: source.wrapping_add(row * a.rs),
                        lanes: mr.min(rows.len() - row),
                        packed: packed.tail(row * block.kc).pointer(),
                        packed_ld: mr,
                        ..panel
                    };
                    // SAFETY: see above.
                    unsafe { (kernel.pack_panel)(&tile) };
                }
                ABlock {
                    first,
                    tile: mr * block.kc,
                    rs: 1,
                    cs: mr,
                }
            }
        }
    }
}
