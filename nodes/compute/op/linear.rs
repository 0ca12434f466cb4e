//! y = x wᵀ + b. x (frames, in), w (out, in), b (out), y (frames, out).
//! dx = dy w, dw = dyᵀ x, db = Σ dy.
#[cfg(feature = "cuda")]
pub mod cuda;
use crate::gemm::{Epilogue, Out, Precision, Shape, View, gemm, product};
use crate::parallel::{add, column_sums};
use crate::random::Key;
use crate::tensor::cpu::{Hidden, Param, Track, read, record_hidden};

pub fn linear<T: Track>(x: Hidden<T>, w: &Param, b: &Param, precision: Precision) -> Hidden<T> {
    let (x, tape) = x.split();
    let (frames, width, out) = (x.spans.total(), x.width(), read(b).len());
    let y = affine(
        precision,
        x.read(),
        read(w),
        read(b),
        Shape {
            m: frames,
            n: out,
            k: width,
        },
    );

    let (w, b, spans) = (w.clone(), b.clone(), x.spans.clone());
    record_hidden(y, out, spans, tape, move |dy, g| {
        weight_gradient(
            precision,
            &dy,
            x.read(),
            Out::add(g.of(&w), width),
            Shape {
                m: out,
                n: width,
                k: frames,
            },
        );
        add(g.of(&b), &column_sums(&dy, out));
        let (rows, weight) = (View::rows(&dy, out), View::rows(read(&w), width));
        gemm(
            precision,
            Shape {
                m: frames,
                n: width,
                k: out,
            },
            rows,
            weight,
            Out::add(g.of(&x.values), width),
        );
    })
}

/// x wᵀ + b, (frames, out): the shape's depth is the width of x.
pub fn affine(precision: Precision, x: &[f32], w: &[f32], b: &[f32], s: Shape) -> Vec<f32> {
    product(
        precision,
        s,
        View::rows(x, s.k),
        View::rows(w, s.k).t(),
        Epilogue::Bias(b),
    )
}

/// Weight (out, in) and bias before training, uniform in ±1/√in, as PyTorch's Linear.
pub fn linear_start(key: Key, counter: u64, width: usize, out: usize) -> [Vec<f32>; 2] {
    let (n, bound) = (width * out, 1.0 / (width as f32).sqrt());
    let draw = |i: usize| bound * (2.0 * key.uniform(counter, i as u64) - 1.0);
    [(0..n).map(draw).collect(), (n..n + out).map(draw).collect()]
}

/// dyᵀ x, (out, in), summed over frames: the shape's depth.
pub fn weight_gradient(precision: Precision, dy: &[f32], x: &[f32], to: Out, s: Shape) {
    gemm(
        precision,
        s,
        View::rows(dy, s.m).t(),
        View::rows(x, s.n),
        to,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check;
    use crate::op::check::{Case, ROWS, WIDTHS, close};

    #[test]
    fn linear_is_its_formula_and_its_gradient() {
        for width in WIDTHS {
            let case = Case::new(&ROWS, width, &[17 * width, 17]);
            let reference = check::affine(&case.frames(), width, &case.p[0], &case.p[1]);
            close(
                linear(case.x.clone(), &case.p[0], &case.p[1], Precision::F32).read(),
                &reference,
                1e-5,
            );
            case.check(|x, p, _| linear(x, &p[0], &p[1], Precision::F32).values);
        }
        Case::new(&[], 5, &[15, 3]).check(|x, p, _| linear(x, &p[0], &p[1], Precision::F32).values);
    }
}
