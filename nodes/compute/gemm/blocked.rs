//! The loops around the micro-kernel, as in BLIS (Van Zee and van de Geijn 2015).
//!
//! For each block of kc words of depth: pack b into panels (kc, nr), once, on all threads; then
//! each task takes up to MC rows of a, which stay in L2, and multiplies them by one panel after
//! another. Packing hides strides, transposition and overlap of b. Whether a is packed,
//! [`Rows`] decides.
use super::blocking::{Blocking, KBlock, MC, for_each_task};
use super::buffers::{A_BUFFER, B_BUFFER, LINE_WORDS, aligned, line_start, with_buffer};
use super::kernel::{Kernel, Tile};
use super::rows::{ABlock, Rows};
use super::{Epilogue, Out, Shape, View};
use std::ops::Range;

/// Words of b that are packed at a time, at least one block.
const PACKED_B: usize = 4 << 20;
/// Multiply-adds up to which a product stays on the calling thread.
const SERIAL: usize = 100_000;
/// Fewest rows of a part that a thread takes: with fewer, the next panel of b cannot be prefetched
/// in the time of its tiles.
const MIN_ROWS: usize = 24;

/// Computes c = a b or c += a b, then the epilogue.
///
/// # Safety
/// The machine has the kernel's instructions; a, b and c hold their shapes; m, n and k are not 0.
pub(super) unsafe fn gemm(
    kernel: &'static Kernel,
    threads: usize,
    s: Shape,
    a: View,
    b: View,
    c: Out,
    epilogue: &Epilogue,
) {
    let threads = useful_threads(threads, s);
    let blocking = Blocking::new(kernel, s.n, s.k);
    let all_blocks = blocking.words.div_ceil(blocking.kc);
    let blocks = (PACKED_B / blocking.packed_len(blocking.kc)).clamp(1, all_blocks);
    let step = blocking.kc * blocks; // words of depth packed at a time
    with_buffer(&B_BUFFER, blocking.packed_len(step), |packed| {
        for first in (0..blocking.words).step_by(step) {
            let words = first..blocking.words.min(first + step);
            // SAFETY: by this function's contract.
            unsafe {
                blocking.pack_b(threads, b, words.clone(), packed);
                let packed_b = packed.part(0, blocking.packed_len(words.len()));
                multiply(&blocking, threads, s.m, a, packed_b, words, &c, epilogue);
            }
        }
    })
}

/// Returns on how many of these threads a product is computed.
fn useful_threads(threads: usize, s: Shape) -> usize {
    if s.m * s.n * s.k <= SERIAL {
        1
    } else {
        threads
    }
}

/// A matrix b (k, n) as packed panels.
pub(super) struct PackedPanels {
    blocking: Blocking,
    words: Vec<f32>,
}

impl PackedPanels {
    /// Packs b.
    ///
    /// # Safety
    /// As [`gemm`].
    pub(super) unsafe fn new(kernel: &'static Kernel, n: usize, k: usize, b: View) -> PackedPanels {
        let blocking = Blocking::new(kernel, n, k);
        let mut words = vec![0.0; blocking.packed_len(blocking.words) + LINE_WORDS];
        // SAFETY: by this function's contract.
        unsafe { blocking.pack_b(1, b, 0..blocking.words, aligned(&mut words)) };
        PackedPanels { blocking, words }
    }

    /// Computes as [`gemm`], for a (m, k).
    ///
    /// # Safety
    /// As [`gemm`].
    pub(super) unsafe fn multiply(
        &self,
        threads: usize,
        m: usize,
        a: View,
        c: Out,
        epilogue: &Epilogue,
    ) {
        let packed_b = &self.words[line_start(&self.words)..];
        let Blocking { n, k, words, .. } = self.blocking;
        let threads = useful_threads(threads, Shape { m, n, k });
        // SAFETY: by this function's contract.
        unsafe {
            multiply(
                &self.blocking,
                threads,
                m,
                a,
                packed_b,
                0..words,
                &c,
                epilogue,
            )
        };
    }
}

