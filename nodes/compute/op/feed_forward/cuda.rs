//! [`crate::op::feed_forward`]: everything between the two products is one pass each way, in their format. Kept: x, the
//! weights and z without its bias. The gate is a factor of that pass, not of the weight.
use crate::cuda::gpu::{for_each, gpu};
use crate::cuda::kernels::{self, Pack};
use crate::cuda::product::{Factor, Out, View, product};
use crate::cuda::sums::Parts;
use crate::gemm::Precision;
use crate::math::Dropout;
use crate::op::cuda::Mask;
use crate::op::gate::cuda as gate;
use crate::op::residual_norm::cuda::{Branch, Product};
use crate::tensor::cuda::{Cuda, Param, Slot, Vector, address, len};
use crate::tensor::{Grads, Hidden, Track};

pub fn feed_forward<T: Track<Cuda>>(
    x: Hidden<T, Cuda>,
    [w1, b1, w2, b2]: [&Param; 4],
    gate: Option<&Vector<T>>,
    drop: Dropout,
    precision: Precision,
) -> Branch<T> {
    let (x, tape) = x.split();
    let (gate, tape) = gate::join(tape, gate);
    let (frames, width, inner) = (x.spans.total(), x.width(), len(b1));
    let (len, mask, open) = (
        frames * inner,
        Mask::from(drop),
        gate.as_ref().map_or(0, address),
    );
    let rows = Factor::of(precision, &x.values);
    let [up, down] = [w1, w2].map(|w| Factor::weight(precision, w));
    let [z, h] = [(); 2].map(|_| gpu().memory(precision, len));
    let to = Out::Set(View::of(&z, inner));
    product(
        precision,
        [frames, inner, width],
        rows.rows(width),
        up.rows(width).t(),
        to,
    );
    kernels::activate(
        precision,
        Pack::of(inner),
        for_each(len, inner),
        z.at(),
        address(b1),
        open,
        h.at(),
        len,
        inner,
        mask,
    );
    let r = gpu().memory(precision, frames * width);
    let to = Out::Set(View::of(&r, width));
    product(
        precision,
        [frames, width, inner],
        View::of(&h, inner),
        down.rows(inner).t(),
        to,
    );

    let ([w1, b1, w2, bias], spans, x) = (
        [w1, b1, w2, b2].map(Param::clone),
        x.spans,
        Slot::of(&x.values),
    );
    let pull = move |grad, g: &mut Grads<Cuda>| {
        let (grad, dz) = (View::rows(grad, width), gpu().memory(precision, len));
        product(
            precision,
            [frames, inner, width],
            grad,
            down.rows(inner),
            Out::Set(View::of(&dz, inner)),
        );
        let [dbias, dgate] = [(); 2].map(|_| Parts::new(frames, inner));
        let (grid, bias, per) = (dbias.grid(), address(&b1), dbias.per);
        kernels::activate_backward(
            precision,
            Pack::of(inner),
            grid,
            z.at(),
            dz.at(),
            bias,
            open,
            dbias.at(),
            dgate.at(),
            frames,
            inner,
            per,
            mask,
        ); // z becomes h
        let dw2 = Out::Add(View::rows(g.to(&w2), inner));
        product(
            precision,
            [width, inner, frames],
            grad.t(),
            View::of(&z, inner),
            dw2,
        );
        let dw1 = Out::Add(View::rows(g.to(&w1), width));
        product(
            precision,
            [inner, width, frames],
            View::of(&dz, inner).t(),
            rows.rows(width),
            dw1,
        );
        dbias.add(g.to(&b1));
        if let Some(gate) = &gate {
            dgate.add(g.to(gate));
        }
        let dx = Out::Add(View::rows(g.at(&x), width));
        product(
            precision,
            [frames, width, inner],
            View::of(&dz, inner),
            up.rows(width),
            dx,
        );
    };
    Branch::Product(
        Box::new(Product {
            r,
            bias,
            spans,
            width,
            precision,
            pull: Box::new(pull),
        }),
        tape,
    )
}

#[cfg(test)]
mod tests {
    use crate::cuda::check::both;
    use crate::math::Dropout;
    use crate::op::check::{Case, DROP, ROWS};

    #[test]
    fn feed_forward_is_that_of_the_cpu() {
        for (width, inner) in [(5, 19), (8, 36)] {
            let case = Case::new(
                &ROWS,
                width,
                &[inner * width, inner, inner * width, width, inner],
            );
            both!(&case, |x, p, tape, precision| {
                feed_forward(
                    x,
                    [&p[0], &p[1], &p[2], &p[3]],
                    Some(&put(&p[4], tape)),
                    DROP,
                    precision,
                )
                .whole()
                .values
            });
            both!(&case, |x, p, _tape, precision| {
                feed_forward(
                    x,
                    [&p[0], &p[1], &p[2], &p[3]],
                    None,
                    Dropout::NONE,
                    precision,
                )
                .whole()
                .values
            });
        }
    }
}
