//! [`GramDevice`] by f32 GEMMs, one task a row. D is computed a block of frames at a time, with its
//! part of the gradients, so that no block is retained or computed again.
use super::GramDevice;
use crate::gemm::{Out, Precision, Shape, View, gemm};
use crate::math::sum;
use crate::parallel::{map, wide, zip};
use crate::tensor::cpu::{Cpu, Grads, Matrix, Number, Slot, Spans, read, tensor};
use crate::tensor::dimensions;
use std::ops::Range;

/// Frames whose relations to all frames of their row are in memory at once.
const BLOCK: usize = 256;

pub struct Saved {
    width: usize,
    /// D b and Dᵀ a of each row
    products: Vec<[Vec<f32>; 2]>,
}

impl GramDevice for Cpu {
    type Saved = Saved;

    fn forward(
        [a, b]: [&Matrix; 2],
        [target_a, target_b]: [&Matrix; 2],
        spans: &Spans,
        unit: f64,
        retain: bool,
    ) -> (Number, Saved) {
        let rows = map(spans.rows(), |row| {
            let frames = spans.of(row);
            difference(
                frames.len(),
                [Row::of(a, &frames), Row::of(b, &frames)],
                [Row::of(target_a, &frames), Row::of(target_b, &frames)],
                retain,
            )
        });
        let y = rows.iter().map(|(squares, _)| squares).sum::<f64>() * unit;
        let saved = Saved {
            width: dimensions(a).1,
            products: rows.into_iter().map(|(_, products)| products).collect(),
        };
        (tensor(vec![y as f32], ()), saved)
    }

    fn backward(
        dy: Vec<f32>,
        saved: &Saved,
        spans: &Spans,
        unit: f64,
        students: [&Slot; 2],
        g: &mut Grads,
    ) {
        let scale = -2.0 * dy[0] * unit as f32;
        for (products, frames) in saved.products.iter().zip(spans.iter()) {
            for (student, product) in students.into_iter().zip(products) {
                let d = &mut g.at(student)[frames.start * saved.width..][..product.len()];
                zip(d, product, |d, product| *d += scale * product);
            }
        }
    }
}

/// The frames of one row.
#[derive(Clone, Copy)]
struct Row<'a> {
    numbers: &'a [f32],
    width: usize,
}

impl<'a> Row<'a> {
    fn of(x: &'a Matrix, frames: &Range<usize>) -> Row<'a> {
        let width = dimensions(x).1;
        Row {
            numbers: &read(x)[frames.start * width..frames.end * width],
            width,
        }
    }

    /// Returns the frames from this one on.
    fn from(self, frame: usize) -> View<'a> {
        View::rows(&self.numbers[frame * self.width..], self.width)
    }
}

/// Returns Σ D² of a row of `n` frames and, to `retain`, D b and Dᵀ a.
fn difference(
    n: usize,
    [a, b]: [Row; 2],
    [target_a, target_b]: [Row; 2],
    retain: bool,
) -> (f64, [Vec<f32>; 2]) {
    let width = a.width;
    let retained = if retain { n * width } else { 0 };
    let mut squares = 0.0;
    let mut d = vec![0.0; BLOCK.min(n) * n];
    let mut da = vec![0.0; retained];
    let mut db = vec![0.0; retained];
    for from in (0..n).step_by(BLOCK) {
        let m = BLOCK.min(n - from);
        let block = &a.numbers[from * width..][..m * width];
        let minus_a: Vec<f32> = block.iter().map(|a| -a).collect();
        let square = |k: usize| Shape { m, n, k };
        gemm(
            Precision::F32,
            square(target_a.width),
            target_a.from(from),
            target_b.from(0).t(),
            Out::set(&mut d, n),
        );
        gemm(
            Precision::F32,
            square(width),
            View::rows(&minus_a, width),
            b.from(0).t(),
            Out::accumulate(&mut d, n),
        );
        squares += wide!(
            d[..m * n]
                .chunks_exact(n)
                .map(|d| sum(n, |i| d[i] * d[i]) as f64)
                .sum::<f64>()
        );
        if retain {
            let d = View::rows(&d, n);
            let rows = Shape { m, n: width, k: n };
            let to = Out::set(&mut da[from * width..], width);
            gemm(Precision::F32, rows, d, b.from(0), to);
            let columns = Shape {
                m: n,
                n: width,
                k: m,
            };
            let to = Out::accumulate(&mut db, width);
            gemm(Precision::F32, columns, d.t(), a.from(from), to);
        }
    }
    (squares, [da, db])
}

#[cfg(test)]
mod tests {
    use crate::allocated_bytes::peak_bytes;
    use crate::op::check::{Case, memory_grows_with};
    use crate::op::gram_distance;

    #[test]
    fn memory_grows_with_the_frames() {
        memory_grows_with(|frames| {
            let case = Case::new(&[frames], 8, &[]);
            let targets = case.x.clone();
            let run = || case.run(|x, _, _| gram_distance(x.clone(), x, &targets, &targets));
            peak_bytes(run).1
        });
    }
}
