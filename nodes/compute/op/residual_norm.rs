//! y = LN(x + drop(r)): [`super::residual`], then [`super::layer_norm`], which a GPU fuses.
//! x, r, y (frames, width). r is what a sub-layer adds to its input ([`Branch`]).
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
use super::elementwise::residual;
use super::layer_norm::{LayerNormDevice, layer_norm};
use super::passes::{Affine, Passes};
use crate::gemm::Precision;
use crate::math::Dropout;
use crate::tensor::{
    Device, Grads, Hidden, Matrix, NoneTape, Param, Spans, Track, len, record_hidden,
};

/// What a device must do for [`Branch`] and [`residual_norm`].
pub trait ResidualNormDevice: LayerNormDevice + Passes {
    /// The output of a sub-layer's last product: on a GPU in the format of products and without its
    /// bias.
    type Output: 'static;

    /// Returns the output in f32, with its bias.
    fn finish(output: Self::Output, rule: &OutputRule<Self>) -> Matrix<NoneTape, Self>;

    /// Returns LN(x + drop(r)) for the r that `sub_layer` leaves.
    fn residual_norm<T: Track<Self>>(
        x: Hidden<T, Self>,
        sub_layer: SubLayer<Self>,
        tape: T,
        drop: Dropout,
        gamma_beta: [&Param<Self>; 2],
        eps: f32,
        precision: Precision,
    ) -> Hidden<T, Self>;
}

/// What a sub-layer adds to its input.
pub enum Branch<T, D: ResidualNormDevice = Device> {
    Whole(Hidden<T, D>),
    /// The output as the last product left it, until it is added.
    Product(Box<SubLayer<D>>, T),
}

/// A sub-layer's output and how to accumulate gradients from that of the output.
pub struct SubLayer<D: ResidualNormDevice> {
    pub output: D::Output,
    pub spans: Spans,
    pub rule: OutputRule<D>,
}

/// The backward pass of a sub-layer from its last product on.
pub struct OutputRule<D: Passes> {
    pub bias: Param<D>,
    /// Shape of the last product.
    pub shape: Affine,
    pub precision: Precision,
    pub accumulate: Box<Accumulate<D>>,
}

/// Accumulates the gradients of everything before the bias, from the output's.
type Accumulate<D> = dyn FnOnce(&<D as Passes>::Operand, &mut Grads<D>);

impl<D: Passes> OutputRule<D> {
    /// Accumulates all gradients of the sub-layer.
    fn backward(self, dy: &D::Operand, g: &mut Grads<D>) {
        D::add_operand_sums(self.precision, dy, self.shape, g.of(&self.bias));
        (self.accumulate)(dy, g);
    }
}

impl<T: Track<D>, D: ResidualNormDevice> Branch<T, D> {
    /// Takes a tensor as a sub-layer's output.
    pub fn of(x: Hidden<T, D>) -> Self {
        Branch::Whole(x)
    }

    /// Returns the output in f32, with its bias.
    pub fn whole(self) -> Hidden<T, D> {
        let (sub_layer, tape) = match self {
            Branch::Whole(x) => return x,
            Branch::Product(sub_layer, tape) => (*sub_layer, tape),
        };
        let rule = sub_layer.rule;
        let y = D::finish(sub_layer.output, &rule);
        let numbers = len(&y);
        record_hidden(y, sub_layer.spans, tape, move |dy, g| {
            let dy = D::gradient(rule.precision, dy, numbers);
            rule.backward(&dy, g);
        })
    }
}

/// Adds a sub-layer's output to its input and normalises the sum.
pub fn residual_norm<T: Track<D>, D: ResidualNormDevice>(
    x: Hidden<T, D>,
    branch: Branch<T, D>,
    drop: Dropout,
    gamma_beta: [&Param<D>; 2],
    eps: f32,
    precision: Precision,
) -> Hidden<T, D> {
    match branch {
        Branch::Whole(r) => {
            let sum = residual(x, r, drop);
            layer_norm(sum, gamma_beta[0], gamma_beta[1], eps, precision)
        }
        Branch::Product(sub_layer, tape) => {
            D::residual_norm(x, *sub_layer, tape, drop, gamma_beta, eps, precision)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, DROP, ROWS, check_op};
    use crate::op::{dropout, feed_forward};

    #[test]
    fn residual_norm_has_the_gradient_of_its_values() {
        for (width, inner) in [(5, 7), (12, 8)] {
            let weights = inner * width;
            let sizes = [width, width, weights, inner, weights, width];
            let case = Case::new(&ROWS, width, &sizes);
            check_op!(case, |x, p, _, precision| {
                let weights = [&p[2], &p[3], &p[4], &p[5]];
                let branch = feed_forward(x.clone(), weights, None, DROP.fork(0), precision);
                let x = residual_norm(x, branch, DROP, [&p[0], &p[1]], 1e-2, precision);
                let branch = Branch::of(dropout(x.clone(), DROP.fork(1)));
                residual_norm(x, branch, DROP.fork(2), [&p[1], &p[0]], 1e-2, precision).values
            });
        }
    }
}
