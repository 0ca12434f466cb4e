//! [`crate::op::residual_norm`]: the sum is written where it is normed, and on the way back its gradient is nowhere.
use crate::cuda::gpu::{Address, Memory, for_each, gpu};
use crate::cuda::kernels::{self, Added, Pack};
use crate::cuda::mask::Mask;
use crate::cuda::product::Factor;
use crate::cuda::sums::add_narrow_sums;
use crate::gemm::Precision;
use crate::math::Dropout;
use crate::op::cuda::layer_norm;
use crate::op::layer_norm::cuda::Norm;
use crate::op::residual;
use crate::tensor::cuda::{Cuda, Param, Slot, address, record_hidden, zeros};
use crate::tensor::{Grads, Hidden, Spans, Track, merge};

/// [`crate::op::Branch`].
pub enum Branch<T> {
    Whole(Hidden<T, Cuda>),
    Product(Box<Product>, T),
}

/// The result of a sub-layer's last product, in the format of products, without its bias.
pub struct Product {
    pub r: Memory,
    pub bias: Param,
    pub spans: Spans,
    pub width: usize,
    pub precision: Precision,
    pub pull: Box<Pull>,
}

/// The rule of all before, given where the gradient of r lies, in its format.
type Pull = dyn FnOnce(Address, &mut Grads<Cuda>);

impl<T: Track<Cuda>> Branch<T> {
    pub fn of(x: Hidden<T, Cuda>) -> Branch<T> {
        Branch::Whole(x)
    }

    /// In f32, with its bias.
    pub fn whole(self) -> Hidden<T, Cuda> {
        let (product, tape) = match self {
            Branch::Whole(x) => return x,
            Branch::Product(product, tape) => (*product, tape),
        };
        let Product {
            r,
            bias,
            spans,
            width,
            precision,
            pull,
        } = product;
        let (frames, y) = (spans.total(), zeros((spans.total(), width)));
        let n = frames * width;
        kernels::biased(
            precision,
            Pack::of(width),
            for_each(n, width),
            r.at(),
            address(&bias),
            address(&y),
            n,
            width,
        );
        record_hidden(y, spans, tape, move |dy, g| {
            let grad = Factor::at(precision, dy, n);
            add_narrow_sums(precision, grad.place(), g.to(&bias), frames, width);
            pull(grad.place(), g);
        })
    }
}

pub fn residual_norm<T: Track<Cuda>>(
    x: Hidden<T, Cuda>,
    branch: Branch<T>,
    drop: Dropout,
    weights: [&Param; 2],
    eps: f32,
    precision: Precision,
) -> Hidden<T, Cuda> {
    let (product, other) = match branch {
        Branch::Whole(r) => {
            return layer_norm(residual(x, r, drop), weights[0], weights[1], eps, precision);
        }
        Branch::Product(product, tape) => (*product, tape),
    };
    let (
        (x, tape),
        Product {
            r,
            bias,
            spans,
            width,
            precision: narrow,
            pull,
        },
    ) = (x.split(), product);
    let frames = spans.total();
    let (shape, sum) = (
        [frames, width, width],
        gpu().memory(Precision::F32, frames * width),
    );
    let added = Added {
        r: r.at(),
        bias: address(&bias),
        sum: sum.at(),
        mask: Mask::from(drop),
    };
    let from = (narrow, address(&x.values), added);
    let (y, norm) = Norm::written(precision, shape, |to| {
        Norm::of(shape, from, weights, eps, to)
    });
    let x = Slot::of(&x.values);
    record_hidden(y, spans, merge(tape, other), move |dy, g| {
        let (dr, dx) = (gpu().memory(narrow, frames * width), g.at(&x));
        norm.pull(dy, 0, dx, dr.at(), g);
        std::mem::drop((norm, sum));
        add_narrow_sums(narrow, dr.at(), g.to(&bias), frames, width);
        pull(dr.at(), g);
    })
}

#[cfg(test)]
mod tests {
    use crate::cuda::check::both;
    use crate::op::check::{Case, DROP, ROWS};

    #[test]
    fn residual_norm_is_that_of_the_cpu() {
        for (width, inner) in [(5, 7), (12, 8)] {
            let case = Case::new(
                &ROWS,
                width,
                &[width, width, inner * width, inner, inner * width, width],
            );
            both!(&case, |x, p, _tape, precision| {
                let branch = feed_forward(
                    x.clone(),
                    [&p[2], &p[3], &p[4], &p[5]],
                    None,
                    DROP.fork(0),
                    precision,
                );
                let x = residual_norm(x, branch, DROP, [&p[0], &p[1]], 1e-2, precision);
                let branch = Branch::of(dropout(x.clone(), DROP.fork(1)));
                residual_norm(x, branch, DROP.fork(2), [&p[1], &p[0]], 1e-2, precision).values
            });
        }
    }
}
