//! y = (drop(GELU(x w1ᵀ + b1)) ∘ gate) w2ᵀ + b2.
//! x, y (frames, width), w1 (inner, width), w2 (width, inner), gate (inner).
//!
//! Only z = x w1ᵀ + b1 is kept. GELU and dropout run on each tile of z while it is in cache; backward computes them
//! again on the tiles of dh = dy w2, giving dz = dh ∘ drop ∘ GELU'(z) in place and h for dw2 = dyᵀ h. The gate is part
//! of w2 (op/gate.rs).
#[cfg(feature = "cuda")]
pub mod cuda;
use super::gate;
use super::passes::cpu::{affine, weight_gradient};
use super::residual_norm::Branch;
use crate::gemm::{Epilogue, Out, Precision, Shape, View, gemm, product};
use crate::math::Dropout;
use crate::parallel::{Shared, add, column_sums};
use crate::tensor::cpu::{Hidden, Param, Track, Vector, read, record_hidden};
use std::borrow::Cow;

pub fn feed_forward<T: Track>(
    x: Hidden<T>,
    [w1, b1, w2, b2]: [&Param; 4],
    gate: Option<&Vector<T>>,
    drop: Dropout,
    precision: Precision,
) -> Branch<T> {
    let (x, tape) = x.split();
    let (gate, tape) = gate::join(tape, gate);
    let (frames, width, inner) = (x.spans.total(), x.width(), read(b1).len());
    let up = Shape {
        m: frames,
        n: inner,
        k: width,
    };
    let down = Shape {
        m: frames,
        n: width,
        k: inner,
    };

    let kept = if T::OWNS_TAPE { frames * inner } else { 0 };
    let mut z = Vec::with_capacity(kept);
    let then = Epilogue::BiasGelu {
        bias: read(b1),
        keep: T::OWNS_TAPE.then(|| Shared::spare(&mut z)),
        drop,
    };
    let h = product(
        precision,
        up,
        View::rows(x.read(), width),
        View::rows(read(w1), width).t(),
        then,
    );
    // SAFETY: what is kept is kept of every number.
    unsafe { z.set_len(kept) };
    let y = affine(precision, &h, &with_gate(w2, gate.as_ref()), read(b2), down);

    let ([w1, b1, w2, b2], spans) = ([w1, b1, w2, b2].map(Param::clone), x.spans.clone());
    let y = record_hidden(y, width, spans, tape, move |dy, g| {
        let mut h = z;
        let then = Epilogue::GeluSlope {
            z: Shared::new(&mut h),
            width: inner,
            drop,
        }; // z becomes h
        let gated = with_gate(&w2, gate.as_ref());
        let dz = product(
            precision,
            up,
            View::rows(&dy, width),
            View::rows(&gated, inner),
            then,
        );
        let second = Shape {
            m: width,
            n: inner,
            k: frames,
        };
        match &gate {
            None => weight_gradient(precision, &dy, &h, Out::add(g.of(&w2), inner), second),
            Some(gate) => {
                let (dy, h) = (View::rows(&dy, width).t(), View::rows(&h, inner));
                let mut d = product(precision, second, dy, h, Epilogue::None);
                gate::pull(read(&w2), &mut d, gate, g.of(gate));
                add(g.of(&w2), &d);
            }
        }
        std::mem::drop(h);
        add(g.of(&b2), &column_sums(&dy, width));
        weight_gradient(
            precision,
            &dz,
            x.read(),
            Out::add(g.of(&w1), width),
            Shape {
                m: inner,
                n: width,
                k: frames,
            },
        );
        add(g.of(&b1), &column_sums(&dz, inner));
        gemm(
            precision,
            down,
            View::rows(&dz, inner),
            View::rows(read(&w1), width),
            Out::add(g.of(&x.values), width),
        );
    });
    Branch::of(y)
}

/// w2 ∘ gate
fn with_gate<'a>(w2: &'a Param, gate: Option<&Param>) -> Cow<'a, [f32]> {
    gate.map_or_else(
        || read(w2).into(),
        |gate| gate::times(read(w2), gate).into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check;
    use crate::op::check::{Case, DROP, ROWS, WIDTHS, close, gelu};
    use crate::tensor::cpu::put;

    const INNER: usize = 19;

    #[test]
    fn feed_forward_is_its_formula_and_its_gradient() {
        for width in WIDTHS {
            let case = Case::new(
                &ROWS,
                width,
                &[INNER * width, INNER, INNER * width, width, INNER],
            );
            let p = &case.p;
            let hidden = check::affine(&case.frames(), width, &p[0], &p[1])
                .into_iter()
                .enumerate();
            let hidden: Vec<f64> = hidden
                .map(|(i, z)| gelu(z) * DROP.factor(i) as f64 * read(&p[4])[i % INNER] as f64)
                .collect();
            let four = [&p[0], &p[1], &p[2], &p[3]];
            let y = feed_forward(case.x.clone(), four, Some(&p[4]), DROP, Precision::F32).whole();
            close(y.read(), &check::affine(&hidden, INNER, &p[2], &p[3]), 1e-5);
            case.check(|x, p, tape| {
                feed_forward(
                    x,
                    [&p[0], &p[1], &p[2], &p[3]],
                    Some(&put(&p[4], tape)),
                    DROP,
                    Precision::F32,
                )
                .whole()
                .values
            });
            case.check(|x, p, _| {
                feed_forward(
                    x,
                    [&p[0], &p[1], &p[2], &p[3]],
                    None,
                    Dropout::NONE,
                    Precision::F32,
                )
                .whole()
                .values
            });
        }
    }
}
