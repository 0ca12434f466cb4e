//! [`SelfAttentionDevice`] as one op: all between the first GEMMs and the last is in their format.
//!
//! Attention adds the biases of q, k and v as it reads them. Saved are x, q, k and v without their
//! biases, o, and what [`Attention`] saves.
use super::SelfAttentionDevice;
use crate::cuda::gpu::{Memory, gpu};
use crate::cuda::kernels::Columns;
use crate::cuda::product::{Out, View, product};
use crate::cuda::sums::add_sums_of;
use crate::gemm::Precision;
use crate::math::Dropout;
use crate::op::attention::AttentionHeads;
use crate::op::attention::cuda::Attention;
use crate::op::gate;
use crate::op::passes::cuda::Operand;
use crate::op::passes::{Affine, Passes};
use crate::op::position_bias::PositionBias;
use crate::op::position_bias::cuda::Bias;
use crate::op::residual_norm::{Branch, OutputRule, SubLayer};
use crate::tensor::cuda::{Cuda, Param, Slot, Vector, address, len};
use crate::tensor::{Grads, Hidden, Track};

/// One of q, k and v without its bias, and the linear map that it comes from.
struct Projection {
    values: Memory,
    operand: Operand,
    w: Param,
    b: Param,
}

impl Projection {
    fn new(
        precision: Precision,
        rows: &Operand,
        (w, b): (&Param, &Param),
        shape: Affine,
    ) -> Projection {
        let operand = Cuda::weight(precision, w);
        Projection {
            values: multiply(precision, rows.rows(shape.width), &operand, shape),
            operand,
            w: w.clone(),
            b: b.clone(),
        }
    }

    fn columns(&self) -> Columns {
        Columns {
            at: self.values.at(),
            add: address(&self.b),
        }
    }
}

impl SelfAttentionDevice for Cuda {
    fn self_attention<T: Track<Cuda>>(
        x: Hidden<T, Cuda>,
        [wq, bq, wk, bk, wv, bv, wo, bo]: [&Param; 8],
        heads: usize,
        gate: Option<&Vector<T>>,
        bias: Option<PositionBias<T, Cuda>>,
        drop: Dropout,
        precision: Precision,
    ) -> Branch<T, Cuda> {
        let (x, tape) = x.split();
        let (gate, tape) = gate::join(tape, gate);
        let (bias, tape) = Bias::join(tape, bias);
        let frames = x.spans.total();
        let inner = len(bq);
        let shape = Affine {
            frames,
            width: x.width(),
            out: inner,
        };
        let rows = Cuda::operand(precision, &x.values);
        let inputs = [(wq, bq), (wk, bk), (wv, bv)];
        let qkv = inputs.map(|input| Projection::new(precision, &rows, input, shape));
        let columns = qkv.each_ref().map(Projection::columns);
        let attention = Attention::new(AttentionHeads {
            spans: x.spans.clone(),
            width: inner,
            per_row: heads,
            gate,
            bias,
            drop,
            precision,
        });
        let (o, sums) = attention.forward(columns);
        let last = Affine {
            frames,
            width: inner,
            out: len(bo),
        };
        let weight = Cuda::weight(precision, wo);
        let output = multiply(precision, View::of(&o, inner), &weight, last);

        let slot = Slot::of(&x.values);
        let wo = wo.clone();
        let accumulate = move |dy: &Operand, g: &mut Grads<Cuda>| {
            let dy_rows = dy.rows(last.out);
            let o_gradient = gpu().memory(precision, frames * inner);
            product(
                precision,
                [frames, inner, last.out],
                dy_rows,
                weight.rows(inner),
                Out::Set(View::of(&o_gradient, inner)),
            );
            product(
                precision,
                [last.out, inner, frames],
                dy_rows.t(),
                View::of(&o, inner),
                Out::Add(View::rows(g.of(&wo), inner)),
            );
            let gradients = attention.backward(columns, &o, o_gradient.at(), &sums, g);
            let db = [0, 1, 2].map(|i| g.of(&qkv[i].b));
            let columns = gradients.each_ref().map(Memory::at);
            add_sums_of(precision, columns, db, frames, inner);
            for (gradient, input) in gradients.into_iter().zip(&qkv) {
                let gradient = Operand::owned(gradient);
                Cuda::add_weight_gradient(precision, &gradient, &rows, shape, g.of(&input.w));
                let dx = g.at(&slot);
                Cuda::add_input_gradient(precision, &gradient, &input.operand, shape, dx);
            }
        };
        let rule = OutputRule {
            bias: bo.clone(),
            shape: last,
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
}

/// Returns x wᵀ, (frames, out), in the format of products.
fn multiply(precision: Precision, x: View, w: &Operand, shape: Affine) -> Memory {
    let to = gpu().memory(precision, shape.frames * shape.out);
    product(
        precision,
        [shape.frames, shape.out, shape.width],
        x,
        w.rows(shape.width).t(),
        Out::Set(View::of(&to, shape.out)),
    );
    to
}
