//! [`AttentionMapDevice`] with a task for each head of each row.
use super::AttentionMapDevice;
use crate::gemm::{Out, View, gemm_serial};
use crate::math::sum;
use crate::op::attention::AttentionHeads;
use crate::parallel::{Shared, add, column_sums, for_each, map, wide};
use crate::tensor::cpu::{Cpu, Grads, Matrix, Spans, Vector, read, tensor};
use crate::tensor::{Slot, dimensions};
use std::iter::repeat_n;

pub struct SavedMap {
    qk: [Matrix; 2],
    p: Vector,
    heads: AttentionHeads<Cpu>,
    squares: Spans,
}

pub struct SavedAttend {
    v: Matrix,
    heads: AttentionHeads<Cpu>,
    squares: Spans,
}

impl AttentionMapDevice for Cpu {
    type SavedMap = SavedMap;
    type SavedAttend = SavedAttend;

    fn map(qk: [Matrix; 2], heads: AttentionHeads<Cpu>) -> (Vector, SavedMap) {
        let [q, k] = qk.each_ref().map(read);
        let squares = squares(&heads.spans, heads.per_row);
        let mut p = vec![0.0; squares.total()];
        let shared = Shared::new(&mut p);
        for_each(heads.count(), |i| {
            let Some(head) = heads.get(i) else { return };
            let square = squares.of(i);
            // SAFETY: each task has its own square.
            let p = unsafe { shared.part(square.start, square.len()) };
            head.probabilities(head.view(q), head.view(k), p);
        });
        let p = tensor(p, (squares.total(),));
        let saved = SavedMap {
            qk,
            p: p.clone(),
            heads,
            squares,
        };
        (p, saved)
    }

    fn map_backward(mut dp: Vec<f32>, saved: &SavedMap, inputs: &[Slot<Cpu>; 2], g: &mut Grads) {
        let heads = &saved.heads;
        let [q, k] = saved.qk.each_ref().map(read);
        let p = read(&saved.p);
        let mut gradients = inputs.each_ref().map(|input| std::mem::take(g.at(input)));
        let shared = gradients.each_mut().map(|dx| Shared::new(dx));
        let shared_ds = Shared::new(&mut dp);
        let of_bias = map(heads.count(), |i| {
            let head = heads.get(i)?;
            let square = saved.squares.of(i);
            let [q, k] = [q, k].map(|x| head.view(x));
            // SAFETY: each task has its own columns of its own frames, and its own square.
            let dqk =
                shared.map(|dx| unsafe { Out::columns(dx.tail(head.first()), heads.width, true) });
            let ds = unsafe { shared_ds.part(square.start, square.len()) };
            head.backward(&p[square], ds, [q, k], dqk).1
        });
        for (input, dx) in inputs.iter().zip(gradients) {
            *g.at(input) = dx;
        }
        if let Some(bias) = &heads.bias {
            bias.accumulate_gradients(of_bias, g);
        }
    }

    fn attend(p: &Vector, v: Matrix, heads: AttentionHeads<Cpu>) -> (Matrix, SavedAttend) {
        let p = read(p);
        let squares = squares(&heads.spans, heads.per_row);
        let mut o = vec![0.0; read(&v).len()];
        let shared = Shared::new(&mut o);
        for_each(heads.count(), |i| {
            let Some(head) = heads.get(i) else { return };
            let mut dropped = p[squares.of(i)].to_vec();
            head.drop_and_gate(&mut dropped);
            // SAFETY: each task has its own columns of its own frames.
            let o = unsafe { Out::columns(shared.tail(head.first()), heads.width, false) };
            let dropped = View::rows(&dropped, head.frames());
            let v = head.view(read(&v));
            gemm_serial(heads.precision, head.output_shape(), dropped, v, o);
        });
        let o = tensor(o, dimensions(&v));
        (o, SavedAttend { v, heads, squares })
    }

    fn attend_backward(
        dy: Vec<f32>,
        p: &Vector,
        saved: &SavedAttend,
        v: &Slot<Cpu>,
        g: &mut Grads,
    ) {
        let heads = &saved.heads;
        let precision = heads.precision;
        let mut dp = g.take(p);
        let mut dv = std::mem::take(g.at(v));
        let shared_p = Shared::new(&mut dp);
        let shared_v = Shared::new(&mut dv);
        let dgates = map(heads.count(), |i| {
            let Some(head) = heads.get(i) else { return 0.0 };
            let n = head.frames();
            let square = saved.squares.of(i);
            let [v, dy] = [read(&saved.v), &dy].map(|x| head.view(x));
            // SAFETY: each task has its own columns of its own frames, and its own square.
            let dv = unsafe { Out::columns(shared_v.tail(head.first()), heads.width, true) };
            let dp = unsafe { shared_p.part(square.start, square.len()) };
            let p = &read(p)[square];
            let mut d = p.to_vec();
            head.drop_and_gate(&mut d);
            let transposed = View::rows(&d, n).t();
            gemm_serial(precision, head.output_shape(), transposed, dy, dv);
            gemm_serial(
                precision,
                head.scores_shape(),
                dy,
                v.t(),
                Out::set(&mut d, n),
            );
            wide!({
                head.drop.apply(0, &mut d);
                dp.iter_mut()
                    .zip(&d)
                    .for_each(|(dp, d)| *dp += d * head.gate);
                sum(d.len(), |i| p[i] * d[i])
            })
        });
        *g.of(p) = dp;
        *g.at(v) = dv;
        if let Some(gate) = &heads.gate {
            add(g.of(gate), &column_sums(&dgates, heads.per_row));
        }
    }
}

/// Returns where the (queries, keys) matrices of the heads of all rows lie.
pub(crate) fn squares(spans: &Spans, heads: usize) -> Spans {
    Spans::new(spans.lengths().flat_map(|n| repeat_n(n * n, heads)))
}
