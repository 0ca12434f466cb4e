//! The loops around the kernel, as in BLIS (Van Zee and van de Geijn 2015), but rows of a are read where they lie.
//!
//! For each block of depth: pack b into panels (k, nr), once, over all threads; then each task takes some rows of a
//! (they stay in L2) and walks the panels. Packing hides strides, transposes and overlap of b. Of a the kernel broadcasts
//! single words, so only a transposed one is packed: it would touch a page a number. Where a word is not a number
//! (gemm/bf16.rs) rows of a are turned into words first.
use super::isa::{Isa, MR};
use super::kernel::{Panel, Tile};
use super::{Epilogue, Out, Shape, View};
use crate::parallel::Shared;
use rayon::prelude::*;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Words of depth in a block: a panel of b is 96 KiB.
const KC: usize = 384;
/// The widest vector.
const LANES: usize = 16;
/// Bytes of a cache line, as many as the widest vector has.
const LINE: usize = 64;
/// Rows of a in a task: 200 KiB of L2.
const MC: usize = 22 * MR;
/// Words of b packed at once.
const PACKED: usize = 4 << 20;
/// Products smaller than this stay on the calling thread.
const SMALL: usize = 100_000;

/// How b is cut: its columns into panels, its depth into even blocks.
struct Cut {
    isa: &'static Isa,
    threads: usize,
    n: usize,
    k: usize,
    panels: usize,
    /// Words of the whole depth, and of a block.
    words: usize,
    kc: usize,
}

impl Cut {
    fn of(isa: &'static Isa, threads: usize, n: usize, k: usize) -> Cut {
        let words = k.div_ceil(isa.numbers);
        Cut {
            isa,
            threads,
            n,
            k,
            panels: n.div_ceil(isa.nr),
            words,
            kc: words.div_ceil(words.div_ceil(KC)),
        }
    }
    /// Of words of b with this depth.
    fn room(&self, depth: usize) -> usize {
        self.panels * self.isa.nr * depth
    }
    /// Where a panel of the block from word `from` on begins, `d` deep.
    fn panel(&self, from: usize, panel: usize, d: usize) -> usize {
        self.room(from) + panel * self.isa.nr * d
    }
    /// The blocks of these words: the first word of each, and how many.
    fn blocks(&self, words: Range<usize>) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (kc, end) = (self.kc, words.end);
        words
            .step_by(kc)
            .map(move |from| (from, kc.min(end - from)))
    }
    /// Of `d` words from word `from` on: how many numbers.
    fn depth(&self, from: usize, d: usize) -> usize {
        (d * self.isa.numbers).min(self.k - from * self.isa.numbers)
    }

    /// Packs these words of b.
    ///
    /// # Safety
    /// b is n wide and k deep, and there is room for the words.
    unsafe fn pack(&self, b: View, words: Range<usize>, to: Shared) {
        let (nr, first) = (self.isa.nr, words.start);
        all(self.threads, self.panels, &|panel| {
            for (from, d) in self.blocks(words.clone()) {
                let from_b = b
                    .data
                    .as_ptr()
                    .wrapping_add(from * self.isa.numbers * b.rs + panel * nr * b.cs);
                let (depth, lanes) = (self.depth(from, d), nr.min(self.n - panel * nr));
                let to = to.tail(self.panel(from - first, panel, d)).pointer();
                // SAFETY: the panel is in b, its place in the buffer is its own.
                unsafe {
                    (self.isa.pack)(&Panel {
                        from: from_b,
                        ks: b.rs,
                        ls: b.cs,
                        lanes,
                        depth,
                        to,
                        width: nr,
                    })
                };
            }
        });
    }

    /// Of m rows the products with these words of b.
    ///
    /// # Safety
    /// As [`gemm`]; the words are packed.
    unsafe fn multiply(
        &self,
        m: usize,
        a: View,
        b: &[f32],
        words: Range<usize>,
        c: &Out,
        then: &Epilogue,
    ) {
        let (isa, nr) = (self.isa, self.isa.nr);
        let rows = m
            .div_ceil(m.div_ceil(MC).next_multiple_of(self.threads))
            .next_multiple_of(MR);
        let by_rows = a.cs == 1;
        let turn = if by_rows { isa.rows } else { Some(isa.pack) }; // a into words; None: it is read where it lies
        all(self.threads, m.div_ceil(rows), &|task| {
            let row = task * rows;
            let m = rows.min(m - row);
            let (height, width) = if by_rows { (m, self.kc) } else { (self.kc, m) };
            let width = width.next_multiple_of(LANES);
            with_buffer(&A, turn.map_or(0, |_| height * width), |turned| {
                for (from, d) in self.blocks(words.clone()) {
                    let source = a
                        .data
                        .as_ptr()
                        .wrapping_add(row * a.rs + from * isa.numbers * a.cs);
                    let (depth, to) = (self.depth(from, d), turned.pointer());
                    let (source, a_rs, a_cs) = if let Some(turn) = turn {
                        // SAFETY: the rows are in a, the buffer holds all of them.
                        unsafe {
                            turn(&Panel {
                                from: source,
                                ks: a.cs,
                                ls: a.rs,
                                lanes: m,
                                depth,
                                to,
                                width,
                            })
                        };
                        (
                            to as *const f32,
                            if by_rows { width } else { 1 },
                            if by_rows { 1 } else { width },
                        )
                    } else {
                        (source, a.rs, a.cs)
                    };
                    for (panel, i) in
                        (0..self.panels).flat_map(|p| (0..m).step_by(MR).map(move |i| (p, i)))
                    {
                        let tile = Tile {
                            k: d,
                            a: source.wrapping_add(i * a_rs),
                            a_rs,
                            a_cs,
                            b: b[self.panel(from - words.start, panel, d)..].as_ptr(),
                            c: c.to.tail((row + i) * c.rs + panel * nr).pointer(),
                            c_rs: c.rs,
                            rows: MR.min(m - i),
                            n: nr.min(self.n - panel * nr),
                            add: c.add || from > 0,
                            then: (from + d == self.words).then_some((then, row + i, panel * nr)),
                        };
                        // SAFETY: the tile is within a, the buffer and c; no other task has these rows.
                        unsafe { (isa.tile)(&tile) };
                    }
                }
            });
        });
    }
}

