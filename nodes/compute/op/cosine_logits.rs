//! y_tc = cos(z_t, e_c) / τ, the logits of HuBERT's pre-training (Hsu et al. 2021, section II-B). z (frames, width),
//! e (classes, width), y (frames, classes).
//!
//! With the unit vectors u = z / |z| and v = e / |e|: y = u vᵀ / τ, du = dy v / τ, dv = dyᵀ u / τ, and for each row
//! dz = (du - (du·u) u) / |z|, likewise de. As in PyTorch each norm is at least 1e-8.
#[cfg(feature = "cuda")]
pub mod cuda;
use crate::gemm::{Epilogue, Precision, Shape, View, product};
use crate::math::sum;
use crate::parallel::{map, parts, wide};
use crate::tensor::cpu::{Hidden, Param, Track, read, record_hidden};

const LEAST_NORM: f32 = 1e-8;

pub fn cosine_logits<T: Track>(z: Hidden<T>, e: &Param, temperature: f32) -> Hidden<T> {
    let (z, tape) = z.split();
    let (frames, width, spans, unit) = (
        z.spans.total(),
        z.width(),
        z.spans.clone(),
        1.0 / temperature,
    );
    let classes = read(e).len() / width;
    let (u, v) = (Units::of(z.read(), width), Units::of(read(e), width));
    let shape = Shape {
        m: frames,
        n: classes,
        k: width,
    };
    let (rows, columns) = (
        View::rows(&u.values, width),
        View::rows(&v.values, width).t(),
    );
    let mut y = product(Precision::F32, shape, rows, columns, Epilogue::None);
    scale(&mut y, unit);
    let e = e.clone();
    record_hidden(y, classes, spans, tape, move |mut dy, g| {
        scale(&mut dy, unit);
        let shape = Shape {
            m: frames,
            n: width,
            k: classes,
        };
        let (rows, columns) = (View::rows(&dy, classes), View::rows(&v.values, width));
        let du = product(Precision::F32, shape, rows, columns, Epilogue::None);
        u.pull(&du, g.of(&z.values));
        let shape = Shape {
            m: classes,
            n: width,
            k: frames,
        };
        let (rows, columns) = (View::rows(&dy, classes).t(), View::rows(&u.values, width));
        let dv = product(Precision::F32, shape, rows, columns, Epilogue::None);
        v.pull(&dv, g.of(&e));
    })
}

fn scale(x: &mut [f32], by: f32) {
    parts(x, 1 << 14, |_, x| {
        wide!(x.iter_mut().for_each(|x| *x *= by))
    });
}

/// Rows divided by their norms.
struct Units {
    values: Vec<f32>,
    norms: Vec<f32>,
    width: usize,
}

impl Units {
    fn of(x: &[f32], width: usize) -> Units {
        let row = |t: usize| &x[t * width..(t + 1) * width];
        let norm = |t: usize| {
            wide!(sum(width, |i| row(t)[i] * row(t)[i]))
                .sqrt()
                .max(LEAST_NORM)
        };
        let norms = map(x.len() / width, norm);
        let mut values = x.to_vec();
        parts(&mut values, width, |t, u| {
            u.iter_mut().for_each(|u| *u /= norms[t])
        });
        Units {
            values,
            norms,
            width,
        }
    }
    /// dx += (du - (du·u) u) / |x|, row by row
    fn pull(&self, du: &[f32], dx: &mut [f32]) {
        let width = self.width;
        parts(dx, width, |t, dx| {
            let [u, du] = [&self.values, du].map(|x| &x[t * width..(t + 1) * width]);
            let scale = 1.0 / self.norms[t];
            wide!({
                let along = sum(width, |i| du[i] * u[i]);
                dx.iter_mut()
                    .zip(du)
                    .zip(u)
                    .for_each(|((d, du), u)| *d += scale * (du - along * u));
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, WIDTHS, close};
    use crate::tensor::cpu::{Spans, Tape, backward, hidden, param};

    #[test]
    fn cosine_logits_are_their_formula_and_its_gradient() {
        for width in WIDTHS {
            let case = Case::new(&ROWS, width, &[9 * width]);
            let embeddings: Vec<f64> = read(&case.p[0]).iter().map(|e| *e as f64).collect();
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let cosine = |z: &[f64], e: &[f64]| dot(z, e) / (dot(z, z) * dot(e, e)).sqrt() / 0.1;
            let row = |z: &[f64]| {
                embeddings
                    .chunks(width)
                    .map(|e| cosine(z, e))
                    .collect::<Vec<_>>()
            };
            let reference: Vec<f64> = case.frames().chunks(width).flat_map(row).collect();
            close(
                cosine_logits(case.x.clone(), &case.p[0], 0.1).read(),
                &reference,
                1e-6,
            );
            case.check(|x, p, _| cosine_logits(x, &p[0], 1.0).values);
        }
        Case::new(&[], 5, &[15]).check(|x, p, _| cosine_logits(x, &p[0], 0.1).values);
    }

    #[test]
    fn a_frame_of_zeros_has_logits_and_gradients() {
        let (x, e) = (
            hidden(vec![0.0; 3], 3, Spans::new([1])),
            param(vec![1.0, 2.0, 2.0, 0.0, 0.0, 0.0]),
        );
        let y = cosine_logits(x.on(&Tape::default()), &e, 0.1);
        assert_eq!(y.read(), [0.0, 0.0]);
        let mut g = backward(crate::op::cpu::mean_square(y), 1.0);
        assert!(
            g.take(&x.values)
                .iter()
                .chain(&g.take(&e))
                .all(|d| d.is_finite())
        );
    }
}
