//! y = GELU(x) ∘ gate ∘ fixed, the output of the last convolution.
//! x, y (frames, width), gate, fixed (width).
//! dx = dy ∘ gate ∘ fixed ∘ GELU'(x), dgate = Σ dy ∘ GELU(x) ∘ fixed.
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
use super::gate;
use crate::tensor::{
    DeviceStorage, Grads, Hidden, Matrix, NoneTape, Param, Track, Vector, record_hidden,
};

/// What a device must do for [`gelu_gate`].
pub trait GeluGateDevice: DeviceStorage {
    /// The factors of each channel as the backward pass reads them.
    type Factors: 'static;

    /// Returns y and the factors of its channels.
    fn forward(
        x: &Matrix<NoneTape, Self>,
        gate: Option<&Param<Self>>,
        fixed: Option<&Param<Self>>,
    ) -> (Matrix<NoneTape, Self>, Self::Factors);

    /// Adds to the gradients of x and the gate.
    fn backward(
        dy: Self::Upstream,
        x: &Matrix<NoneTape, Self>,
        gate: Option<&Param<Self>>,
        factors: &Self::Factors,
        g: &mut Grads<Self>,
    );
}

/// Applies GELU and two factors a channel, of which `fixed` is a constant without a gradient.
pub fn gelu_gate<T: Track<D>, D: GeluGateDevice>(
    x: Hidden<T, D>,
    gate: Option<&Vector<T, D>>,
    fixed: Option<&Param<D>>,
) -> Hidden<T, D> {
    let (x, tape) = x.split();
    let (gate, tape) = gate::join(tape, gate);
    let (y, factors) = D::forward(&x.values, gate.as_ref(), fixed);
    record_hidden(y, x.spans, tape, move |dy, g| {
        D::backward(dy, &x.values, gate.as_ref(), &factors, g);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{self, Case, ROWS, WIDTHS, check_op, close, noise};
    use crate::tensor::cpu::read;
    use crate::tensor::put;

    #[test]
    fn gelu_gate_is_its_formula_and_its_gradient() {
        for width in WIDTHS {
            let case = Case::new(&ROWS, width, &[width, width]);
            let gate = read(&case.p[0]);
            let fixed = read(&case.p[1]);
            let reference = |factor: &dyn Fn(usize) -> f32| -> Vec<f64> {
                let numbers = case.frames().into_iter().enumerate();
                numbers
                    .map(|(i, x)| check::gelu(x) * factor(i % width) as f64)
                    .collect()
            };
            let y = gelu_gate(case.x.clone(), Some(&case.p[0]), Some(&case.p[1]));
            close(y.read(), &reference(&|i| gate[i] * fixed[i]), 1e-5);
            let y = gelu_gate(case.x.clone(), None, None);
            close(y.read(), &reference(&|_| 1.0), 1e-5);
        }
        for width in [5, 7, 11, 12] {
            let case = Case::new(&ROWS, width, &[width]);
            let fixed = noise("fixed", width);
            check_op!(case, |x, p, tape, _| {
                gelu_gate(x, Some(&put(&p[0], tape)), Some(&param(fixed.clone()))).values
            });
            check_op!(case, |x, _, _, _| {
                gelu_gate(x, None, Some(&param(fixed.clone()))).values
            });
            check_op!(case, |x, _, _, _| gelu_gate(x, None, None).values);
        }
    }
}