/// `task(0) .. task(n - 1)`, over all threads or on the calling one.
fn all(threads: usize, n: usize, task: &(dyn Fn(usize) + Sync)) {
    match threads > 1 {
        true => (0..n).into_par_iter().with_max_len(1).for_each(task),
        false => (0..n).for_each(task),
    }
}

/// # Safety
/// The machine has the instructions; views and output are long enough; depth is not 0.
pub unsafe fn gemm(
    isa: &'static Isa,
    threads: usize,
    s: Shape,
    a: View,
    b: View,
    c: Out,
    then: &Epilogue,
) {
    let cut = Cut::of(
        isa,
        if s.m * s.n * s.k > SMALL { threads } else { 1 },
        s.n,
        s.k,
    );
    let most = cut.kc * (PACKED / cut.room(cut.kc)).clamp(1, cut.words.div_ceil(cut.kc)); // words packed at once
    with_buffer(&B, cut.room(most), |packed| {
        for first in (0..cut.words).step_by(most) {
            let words = first..cut.words.min(first + most);
            // SAFETY: by this function's contract.
            unsafe {
                cut.pack(b, words.clone(), packed);
                cut.multiply(
                    s.m,
                    a,
                    packed.part(0, cut.room(words.len())),
                    words,
                    &c,
                    then,
                );
            }
        }
    })
}

/// b of many products, packed once.
pub struct Packed {
    cut: Cut,
    words: Vec<f32>,
}

impl Packed {
    /// # Safety
    /// As [`gemm`].
    pub unsafe fn new(isa: &'static Isa, n: usize, k: usize, b: View) -> Packed {
        let cut = Cut::of(isa, 1, n, k);
        let mut words = vec![0.0; cut.room(cut.words) + LANES];
        // SAFETY: by this function's contract.
        unsafe { cut.pack(b, 0..cut.words, aligned(&mut words)) };
        Packed { cut, words }
    }

    /// As [`gemm`] with m rows of a, on the calling thread.
    ///
    /// # Safety
    /// As [`gemm`].
    pub unsafe fn multiply(&self, m: usize, a: View, c: Out, then: &Epilogue) {
        let b = &self.words[self.words.as_ptr().align_offset(LINE)..];
        // SAFETY: by this function's contract.
        unsafe { self.cut.multiply(m, a, b, 0..self.cut.words, &c, then) };
    }
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

/// From where a cache line begins.
fn aligned(words: &mut [f32]) -> Shared<'_> {
    let offset = words.as_ptr().align_offset(LINE);
    Shared::new(&mut words[offset..])
}

/// A buffer of this thread, aligned to cache lines. It is taken out while in use: a thread that waits for its tasks may
/// be given another product meanwhile.
fn with_buffer(of: &'static Buffer, len: usize, f: impl FnOnce(Shared)) {
    let mut buffer = of.take();
    if buffer.len() < len + LANES {
        HELD.fetch_add(len + LANES - buffer.len(), Ordering::Relaxed);
        buffer = vec![0.0; len + LANES];
    }
    f(aligned(&mut buffer));
    of.with_borrow_mut(|kept| {
        if kept.len() < buffer.len() {
            std::mem::swap(kept, &mut buffer);
        }
    });
    HELD.fetch_sub(buffer.len(), Ordering::Relaxed);
}
