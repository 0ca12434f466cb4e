//! How the frames of a row relate to each other, a student's beside a teacher's: the temporal Gram matrices of
//! STaRHuBERT (Jang et al. 2024). For each row, (frames, frames):
//!   D = target_a target_bᵀ - a bᵀ
//! and over all rows, whose D have N entries together:
//!   y = Σ D² / N      da = -2/N D b      db = -2/N Dᵀ a
//! a, b (frames, width); the targets may have another width. With a = b it is the relation within a layer, with a the
//! layer before b that between layers. D is made a block of frames at a time, and its part of the gradients with it, so
//! that no block is kept or made again.
#[cfg(feature = "cuda")]
pub mod cuda;
use crate::gemm::{Out, Precision, Shape, View, gemm};
use crate::math::sum;
use crate::parallel::{map, wide, zip};
use crate::tensor::cpu::{Hidden, Number, Track, merge, record};

/// Frames whose relations to all frames of their row are held at once.
const BLOCK: usize = 256;

/// Without frames y is 0. `a` and `b` may be one tensor.
pub fn gram_distance<T: Track>(
    a: Hidden<T>,
    b: Hidden<T>,
    target_a: &Hidden,
    target_b: &Hidden,
) -> Number<T> {
    let ((a, tape), (b, other), spans) = (a.split(), b.split(), target_a.spans.clone());
    assert_eq!(
        (a.width(), target_a.width()),
        (b.width(), target_b.width()),
        "frames to relate differ in width"
    );
    assert!(
        [&a, &b, target_b].iter().all(|x| x.spans == spans),
        "student and target differ in frames"
    );
    let unit = 1.0 / spans.lengths().map(|n| n * n).sum::<usize>().max(1) as f64;
    let rows = map(spans.rows(), |row| {
        let frames = |x: &Hidden| spans.of(row).start * x.width()..spans.of(row).end * x.width();
        let [a, b, target_a, target_b] =
            [&a, &b, target_a, target_b].map(|x| (&x.read()[frames(x)], x.width()));
        difference(
            spans.of(row).len(),
            [a, b],
            [target_a, target_b],
            T::OWNS_TAPE,
        )
    });
    let y = rows.iter().map(|(squares, _)| squares).sum::<f64>() * unit;
    record(vec![y as f32], (), merge(tape, other), move |dy, g| {
        let scale = -2.0 * dy[0] * unit as f32;
        for ((_, pulls), frames) in rows.iter().zip(spans.iter()) {
            for (x, pull) in [&a, &b].into_iter().zip(pulls) {
                let d = &mut g.of(&x.values)[frames.start * x.width()..][..pull.len()];
                zip(d, pull, |d, pull| *d += scale * pull);
            }
        }
    })
}

/// The frames of one row, and their width.
type Frames<'a> = (&'a [f32], usize);

fn view((x, width): Frames, from: usize) -> View {
    View::rows(&x[from * width..], width)
}

/// Of a row of `n` frames: Σ D², and D b and Dᵀ a if they are to be `kept`.
fn difference(
    n: usize,
    [a, b]: [Frames; 2],
    [target_a, target_b]: [Frames; 2],
    kept: bool,
) -> (f64, [Vec<f32>; 2]) {
    let (mut squares, width) = (0.0, a.1);
    let mut d = vec![0.0; BLOCK.min(n) * n];
    let [mut da, mut db] = [0; 2].map(|_| vec![0.0; if kept { n * width } else { 0 }]);
    for from in (0..n).step_by(BLOCK) {
        let m = BLOCK.min(n - from);
        let minus: Vec<f32> = a.0[from * width..][..m * width]
            .iter()
            .map(|a| -a)
            .collect();
        let square = |k: usize| Shape { m, n, k };
        gemm(
            Precision::F32,
            square(target_a.1),
            view(target_a, from),
            view(target_b, 0).t(),
            Out::set(&mut d, n),
        );
        gemm(
            Precision::F32,
            square(width),
            View::rows(&minus, width),
            view(b, 0).t(),
            Out::add(&mut d, n),
        );
        squares += wide!(
            d[..m * n]
                .chunks_exact(n)
                .map(|d| sum(n, |i| d[i] * d[i]) as f64)
                .sum::<f64>()
        );
        if kept {
            let d = View::rows(&d, n);
            gemm(
                Precision::F32,
                Shape { m, n: width, k: n },
                d,
                view(b, 0),
                Out::set(&mut da[from * width..], width),
            );
            gemm(
                Precision::F32,
                Shape {
                    m: n,
                    n: width,
                    k: m,
                },
                d.t(),
                view(a, from),
                Out::add(&mut db, width),
            );
        }
    }
    (squares, [da, db])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, WIDTHS, close, noise};
    use crate::op::linear::linear;
    use crate::tensor::cpu::{Spans, hidden, read};

    fn of(name: &str, width: usize, spans: &Spans) -> Hidden {
        hidden(noise(name, spans.total() * width), width, spans.clone())
    }

    /// By definition, in f64.
    fn definition(pairs: [[&Hidden; 2]; 2]) -> f64 {
        let (mut squares, mut entries) = (0.0, 0.0);
        for row in pairs[0][0].spans.iter() {
            for (t, s) in row.clone().flat_map(|t| row.clone().map(move |s| (t, s))) {
                let [student, target] = pairs.map(|[a, b]| {
                    let frame =
                        |x: &Hidden, t: usize| x.read()[t * x.width()..][..x.width()].to_vec();
                    frame(a, t)
                        .iter()
                        .zip(frame(b, s))
                        .map(|(a, b)| *a as f64 * b as f64)
                        .sum::<f64>()
                });
                squares += (target - student).powi(2);
                entries += 1.0;
            }
        }
        squares / entries
    }

    #[test]
    fn gram_distance_is_its_formula_and_its_gradient() {
        for (rows, width) in WIDTHS
            .map(|width| (&ROWS[..], width))
            .into_iter()
            .chain([(&[3, BLOCK + 5, 0][..], 3)])
        {
            let case = Case::new(rows, width, &[width * width, width]);
            let (x, spans) = (&case.x, &case.x.spans);
            let (b, ta, tb) = (
                of("b", width, spans),
                of("ta", width + 2, spans),
                of("tb", width + 2, spans),
            );
            let two = gram_distance(x.clone(), b.clone(), &ta, &tb);
            close(read(&two), &[definition([[x, &b], [&ta, &tb]])], 1e-5);
            let one = gram_distance(x.clone(), x.clone(), &ta, &ta);
            close(read(&one), &[definition([[x, x], [&ta, &ta]])], 1e-5);
            case.check(|x, _, _| gram_distance(x.clone(), x, &ta, &ta));
            case.check(|x, p, _| {
                gram_distance(x.clone(), linear(x, &p[0], &p[1], Precision::F32), &ta, &tb)
            });
        }
    }

    #[test]
    fn no_frames_are_no_distance() {
        let none = hidden(vec![], 3, Spans::new([0, 0]));
        assert_eq!(
            read(&gram_distance(none.clone(), none.clone(), &none, &none)),
            [0.0]
        );
    }
}
