//! [`AttentionMapDevice`] with a task for each head of each row.
use super::AttentionMapDevice;
use crate::gemm::{Out, View};
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
            let keys = head.transposed_factor(k);
            // SAFETY: each task has its own square.
            let p = unsafe { shared.part(square.start, square.len()) };
            head.probabilities(&(0..head.frames()), head.view(q, 0), &keys, p);
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
            let queries = 0..head.frames();
            // SAFETY: each task has its own columns of its own frames, and its own square.
            let [dq, dk] =
                shared.map(|dx| unsafe { Out::columns(dx.tail(head.first()), heads.width, true) });
            let ds = unsafe { shared_ds.part(square.start, square.len()) };
            let mut sums = head.no_sums();
            head.scores_gradient(&queries, &p[square], ds, &mut sums);
            let ds_rows = View::rows(ds, head.frames());
            head.factor(k).multiply(head.frames(), ds_rows, dq);
            head.add_to_frames(&queries, ds, head.view(q, 0), dk);
            head.gradients(sums).1
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
            let n = head.frames();
            let p = &p[squares.of(i)];
            let values = head.factor(read(&v));
            for queries in head.blocks() {
                let mut dropped = p[queries.start * n..queries.end * n].to_vec();
                head.drop_and_gate(&queries, &mut dropped);
                let first = head.first_of(queries.start);
                // SAFETY: each task has its own columns of its own frames.
                let o = unsafe { Out::columns(shared.tail(first), heads.width, false) };
                values.multiply(queries.len(), View::rows(&dropped, n), o);
            }
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
        let mut dp = g.take(p);
        let mut dv = std::mem::take(g.at(v));
        let shared_p = Shared::new(&mut dp);
        let shared_v = Shared::new(&mut dv);
        let dgates = map(heads.count(), |i| {
            let Some(head) = heads.get(i) else { return 0.0 };
            let n = head.frames();
            let square = saved.squares.of(i);
            let values_transposed = head.transposed_factor(read(&saved.v));
            let mut dgate = 0.0;
            for queries in head.blocks() {
                let dy = head.view(&dy, queries.start);
                let numbers = queries.len() * n;
                let from = square.start + queries.start * n;
                let p = &read(p)[from..from + numbers];
                // SAFETY: each task has its own columns of its own frames, and its own square.
                let dv = unsafe { Out::columns(shared_v.tail(head.first()), heads.width, true) };
                let dp = unsafe { shared_p.part(from, numbers) };
                let mut d = p.to_vec();
                head.drop_and_gate(&queries, &mut d);
                head.add_to_frames(&queries, &d, dy, dv);
                values_transposed.multiply(queries.len(), dy, Out::set(&mut d, n));
                wide!({
                    head.drop.apply(queries.start * n, &mut d);
                    dp.iter_mut()
                        .zip(&d)
                        .for_each(|(dp, d)| *dp += d * head.gate);
                    dgate += sum(numbers, |i| p[i] * d[i]);
                })
            }
            dgate
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
