//! Products on any machine, by the crate `matrixmultiply`, in tasks of a fixed number of rows.
use super::{Epilogue, Out, Shape, View};
use crate::parallel::wide;
use rayon::prelude::*;

/// Rows of a task.
const ROWS: usize = 128;

/// Computes c = a b or c += a b, then the epilogue; a, b and c hold their shapes.
pub(super) fn gemm(threads: usize, s: Shape, a: View, b: View, c: Out, epilogue: &Epilogue) {
    let compute_rows = |task: usize| {
        let row = task * ROWS;
        let rows = ROWS.min(s.m - row);
        // SAFETY, also below: all is within a, b and c, and no other task has these rows of c.
        unsafe {
            matrixmultiply::sgemm(
                rows,
                s.k,
                s.n,
                1.0,
                a.data.as_ptr().wrapping_add(row * a.rs),
                a.rs as isize,
                a.cs as isize,
                b.data.as_ptr(),
                b.rs as isize,
                b.cs as isize,
                if c.accumulate { 1.0 } else { 0.0 },
                c.data.pointer().wrapping_add(row * c.rs),
                c.rs as isize,
                1,
            );
        }
        wide!(for row in row..row + rows {
            unsafe { epilogue.apply(row, 0, c.data.part(row * c.rs, s.n)) }
        });
    };
    let tasks = s.m.div_ceil(ROWS);
    if threads > 1 {
        (0..tasks).into_par_iter().for_each(compute_rows)
    } else {
        (0..tasks).for_each(compute_rows)
    }
}
