//! The loops around the kernel, as in BLIS (Van Zee and van de Geijn 2015), but rows of a are read where they lie.
//!
//! For each block of depth: pack b into panels (k, nr), once, over all threads; then each task takes some rows of a
//! (they stay in L2) and walks the panels. Packing hides strides, transposes and overlap of b. Of a the kernel broadcasts
//! single words, so only a transposed one is packed: it would touch a page a number. Where a word is not a number
//! (gemm/bf16.rs) rows of a are turned into words first.
use super::isa::{Isa, MR};
use super::kernel::{Panel, Tile};
use super::{Epilogue, Out, Shape, View};
use crate::par::Shared;
use rayon::prelude::*;
use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Words of depth in a block: a panel of b is 96 KiB.
const KC: usize = 384;
/// The widest vector.
const LANES: usize = 16;
/// Rows of a in a task: 200 KiB of L2.
const MC: usize = 22 * MR;
/// Words of b packed at once.
const PACKED: usize = 4 << 20;
/// Products smaller than this stay on the calling thread.
const SMALL: usize = 100_000;

/// # Safety
/// The machine has the instructions; views and output are long enough; depth is not 0.
pub unsafe fn gemm(isa: &Isa, threads: usize, s: Shape, a: View, b: View, c: Out, then: &Epilogue) {
    let (nr, numbers) = (isa.nr, isa.numbers);
    let panels = s.n.div_ceil(nr);
    let words = s.k.div_ceil(numbers);
    let blocks = words.div_ceil(KC);
    let kc = words.div_ceil(blocks); // even blocks
    let group = (PACKED / (panels * nr * kc)).clamp(1, blocks); // blocks packed at once
    let rows = s.m.div_ceil(s.m.div_ceil(MC).next_multiple_of(threads)).next_multiple_of(MR);
    let by_rows = a.cs == 1;
    let turn = if by_rows { isa.rows } else { Some(isa.pack) }; // a into words; None: it is read where it lies
    let parallel = threads > 1 && s.m * s.n * s.k > SMALL;
    let all = |n: usize, task: &(dyn Fn(usize) + Sync)| match parallel {
        true => (0..n).into_par_iter().with_max_len(1).for_each(task),
        false => (0..n).for_each(task),
    };
    // Of `d` words from word `from` on: how many numbers.
    let depth = |from: usize, d: usize| (d * numbers).min(s.k - from * numbers);
    with_buffer(&B, panels * nr * kc * group, |packed_b| {
        for first in (0..words).step_by(group * kc) {
            let end = words.min(first + group * kc);
            let panel_at = |from: usize, panel: usize, d: usize| (from - first) * panels * nr + panel * nr * d;
            all(panels, &|panel| {
                for from in (first..end).step_by(kc) {
                    let d = kc.min(end - from);
                    let source = b.data.as_ptr().wrapping_add(from * numbers * b.rs + panel * nr * b.cs);
                    let lanes = nr.min(s.n - panel * nr);
                    let to = packed_b.tail(panel_at(from, panel, d)).pointer();
                    let depth = depth(from, d);
                    // SAFETY: the panel is in b, its place in the buffer is its own.
                    unsafe { (isa.pack)(&Panel { from: source, ks: b.rs, ls: b.cs, lanes, depth, to, width: nr }) };
                }
            });
            all(s.m.div_ceil(rows), &|task| {
                let row = task * rows;
                let m = rows.min(s.m - row);
                let (height, width) = if by_rows { (m, kc) } else { (kc, m) };
                let width = width.next_multiple_of(LANES);
                with_buffer(&A, turn.map_or(0, |_| height * width), |turned| {
                    for from in (first..end).step_by(kc) {
                        let d = kc.min(end - from);
                        let source = a.data.as_ptr().wrapping_add(row * a.rs + from * numbers * a.cs);
                        let (depth, to) = (depth(from, d), turned.pointer());
                        let (source, a_rs, a_cs) = if let Some(turn) = turn {
                            // SAFETY: the rows are in a, the buffer holds all of them.
                            unsafe { turn(&Panel { from: source, ks: a.cs, ls: a.rs, lanes: m, depth, to, width }) };
                            (to as *const f32, if by_rows { width } else { 1 }, if by_rows { 1 } else { width })
                        } else {
                            (source, a.rs, a.cs)
                        };
                        for (panel, i) in (0..panels).flat_map(|p| (0..m).step_by(MR).map(move |i| (p, i))) {
                            let tile = Tile {
                                k: d,
                                a: source.wrapping_add(i * a_rs),
                                a_rs,
                                a_cs,
                                b: packed_b.tail(panel_at(from, panel, d)).pointer(),
                                c: c.to.tail((row + i) * c.rs + panel * nr).pointer(),
                                c_rs: c.rs,
                                rows: MR.min(m - i),
                                n: nr.min(s.n - panel * nr),
                                add: c.add || from > 0,
                                then: (from + d == words).then_some((then, row + i, panel * nr)),
                            };
                            // SAFETY: the tile is within a, the buffer and c; no other task has these rows.
                            unsafe { (isa.tile)(&tile) };
                        }
                    }
                });
            });
        }
    })
}

type Buffer = std::thread::LocalKey<RefCell<Vec<f32>>>;
thread_local! {
    static A: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    static B: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Words in the buffers of all threads.
static HELD: AtomicUsize = AtomicUsize::new(0);

/// Bytes in the buffers of all threads.
pub fn packed_bytes() -> usize {
    HELD.load(Ordering::Relaxed) * size_of::<f32>()
}

/// A buffer of this thread, aligned to cache lines. It is taken out while in use: a thread that waits for its tasks may
/// be given another product meanwhile.
fn with_buffer(of: &'static Buffer, len: usize, f: impl FnOnce(Shared)) {
    let mut buffer = of.take();
    if buffer.len() < len + 16 {
        HELD.fetch_add(len + 16 - buffer.len(), Ordering::Relaxed);
        buffer = vec![0.0; len + 16];
    }
    let aligned = buffer.as_ptr().align_offset(64);
    f(Shared::new(&mut buffer[aligned..]));
    of.with_borrow_mut(|kept| {
        if kept.len() < buffer.len() {
            std::mem::swap(kept, &mut buffer);
        }
    });
    HELD.fetch_sub(buffer.len(), Ordering::Relaxed);
}
