//! The gated linear unit (Dauphin et al. 2017): y = a ∘ σ(b) for x = (a, b) side by side.
//! x (frames, 2 width), y (frames, width).
//! da = dy ∘ σ(b), db = dy ∘ a ∘ σ(b) ∘ (1 - σ(b)).
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
use crate::tensor::{DeviceStorage, Hidden, Matrix, NoneTape, Slot, Track, record_hidden};

/// What a device must do for [`glu`].
pub trait GluDevice: DeviceStorage {
    /// Returns y.
    fn forward(x: &Matrix<NoneTape, Self>) -> Matrix<NoneTape, Self>;

    /// Adds to the gradient of x.
    fn backward(dy: Self::Upstream, x: &Matrix<NoneTape, Self>, dx: Self::Accumulator<'_>);
}

/// Gates the first half of each frame by the second.
pub fn glu<T: Track<D>, D: GluDevice>(x: Hidden<T, D>) -> Hidden<T, D> {
    let (x, tape) = x.split();
    assert!(x.width().is_multiple_of(2), "a frame has two halves");
    let slot = Slot::of(&x.values);
    record_hidden(D::forward(&x.values), x.spans, tape, move |dy, g| {
        D::backward(dy, &x.values, g.at(&slot));
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, check_op, close};

    #[test]
    fn glu_is_its_formula_and_its_gradient() {
        for width in [1, 5, 8, 40] {
            let case = Case::new(&ROWS, 2 * width, &[]);
            let mut reference = vec![];
            for frame in case.frames().chunks(2 * width) {
                let (a, b) = frame.split_at(width);
                let gated = a.iter().zip(b).map(|(a, b)| a / (1.0 + (-b).exp()));
                reference.extend(gated);
            }
            close(glu(case.x.clone()).read(), &reference, 1e-6);
            check_op!(case, |x, _, _, _| glu(x).values);
        }
    }
}