/// Multiplies a (m, k) by these words of b, in tasks of rows.
///
/// Past the first word of depth it accumulates to c; with the last it applies the epilogue.
///
/// # Safety
/// As [`gemm`]; `packed_b` holds the words.
#[expect(clippy::too_many_arguments)]
unsafe fn multiply(
    blocking: &Blocking,
    threads: usize,
    m: usize,
    a: View,
    packed_b: &[f32],
    words: Range<usize>,
    c: &Out,
    epilogue: &Epilogue,
) {
    let a = Rows::new(blocking, a);
    let parts = parts(m, threads, blocking.kernel.mr);
    for_each_task(threads, parts.len(), &|part| {
        let rows = parts[part].clone();
        let buffer_len = a.packed_len(rows.len());
        with_buffer(&A_BUFFER, buffer_len, |packed_a| {
            for block in blocking.blocks(words.clone()) {
                // SAFETY: the rows are in a, and of this task alone.
                unsafe {
                    let a_block = a.block(rows.clone(), block, packed_a);
                    macro_kernel(
                        blocking,
                        &a_block,
                        packed_b,
                        block,
                        rows.clone(),
                        c,
                        epilogue,
                    );
                }
            }
        });
    });
}

/// Splits m rows into parts for tasks, smaller ones towards the end, so that all threads end at
/// about the same time.
fn parts(m: usize, threads: usize, mr: usize) -> Vec<Range<usize>> {
    let mut parts = vec![];
    let mut first = 0;
    while first < m {
        let share = (m - first).div_ceil(if threads == 1 { 1 } else { 2 * threads });
        let rows = share.clamp(MIN_ROWS, MC).next_multiple_of(mr);
        parts.push(first..m.min(first + rows));
        first += rows;
    }
    parts
}

/// Multiplies these rows of a by all panels of a block, tile by tile.
///
/// # Safety
/// As [`gemm`]; `packed_b` holds the block, and no other task has these rows of c.
unsafe fn macro_kernel(
    blocking: &Blocking,
    a: &ABlock,
    packed_b: &[f32],
    block: KBlock,
    rows: Range<usize>,
    c: &Out,
    epilogue: &Epilogue,
) {
    let Kernel { mr, nr, .. } = *blocking.kernel;
    let is_last = block.first + block.kc == blocking.words;
    let panel_lines = (block.kc * nr).div_ceil(LINE_WORDS);
    let lines_ahead = match blocking.kernel.prefetches {
        true => panel_lines.div_ceil(rows.len().div_ceil(mr)),
        false => 0,
    };
    if let Some(configure) = blocking.kernel.configure {
        // SAFETY: the machine has the kernel's instructions.
        unsafe { configure() };
    }
    for panel in 0..blocking.panels {
        let column = panel * nr;
        let b = packed_b[blocking.panel_offset(block, panel)..].as_ptr();
        for (i, row) in rows.clone().step_by(mr).enumerate() {
            let tile = Tile {
                k: block.kc,
                a: a.first.wrapping_add(i * a.tile),
                a_rs: a.rs,
                a_cs: a.cs,
                b,
                ahead: b.wrapping_add(block.kc * nr + i * lines_ahead * LINE_WORDS),
                lines_ahead,
                c: c.data.tail(row * c.rs + column).pointer(),
                c_rs: c.rs,
                m: mr.min(rows.end - row),
                n: nr.min(blocking.n - column),
                accumulate: c.accumulate || block.first > 0,
                epilogue: is_last.then_some((epilogue, row, column)),
            };
            // SAFETY: the tile is within a, packed b and c.
            unsafe { (blocking.kernel.micro_kernel)(&tile) };
        }
    }
    if let Some(release) = blocking.kernel.release {
        // SAFETY: see above.
        unsafe { release() };
    }
}
