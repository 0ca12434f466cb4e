//! y = b in every frame: what a sub-layer whose units are all pruned still adds.
//! b (width), y (frames, width). db = Σ dy.
use super::passes::{Affine, Passes};
use crate::gemm::Precision;
use crate::tensor::{Hidden, Param, Spans, Track, len, record_hidden};

/// Repeats a bias in every frame of a batch.
pub fn broadcast<T: Track<D>, D: Passes>(b: &Param<D>, spans: Spans, tape: T) -> Hidden<T, D> {
    let b = b.clone();
    let width = len(&b);
    let shape = Affine {
        frames: spans.total(),
        width,
        out: width,
    };
    let y = D::repeat(&b, shape.frames);
    record_hidden(y, spans, tape, move |dy, g| {
        let dy = D::gradient(Precision::F32, dy, shape.frames * width);
        D::add_bias_gradient(&dy, shape, g.of(&b));
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, WIDTHS, check_op, close};
    use crate::tensor::NoneTape;
    use crate::tensor::cpu::read;

    #[test]
    fn broadcast_is_its_formula_and_its_gradient() {
        for width in WIDTHS {
            let case = Case::new(&ROWS, width, &[width]);
            let spans = case.x.spans.clone();
            let row = read(&case.p[0]).iter().map(|b| *b as f64);
            let reference: Vec<f64> = (0..spans.total()).flat_map(|_| row.clone()).collect();
            close(
                broadcast(&case.p[0], spans.clone(), NoneTape).read(),
                &reference,
                1e-7,
            );
            check_op!(case, |_, p, tape, _| broadcast(
                &p[0],
                spans.clone(),
                tape.clone()
            )
            .values);
        }
    }
}
