//! The loops around the kernel, as in BLIS (Van Zee and van de Geijn 2015), but rows of a are read where they lie.
//!
//! For each block of depth: pack b into panels (k, nr), once, over all threads; then each task takes some rows of a
//! (they stay in L2) and walks the panels. Packing hides strides, transposes and overlap of b. Of a the kernel broadcasts
//! single numbers, so only a transposed one is packed: it would touch a page a number.
use super::isa::{Isa, MR};
use super::kernel::{Panel, Tile};
use super::{Epilogue, Out, Shape, View};
use crate::par::Shared;
use rayon::prelude::*;
use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
use std::cell::RefCell;

/// Depth of a block: a panel of b is 96 KiB.
const KC: usize = 384;
/// Rows of a in a task: 200 KiB of L2.
const MC: usize = 22 * MR;
/// Floats of b packed at once.
const PACKED: usize = 4 << 20;
/// Products smaller than this stay on the calling thread.
const SMALL: usize = 100_000;

/// # Safety
/// The machine has the instructions; views and output are long enough; depth is not 0.
pub unsafe fn gemm(isa: &Isa, threads: usize, s: Shape, a: View, b: View, c: Out, then: &Epilogue) {
    let nr = isa.nr;
    let panels = s.n.div_ceil(nr);
    let blocks = s.k.div_ceil(KC);
    let kc = s.k.div_ceil(blocks); // even blocks
    let group = (PACKED / (panels * nr * kc)).clamp(1, blocks); // blocks packed at once
    let rows = s.m.div_ceil(s.m.div_ceil(MC).next_multiple_of(threads)).next_multiple_of(MR);
    let pack_a = a.rs == 1 && a.cs != 1;
    let parallel = threads > 1 && s.m * s.n * s.k > SMALL;
    let all = |n: usize, task: &(dyn Fn(usize) + Sync)| match parallel {
        true => (0..n).into_par_iter().with_max_len(1).for_each(task),
        false => (0..n).for_each(task),
    };
    with_buffer(&B, panels * nr * kc * group, |packed_b| {
        for first in (0..s.k).step_by(group * kc) {
            let end = s.k.min(first + group * kc);
            let panel_at = |from: usize, panel: usize, d: usize| (from - first) * panels * nr + panel * nr * d;
            all(panels, &|panel| {
                for from in (first..end).step_by(kc) {
                    let d = kc.min(end - from);
                    let source = b.data.as_ptr().wrapping_add(from * b.rs + panel * nr * b.cs);
                    let lanes = nr.min(s.n - panel * nr);
                    let to = packed_b.tail(panel_at(from, panel, d)).pointer();
                    // SAFETY: the panel is in b, its place in the buffer is its own.
                    unsafe { (isa.pack)(&Panel { from: source, ks: b.rs, ls: b.cs, lanes, depth: d, to }) };
                }
            });
            all(s.m.div_ceil(rows), &|task| {
                let row = task * rows;
                let m = rows.min(s.m - row);
                with_buffer(&A, if pack_a { m.next_multiple_of(MR) * kc } else { 0 }, |packed_a| {
                    for from in (first..end).step_by(kc) {
                        let d = kc.min(end - from);
                        let source = a.data.as_ptr().wrapping_add(row * a.rs + from * a.cs);
                        if pack_a {
                            // SAFETY: m numbers at each of d depths are in a; the buffer holds all of them.
                            unsafe { pack_rows(source, a.cs, m, d, packed_a) };
                        }
                        for (panel, i) in (0..panels).flat_map(|p| (0..m).step_by(MR).map(move |i| (p, i))) {
                            let (at, a_rs, a_cs) = match pack_a {
                                true => (packed_a.tail(i * d).pointer() as *const f32, 1, MR),
                                false => (source.wrapping_add(i * a.rs), a.rs, a.cs),
                            };
                            let tile = Tile {
                                k: d,
                                a: at,
                                a_rs,
                                a_cs,
                                b: packed_b.tail(panel_at(from, panel, d)).pointer(),
                                c: c.to.tail((row + i) * c.rs + panel * nr).pointer(),
                                c_rs: c.rs,
                                rows: MR.min(m - i),
                                n: nr.min(s.n - panel * nr),
                                add: c.add || from > 0,
                                then: (from + d == s.k).then_some((then, row + i, panel * nr)),
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

/// A buffer of this thread, aligned to cache lines. It is taken out while in use: a thread that waits for its tasks may
/// be given another product meanwhile.
fn with_buffer(of: &'static Buffer, len: usize, f: impl FnOnce(Shared)) {
    let mut buffer = of.take();
    if buffer.len() < len + 16 {
        buffer = vec![0.0; len + 16];
    }
    let aligned = buffer.as_ptr().align_offset(64);
    f(Shared::new(&mut buffer[aligned..]));
    of.with_borrow_mut(|kept| {
        if kept.len() < buffer.len() {
            *kept = buffer;
        }
    });
}

/// Rows that lie side by side (a transposed a) into panels (k, MR); what is beyond `m` is left as it was.
///
/// # Safety
/// `m` floats at `depth` places `ks` apart, and as many in `to`, rounded up to whole panels.
unsafe fn pack_rows(from: *const f32, ks: usize, m: usize, depth: usize, to: Shared) {
    const AHEAD: usize = 6; // short runs, far apart: the hardware does not foresee them
    for k in 0..depth {
        // SAFETY: by this function's contract; a prefetch may point anywhere.
        let row = unsafe { std::slice::from_raw_parts(from.add(k * ks), m) };
        for i in (0..m).step_by(16) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add((k + AHEAD) * ks + i) as *const i8) };
        }
        for (i, x) in row.chunks(MR).enumerate() {
            let to = unsafe { to.part(i * MR * depth + k * MR, MR) };
            match <&[f32; MR]>::try_from(x) {
                Ok(x) => to.copy_from_slice(x),
                Err(_) => to[..x.len()].copy_from_slice(x),
            }
        }
    }
}
