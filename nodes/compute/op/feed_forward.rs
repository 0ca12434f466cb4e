//! y = (drop(GELU(x w1ᵀ + b1)) ∘ gate) w2ᵀ + b2.
//! x, y (frames, width), w1 (inner, width), w2 (width, inner), gate (inner).
//!
//! With z = x w1ᵀ + b1, h = drop(GELU(z)) ∘ gate, dh = dy w2 and dz = dh ∘ gate ∘ drop ∘ GELU'(z):
//!   dw2 = dyᵀ h, db2 = Σ dy, dgate = Σ dh ∘ drop(GELU(z)), dw1 = dzᵀ x, db1 = Σ dz, dx = dz w1.
//! Of the numbers (frames, inner) only z is saved; the backward pass computes h again.
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
use super::gate;
use super::passes::{Affine, Passes};
use super::residual_norm::{Branch, OutputRule, ResidualNormDevice, SubLayer};
use crate::gemm::Precision;
use crate::math::Dropout;
use crate::tensor::{Grads, Hidden, Param, Slot, Track, Vector, len};

/// What a device must do for [`feed_forward`].
pub trait FeedForwardDevice: ResidualNormDevice {
    /// What the backward pass needs to compute the activation again.
    type Activation: 'static;

    /// Returns the output and, if `saves`, what the backward pass needs.
    fn feed_forward(
        layer: &FeedForward<Self>,
        x: &Self::Operand,
        saves: bool,
    ) -> (Self::Output, Self::Activation);

    /// Adds to the gradients of w2, b1, the gate, w1 and, behind the slot, x.
    fn add_feed_forward_gradients(
        layer: &FeedForward<Self>,
        dy: &Self::Operand,
        saved: Self::Activation,
        x: &Self::Operand,
        slot: &Slot<Self>,
        g: &mut Grads<Self>,
    );
}

/// The parameters of one call of [`feed_forward`].
pub struct FeedForward<D: Passes> {
    w1: Param<D>,
    b1: Param<D>,
    w2: Param<D>,
    b2: Param<D>,
    gate: Option<Param<D>>,
    drop: Dropout,
    precision: Precision,
    /// Shape of the first product.
    up: Affine,
}

impl<D: Passes> FeedForward<D> {
    /// Returns the shape of the second product.
    fn down(&self) -> Affine {
        Affine {
            frames: self.up.frames,
            width: self.up.out,
            out: self.up.width,
        }
    }
}

/// Applies a linear map, GELU with dropout and a gate, and a second linear map to every frame.
pub fn feed_forward<T: Track<D>, D: FeedForwardDevice>(
    x: Hidden<T, D>,
    [w1, b1, w2, b2]: [&Param<D>; 4],
    gate: Option<&Vector<T, D>>,
    drop: Dropout,
    precision: Precision,
) -> Branch<T, D> {
    let (x, tape) = x.split();
    let (gate, tape) = gate::join(tape, gate);
    let up = Affine {
        frames: x.spans.total(),
        width: x.width(),
        out: len(b1),
    };
    let rows = D::operand(precision, &x.values);
    let layer = FeedForward {
        w1: w1.clone(),
        b1: b1.clone(),
        w2: w2.clone(),
        b2: b2.clone(),
        gate,
        drop,
        precision,
        up,
    };
    let (output, saved) = D::feed_forward(&layer, &rows, T::OWNS_TAPE);

    let slot = Slot::of(&x.values);
    let shape = layer.down();
    let accumulate = move |dy: &D::Operand, g: &mut Grads<D>| {
        D::add_feed_forward_gradients(&layer, dy, saved, &rows, &slot, g);
    };
    let rule = OutputRule {
        bias: b2.clone(),
        shape,
        precision,
        accumulate: Box::new(accumulate),
    };
    let sub_layer = SubLayer {
        output,
        spans: x.spans,
        rule,
    };
    Branch::Product(Box::new(sub_layer), tape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{self, Case, DROP, ROWS, WIDTHS, check_op, close};
    use crate::tensor::cpu::read;
    use crate::tensor::put;

    fn case(width: usize, inner: usize) -> Case {
        let weights = inner * width;
        Case::new(&ROWS, width, &[weights, inner, weights, width, inner])
    }

    #[test]
    fn feed_forward_is_its_formula_and_its_gradient() {
        const INNER: usize = 19;
        for width in WIDTHS {
            let case = case(width, INNER);
            let p = &case.p;
            let gate = read(&p[4]);
            let hidden: Vec<f64> = check::affine(&case.frames(), width, &p[0], &p[1])
                .into_iter()
                .enumerate()
                .map(|(i, z)| check::gelu(z) * DROP.factor(i) as f64 * gate[i % INNER] as f64)
                .collect();
            let weights = [&p[0], &p[1], &p[2], &p[3]];
            let y = feed_forward(case.x.clone(), weights, Some(&p[4]), DROP, Precision::F32);
            let reference = check::affine(&hidden, INNER, &p[2], &p[3]);
            close(y.whole().read(), &reference, 1e-5);
        }
        for (width, inner) in [(5, 19), (7, 19), (11, 19), (8, 36)] {
            let case = case(width, inner);
            check_op!(case, |x, p, tape, precision| {
                let weights = [&p[0], &p[1], &p[2], &p[3]];
                let gate = put(&p[4], tape);
                let y = feed_forward(x, weights, Some(&gate), DROP, precision);
                y.whole().values
            });
            check_op!(case, |x, p, _, precision| {
                let weights = [&p[0], &p[1], &p[2], &p[3]];
                let y = feed_forward(x, weights, None, Dropout::NONE, precision);
                y.whole().values
            });
        }
    }
}
