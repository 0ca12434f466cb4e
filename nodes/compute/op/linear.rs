//! y = x wᵀ + b. x (frames, in), w (out, in), b (out), y (frames, out).
//! dx = dy w, dw = dyᵀ x, db = Σ dy.
use super::passes::{Affine, Passes};
use crate::gemm::Precision;
use crate::random::Key;
use crate::tensor::{Hidden, Param, Slot, Track, len, record_hidden};

/// Applies a linear map with bias to every frame.
pub fn linear<T: Track<D>, D: Passes>(
    x: Hidden<T, D>,
    w: &Param<D>,
    b: &Param<D>,
    precision: Precision,
) -> Hidden<T, D> {
    let (x, tape) = x.split();
    let shape = Affine {
        frames: x.spans.total(),
        width: x.width(),
        out: len(b),
    };
    let rows = D::operand(precision, &x.values);
    let weight = D::weight(precision, w);
    let y = D::affine(precision, &rows, &weight, b, shape);

    let slot = Slot::of(&x.values);
    let w = w.clone();
    let b = b.clone();
    record_hidden(y, x.spans, tape, move |dy, g| {
        let dy = D::gradient(precision, dy, shape.frames * shape.out);
        D::add_weight_gradient(precision, &dy, &rows, shape, g.of(&w));
        D::add_bias_gradient(&dy, shape, g.of(&b));
        D::add_input_gradient(precision, &dy, &weight, shape, g.at(&slot));
    })
}

/// Draws a weight (out, in) and a bias before training, uniform in ±1/√in, as PyTorch's Linear.
pub fn linear_start(key: Key, counter: u64, width: usize, out: usize) -> [Vec<f32>; 2] {
    let bound = 1.0 / (width as f32).sqrt();
    let draw = |i: usize| bound * (2.0 * key.uniform(counter, i as u64) - 1.0);
    let weights = width * out;
    [
        (0..weights).map(draw).collect(),
        (weights..weights + out).map(draw).collect(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{self, Case, ROWS, WIDTHS, check_op, close};

    #[test]
    fn linear_is_its_formula_and_its_gradient() {
        for width in WIDTHS {
            let case = Case::new(&ROWS, width, &[17 * width, 17]);
            let reference = check::affine(&case.frames(), width, &case.p[0], &case.p[1]);
            let y = linear(case.x.clone(), &case.p[0], &case.p[1], Precision::F32);
            close(y.read(), &reference, 1e-5);
        }
        for (rows, width, out) in [
            (&ROWS[..], 5, 17),
            (&ROWS, 7, 17),
            (&ROWS, 8, 20),
            (&[], 5, 3),
        ] {
            let case = Case::new(rows, width, &[out * width, out]);
            check_op!(case, |x, p, _, precision| linear(
                x, &p[0], &p[1], precision
            )
            .values);
        }
    }
}
