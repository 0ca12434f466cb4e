//! [`AttentionDevice`] with a task for each head of each row. Saves q, k and v, computes P again.
pub(crate) mod head;
use super::{AttentionDevice, AttentionHeads};
use crate::gemm::{Out, View, gemm_serial};
use crate::parallel::{Shared, add, column_sums, for_each, map};
use crate::tensor::Slot;
use crate::tensor::cpu::{Cpu, Grads, Matrix, read, tensor};
use crate::tensor::dimensions;

pub struct Saved {
    qkv: [Matrix; 3],
    heads: AttentionHeads<Cpu>,
}

impl AttentionDevice for Cpu {
    type Saved = Saved;

    fn forward(qkv: [Matrix; 3], heads: AttentionHeads<Cpu>) -> (Matrix, Saved) {
        let [q, k, v] = qkv.each_ref().map(read);
        let mut o = vec![0.0; q.len()];
        let shared = Shared::new(&mut o);
        for_each(heads.count(), |i| {
            let Some(head) = heads.get(i) else { return };
            let n = head.frames();
            let mut p = vec![0.0; n * n];
            head.probabilities(head.view(q), head.view(k), &mut p);
            head.drop_and_gate(&mut p);
            // SAFETY: each task has its own columns of its own frames.
            let o = unsafe { Out::columns(shared.tail(head.first()), heads.width, false) };
            let p = View::rows(&p, n);
            gemm_serial(heads.precision, head.output_shape(), p, head.view(v), o);
        });
        let o = tensor(o, dimensions(&qkv[0]));
        (o, Saved { qkv, heads })
    }

    fn backward(dy: Vec<f32>, saved: &Saved, inputs: &[Slot<Cpu>; 3], g: &mut Grads) {
        let heads = &saved.heads;
        let precision = heads.precision;
        let [q, k, v] = saved.qkv.each_ref().map(read);
        let mut gradients = inputs.each_ref().map(|input| std::mem::take(g.at(input)));
        let shared = gradients.each_mut().map(|dx| Shared::new(dx));
        let of_heads = map(heads.count(), |i| {
            let Some(head) = heads.get(i) else {
                return (0.0, None);
            };
            let [q, k, v, dy] = [q, k, v, &dy].map(|x| head.view(x));
            // SAFETY: each task has its own columns of its own frames.
            let [dq, dk, dv] =
                shared.map(|dx| unsafe { Out::columns(dx.tail(head.first()), heads.width, true) });
            let n = head.frames();
            let mut p = vec![0.0; n * n];
            head.probabilities(q, k, &mut p);
            let mut dropped = p.clone();
            head.drop_and_gate(&mut dropped);
            let transposed = View::rows(&dropped, n).t();
            gemm_serial(precision, head.output_shape(), transposed, dy, dv);
            let mut ds = dropped;
            gemm_serial(
                precision,
                head.scores_shape(),
                dy,
                v.t(),
                Out::set(&mut ds, n),
            );
            head.backward(&p, &mut ds, [q, k], [dq, dk])
        });
        for (input, dx) in inputs.iter().zip(gradients) {
            *g.at(input) = dx;
        }
        let (dgates, of_bias): (Vec<f32>, Vec<_>) = of_heads.into_iter().unzip();
        if let Some(gate) = &heads.gate {
            add(g.of(gate), &column_sums(&dgates, heads.per_row));
        }
        if let Some(bias) = &heads.bias {
            bias.accumulate_gradients(of_bias, g);
        }
    }
}
