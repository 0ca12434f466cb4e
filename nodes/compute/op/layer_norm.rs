//! y = γ ∘ x̂ + β with x̂ = (x - m) r, over each frame: m its mean, r = 1 / sqrt(variance + eps).
//! x, y (frames, width), γ, β (width).
//!
//! Mean and variance may be over more channels than x has: those beyond the width are absent because
//! they are zero ([`super::norm_projection`]). With `over` channels, a = γ ∘ dy, and dp the gradient
//! of p = -m r where something uses it:
//!   dx = r (a - (Σ a + dp) / over - x̂ (Σ a ∘ x̂ + p dp) / over), dγ = Σ dy ∘ x̂, dβ = Σ dy.
pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
use crate::gemm::Precision;
use crate::tensor::{DeviceStorage, Grads, Hidden, Matrix, NoneTape, Param, Track, record_hidden};

/// What a device must do for [`layer_norm`].
pub trait LayerNormDevice: DeviceStorage {
    /// What the backward pass needs beside x, γ and β.
    type Saved: 'static;

    /// Returns y. A device may write y in the format of `precision` in the same pass.
    fn forward(
        x: &Matrix<NoneTape, Self>,
        gamma_beta: [&Param<Self>; 2],
        eps: f32,
        precision: Precision,
    ) -> (Matrix<NoneTape, Self>, Self::Saved);

    /// Adds to the gradients of x, γ and β.
    fn backward(
        dy: Self::Upstream,
        x: &Matrix<NoneTape, Self>,
        gamma_beta: [&Param<Self>; 2],
        saved: &Self::Saved,
        g: &mut Grads<Self>,
    );
}

/// Normalises each frame. `precision` is that of the products that will read y.
pub fn layer_norm<T: Track<D>, D: LayerNormDevice>(
    x: Hidden<T, D>,
    gamma: &Param<D>,
    beta: &Param<D>,
    eps: f32,
    precision: Precision,
) -> Hidden<T, D> {
    let (x, tape) = x.split();
    let (y, saved) = D::forward(&x.values, [gamma, beta], eps, precision);
    let gamma = gamma.clone();
    let beta = beta.clone();
    record_hidden(y, x.spans, tape, move |dy, g| {
        D::backward(dy, &x.values, [&gamma, &beta], &saved, g);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, WIDTHS, check_op, close, norm};

    #[test]
    fn layer_norm_is_its_formula_and_its_gradient() {
        for width in WIDTHS {
            let case = Case::new(&ROWS, width, &[width, width]);
            let p = &case.p;
            let reference: Vec<f64> = case
                .frames()
                .chunks(width)
                .flat_map(|x| norm(x, &p[0], &p[1], 1e-2, width).0)
                .collect();
            let y = layer_norm(case.x.clone(), &p[0], &p[1], 1e-2, Precision::F32);
            close(y.read(), &reference, 1e-5);
        }
        for (rows, width) in [(&ROWS[..], 5), (&ROWS, 7), (&ROWS, 140), (&[150, 40], 8)] {
            let case = Case::new(rows, width, &[width, width]);
            check_op!(case, |x, p, _, precision| {
                layer_norm(x, &p[0], &p[1], 1e-2, precision).values
            });
        }
        let case = Case::new(&[150, 40], 7, &[7, 7]);
        case.check(|x, p, _| layer_norm(x, &p[0], &p[1], 1e-5, Precision::F32).values);
    }
}
