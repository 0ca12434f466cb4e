//! Products on any machine: the crate `matrixmultiply`, a fixed number of rows a task.
use super::{Epilogue, Out, Shape, View};
use crate::parallel::wide;
use rayon::prelude::*;

const ROWS: usize = 128;

/// Views and output are long enough: the caller has checked.
pub fn gemm(threads: usize, s: Shape, a: View, b: View, c: Out, then: &Epilogue) {
    let (beta, [ars, acs, brs, bcs, crs]) = (
        c.add as u8 as f32,
        [a.rs, a.cs, b.rs, b.cs, c.rs].map(|s| s as isize),
    );
    let some_rows = |task: usize| {
        let row = task * ROWS;
        let m = ROWS.min(s.m - row);
        let (from, to) = (
            a.data.as_ptr().wrapping_add(row * a.rs),
            c.to.pointer().wrapping_add(row * c.rs),
        );
        // SAFETY, also below: all elements are within their slices, and no other task has these rows of c.
        unsafe {
            matrixmultiply::sgemm(
                m,
                s.k,
                s.n,
                1.0,
                from,
                ars,
                acs,
                b.data.as_ptr(),
                brs,
                bcs,
                beta,
                to,
                crs,
                1,
            );
        }
        wide!(for row in row..row + m {
            unsafe { then.apply(row, 0, c.to.part(row * c.rs, s.n)) }
        });
    };
    let tasks = s.m.div_ceil(ROWS);
    if threads > 1 {
        (0..tasks).into_par_iter().for_each(some_rows)
    } else {
        (0..tasks).for_each(some_rows)
    }
}
