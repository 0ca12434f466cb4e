//! [`crate::op::self_attention`]: between the first products and the last all is in their format; attention adds the biases
//! of q, k and v as it reads them. Kept: x, q, k and v without their biases, o, and what [`Attention`] keeps.
use crate::cuda::gpu::gpu;
use crate::cuda::kernels::Columns;
use crate::cuda::product::{Factor, Out, View, product};
use crate::cuda::sums::add_narrow_sums;
use crate::gemm::Precision;
use crate::math::Dropout;
use crate::op::PositionBias;
use crate::op::attention::cuda::Attention;
use crate::op::gate::cuda as gate;
use crate::op::position_bias::cuda::Bias;
use crate::op::residual_norm::cuda::{Branch, Product};
use crate::tensor::cuda::{Cuda, Param, Slot, Vector, address, len};
use crate::tensor::{Grads, Hidden, Track};

pub fn self_attention<T: Track<Cuda>>(
    x: Hidden<T, Cuda>,
    [wq, bq, wk, bk, wv, bv, wo, bo]: [&Param; 8],
    heads: usize,
    gate: Option<&Vector<T>>,
    bias: Option<PositionBias<T, Cuda>>,
    drop: Dropout,
    precision: Precision,
) -> Branch<T> {
    let (x, tape) = x.split();
    let (gate, tape) = gate::join(tape, gate);
    let (bias, tape) = Bias::join(tape, bias);
    let (frames, width, inner, out) = (x.spans.total(), x.width(), len(bq), len(bo));
    let rows = Factor::of(precision, &x.values);
    let project = |(w, b): (&Param, &Param)| {
        let (weight, to) = (
            Factor::weight(precision, w),
            gpu().memory(precision, frames * inner),
        );
        let (shape, set) = ([frames, inner, width], Out::Set(View::of(&to, inner)));
        product(
            precision,
            shape,
            rows.rows(width),
            weight.rows(width).t(),
            set,
        );
        (to, weight, w.clone(), b.clone())
    };
    let three = [(wq, bq), (wk, bk), (wv, bv)].map(project);
    let inputs = three.each_ref().map(|(x, _, _, b)| Columns {
        at: x.at(),
        add: address(b),
    });
    let attention = Attention::new(&x.spans, [heads, inner], gate, bias, drop, precision);
    let (o, sums) = attention.forward(inputs);
    let (last, r) = (
        Factor::weight(precision, wo),
        gpu().memory(precision, frames * out),
    );
    let to = Out::Set(View::of(&r, out));
    product(
        precision,
        [frames, out, inner],
        View::of(&o, inner),
        last.rows(inner).t(),
        to,
    );

    let ([wo, bo], spans, x) = ([wo, bo].map(Param::clone), x.spans, Slot::of(&x.values));
    let pull = move |grad, g: &mut Grads<Cuda>| {
        let (grad, of_o) = (
            View::rows(grad, out),
            gpu().memory(precision, frames * inner),
        );
        product(
            precision,
            [frames, inner, out],
            grad,
            last.rows(inner),
            Out::Set(View::of(&of_o, inner)),
        );
        let dwo = Out::Add(View::rows(g.to(&wo), inner));
        product(
            precision,
            [out, inner, frames],
            grad.t(),
            View::of(&o, inner),
            dwo,
        );
        let gradients = attention.backward(inputs, &o, of_o.at(), &sums, g);
        for (d, (_, weight, w, b)) in gradients.iter().zip(&three) {
            let (dw, dx) = (
                Out::Add(View::rows(g.to(w), width)),
                Out::Add(View::rows(g.at(&x), width)),
            );
            product(
                precision,
                [inner, width, frames],
                View::of(d, inner).t(),
                rows.rows(width),
                dw,
            );
            product(
                precision,
                [frames, width, inner],
                View::of(d, inner),
                weight.rows(width),
                dx,
            );
            add_narrow_sums(precision, d.at(), g.to(b), frames, inner);
        }
    };
    Branch::Product(
        Box::new(Product {
            r,
            bias: bo,
            spans,
            width: out,
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
    use crate::op::check::{DROP, ROWS};
    use crate::op::position_bias::cuda::tests::{bias, case};

    #[test]
    fn self_attention_is_that_of_the_cpu() {
        for (width, heads) in [(6, 2), (16, 2)] {
            let case = case(&ROWS, width, heads);
            for (drop, gated, biased) in [(DROP, true, true), (Dropout::NONE, false, false)] {
                both!(&case, |x, p, tape, precision| {
                    let gate = put(&p[6], tape);
                    let bias = bias(
                        &p[7],
                        linear(x.clone(), &p[8], &p[9], Precision::F32),
                        heads,
                    );
                    let (gate, bias) = (gated.then_some(&gate), biased.then_some(bias));
                    let weights = [0, 1, 2, 3, 4, 5, 10, 11].map(|i| &p[i]);
                    self_attention(x, weights, heads, gate, bias, drop, precision)
                        .whole()
                        .values
                });
            }
        }
    }
}
