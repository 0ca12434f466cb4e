//! y = GELU(x) ∘ gate ∘ fixed, the output of the last convolution. x, y (frames, width), gate, fixed (width).
//! dx = dy ∘ gate ∘ fixed ∘ GELU'(x), dgate = Σ dy ∘ GELU(x) ∘ fixed.
#[cfg(feature = "cuda")]
pub mod cuda;
use super::gate;
use crate::math::{gelu, gelu_both};
use crate::parallel::{FRAMES, add, column_sums, parts, parts2, wide};
use crate::tensor::cpu::{Hidden, Param, Track, Vector, read, record_hidden};

/// `fixed` is a constant: it gets no gradient.
pub fn gelu_gate<T: Track>(
    x: Hidden<T>,
    gate: Option<&Vector<T>>,
    fixed: Option<&Param>,
) -> Hidden<T> {
    let (x, tape) = x.split();
    let (gate, tape) = gate::join(tape, gate);
    let (width, spans) = (x.width(), x.spans.clone());
    let fixed = fixed.map_or_else(|| vec![1.0; width], |fixed| read(fixed).to_vec());
    let factor = gate
        .as_ref()
        .map_or_else(|| fixed.clone(), |gate| gate::times(&fixed, gate));
    let mut y = vec![0.0; x.read().len()];
    let xs = x.read();
    parts(&mut y, width, |frame, y| {
        wide!({
            for ((y, x), factor) in y.iter_mut().zip(&xs[frame * width..]).zip(&factor) {
                *y = gelu(*x) * factor;
            }
        })
    });
    record_hidden(y, width, spans, tape, move |dy, g| {
        let mut sums = vec![0.0; dy.len().div_ceil(FRAMES * width) * width];
        let xs = x.read();
        parts2(
            (g.of(&x.values), FRAMES * width),
            (&mut sums, width),
            |part, dx, sums| {
                wide!({
                    for (i, dx) in dx.chunks_exact_mut(width).enumerate() {
                        let at = (part * FRAMES + i) * width;
                        let frame = dx
                            .iter_mut()
                            .zip(&dy[at..at + width])
                            .zip(&xs[at..at + width]);
                        for (((dx, dy), x), (sum, factor)) in
                            frame.zip(sums.iter_mut().zip(&factor))
                        {
                            let (h, slope) = gelu_both(*x);
                            *dx += dy * slope * factor;
                            *sum += dy * h;
                        }
                    }
                })
            },
        );
        if let Some(gate) = &gate {
            let mut dgate = column_sums(&sums, width);
            dgate
                .iter_mut()
                .zip(&fixed)
                .for_each(|(d, fixed)| *d *= fixed);
            add(g.of(gate), &dgate);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check;
    use crate::op::check::{Case, ROWS, WIDTHS, close};
    use crate::tensor::cpu::put;

    #[test]
    fn gelu_gate_is_its_formula_and_its_gradient() {
        for width in WIDTHS {
            let case = Case::new(&ROWS, width, &[width, width]);
            let [gate, fixed] = [0, 1].map(|i| read(&case.p[i]));
            let reference = |gate: &dyn Fn(usize) -> f32| -> Vec<f64> {
                case.frames()
                    .iter()
                    .enumerate()
                    .map(|(i, x)| check::gelu(*x) * gate(i % width) as f64)
                    .collect()
            };
            let y = gelu_gate(case.x.clone(), Some(&case.p[0]), Some(&case.p[1]));
            close(y.read(), &reference(&|i| gate[i] * fixed[i]), 1e-5);
            close(
                gelu_gate(case.x.clone(), None, None).read(),
                &reference(&|_| 1.0),
                1e-5,
            );
            let fixed = case.p[1].clone();
            case.check(|x, p, tape| gelu_gate(x, Some(&put(&p[0], tape)), Some(&fixed)).values);
            case.check(|x, _, _| gelu_gate(x, None, Some(&fixed)).values);
        }
    }
}
