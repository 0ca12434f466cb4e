//! y_tc = cos(z_t, e_c) / τ, the logits of HuBERT's pre-training (Hsu et al. 2021, section II-B).
//! z (frames, width), e (classes, width), y (frames, classes).
//!
//! With the unit vectors u = z / |z| and v = e / |e|: y = u vᵀ / τ, du = dy v / τ, dv = dyᵀ u / τ,
//! and for each row dz = (du - (du·u) u) / |z|, likewise de. As in PyTorch each norm is at least
//! 1e-8.
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
use crate::tensor::{
    DeviceStorage, Grads, Hidden, Matrix, NoneTape, Param, Shape, Slot, Tensor, Track,
    record_hidden,
};

/// What a device must do for [`cosine_logits`].
pub trait CosineLogitsDevice: DeviceStorage {
    /// Rows divided by their norms, and the norms.
    type Units: 'static;

    /// Divides each row of x, (rows, width), by its norm.
    fn units<S: Shape>(x: &Tensor<S, f32, Self>, width: usize) -> Self::Units;

    /// Returns y = `factor` · u vᵀ.
    fn forward(u: &Self::Units, v: &Self::Units, factor: f32) -> Matrix<NoneTape, Self>;

    /// Adds to the gradients of z and e.
    fn backward(
        dy: Self::Upstream,
        u: &Self::Units,
        v: &Self::Units,
        factor: f32,
        z: &Slot<Self>,
        e: &Param<Self>,
        g: &mut Grads<Self>,
    );
}

/// Returns the cosine of each frame with each of the embeddings e, divided by `temperature`.
pub fn cosine_logits<T: Track<D>, D: CosineLogitsDevice>(
    z: Hidden<T, D>,
    e: &Param<D>,
    temperature: f32,
) -> Hidden<T, D> {
    let (z, tape) = z.split();
    let factor = 1.0 / temperature;
    let u = D::units(&z.values, z.width());
    let v = D::units(e, z.width());
    let y = D::forward(&u, &v, factor);
    let slot = Slot::of(&z.values);
    let e = e.clone();
    record_hidden(y, z.spans, tape, move |dy, g| {
        D::backward(dy, &u, &v, factor, &slot, &e, g);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, check_op, close};
    use crate::op::mean_square;
    use crate::tensor::Spans;
    use crate::tensor::cpu::{Tape, backward, hidden, param, read};

    #[test]
    fn cosine_logits_are_their_formula_and_its_gradient() {
        for width in [5, 7, 8, 11] {
            let case = Case::new(&ROWS, width, &[9 * width]);
            let embeddings: Vec<f64> = read(&case.p[0]).iter().map(|e| *e as f64).collect();
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let cosine = |z: &[f64], e: &[f64]| dot(z, e) / (dot(z, z) * dot(e, e)).sqrt();
            let mut reference = vec![];
            for z in case.frames().chunks(width) {
                reference.extend(embeddings.chunks(width).map(|e| cosine(z, e) / 0.1));
            }
            let y = cosine_logits(case.x.clone(), &case.p[0], 0.1);
            close(y.read(), &reference, 1e-6);
            for temperature in [1.0, 0.1] {
                check_op!(case, |x, p, _, _| {
                    cosine_logits(x, &p[0], temperature).values
                });
            }
        }
        let empty = Case::new(&[], 5, &[15]);
        check_op!(empty, |x, p, _, _| cosine_logits(x, &p[0], 0.1).values);
    }

    #[test]
    fn a_frame_of_zeros_has_logits_and_gradients() {
        let x = hidden(vec![0.0; 3], 3, Spans::new([1]));
        let e = param(vec![1.0, 2.0, 2.0, 0.0, 0.0, 0.0]);
        let y = cosine_logits(x.on(&Tape::default()), &e, 0.1);
        assert_eq!(y.read(), [0.0, 0.0]);
        let mut g = backward(mean_square(y), 1.0);
        let dx = g.take(&x.values);
        let de = g.take(&e);
        assert!(dx.iter().chain(&de).all(|d| d.is_finite()));
    }
}
