//! Attention in two ops, for layers that use the map of another (ARMHuBERT, Jang et al. 2023, arXiv:2305.11685):
//! P = softmax(q kᵀ / √d + bias), and for each layer that reads it o = gate drop(P) v with values of its own.
//! q, k, v, o (frames, heads · d), gate (heads), P (heads, frames, frames) a row, the rows one behind the other.
//!
//! dP = gate drop ∘ (do vᵀ), dv = gate (P ∘ drop)ᵀ do, dgate = Σ P ∘ drop ∘ (do vᵀ); from dP on: [`super::head`].
#[cfg(feature = "cuda")]
pub mod cuda;
use super::gate;
use super::head::Heads;
use super::position_bias::{Bias, PositionBias};
use crate::gemm::{Out, Precision, View, gemm_here};
use crate::math::{Dropout, sum};
use crate::parallel::{Shared, add, column_sums, each, map, wide};
use crate::tensor::cpu::{
    Cpu, Hidden, NoneTape, Spans, Storage, Track, Vector, merge, read, record_hidden, record_kept,
    split,
};
use std::iter::repeat_n;

/// P, before any dropout.
#[derive(Clone)]
pub struct Map<T = NoneTape, D: Storage<f32> = Cpu> {
    pub values: crate::tensor::Vector<T, D>,
    /// Frames of each row.
    pub spans: Spans,
    pub heads: usize,
}

/// Where the squares of the heads of all rows lie.
fn squares(spans: &Spans, heads: usize) -> Spans {
    Spans::new(spans.lengths().flat_map(|n| repeat_n(n * n, heads)))
}

/// q and k are two tensors, not one given twice.
pub fn attention_map<T: Track>(
    [q, k]: [Hidden<T>; 2],
    heads: usize,
    bias: Option<PositionBias<T, Cpu>>,
    precision: Precision,
) -> Map<T> {
    let ((q, tq), (k, tk)) = (q.split(), k.split());
    let (bias, tape) = Bias::join(merge(tq, tk), bias);
    let (width, spans, squares) = (q.width(), q.spans.clone(), squares(&q.spans, heads));
    let all = Heads {
        spans: spans.clone(),
        width,
        gates: vec![1.0; heads],
        drop: Dropout::NONE,
        bias,
        precision,
    };

    let mut p = vec![0.0; squares.total()];
    let out = Shared::new(&mut p);
    each(all.count(), |t| {
        let (Some(head), square) = (all.get(t), squares.of(t)) else {
            return;
        };
        // SAFETY: each task has its own square.
        head.probabilities(head.of(q.read()), head.of(k.read()), unsafe {
            out.part(square.start, square.len())
        });
    });
    let values = record_kept(p, (squares.total(),), tape, move |p, mut dp, g| {
        let [mut dq, mut dk] = [&q, &k].map(|t| g.take(&t.values));
        let (to, squares_of) = (
            [&mut dq, &mut dk].map(|x| Shared::new(x)),
            Shared::new(&mut dp),
        );
        let pulled = map(all.count(), |t| {
            let (Some(head), square) = (all.get(t), squares.of(t)) else {
                return None;
            };
            let [q, k] = [q.read(), k.read()].map(|x| head.of(x));
            // SAFETY: each task has its own columns of its own frames, and its own square.
            let to = to.map(|x| unsafe { Out::columns(x.tail(head.at), width, true) });
            let ds = unsafe { squares_of.part(square.start, square.len()) };
            head.backward(&p[square], ds, [q, k], to).1
        });
        (*g.of(&q.values), *g.of(&k.values)) = (dq, dk);
        if let Some(bias) = &all.bias {
            bias.collect(pulled, g);
        }
    });
    Map {
        values,
        spans,
        heads,
    }
}

/// o, of the layer that made the map or of another.
pub fn attend<T: Track>(
    Map {
        values,
        spans,
        heads,
    }: Map<T>,
    v: Hidden<T>,
    gate: Option<&Vector<T>>,
    drop: Dropout,
    precision: Precision,
) -> Hidden<T> {
    let ((p, tape), (v, other)) = (split(values), v.split());
    let (gate, tape) = gate::join(merge(tape, other), gate);
    let (width, squares) = (v.width(), squares(&spans, heads));
    let gates = gate
        .as_ref()
        .map_or_else(|| vec![1.0; heads], |g| read(g).to_vec());
    let all = Heads {
        spans: spans.clone(),
        width,
        gates,
        drop,
        bias: None,
        precision,
    };

    let mut y = vec![0.0; v.read().len()];
    let out = Shared::new(&mut y);
    each(all.count(), |t| {
        let Some(head) = all.get(t) else { return };
        let mut dropped = read(&p)[squares.of(t)].to_vec();
        head.drop_and_gate(&mut dropped);
        // SAFETY: each task has its own columns of its own frames.
        let o = unsafe { Out::columns(out.tail(head.at), width, false) };
        gemm_here(
            precision,
            head.tall(),
            View::rows(&dropped, head.n),
            head.of(v.read()),
            o,
        );
    });
    record_hidden(y, width, spans, tape, move |dy, g| {
        let (mut dp, mut dv) = (g.take(&p), g.take(&v.values));
        let (to_p, to_v) = (Shared::new(&mut dp), Shared::new(&mut dv));
        let dgates = map(all.count(), |t| {
            let Some(head) = all.get(t) else { return 0.0 };
            let (square, [v, dy]) = (squares.of(t), [v.read(), &dy].map(|x| head.of(x)));
            // SAFETY: each task has its own columns of its own frames, and its own square.
            let dv = unsafe { Out::columns(to_v.tail(head.at), width, true) };
            let dp = unsafe { to_p.part(square.start, square.len()) };
            let p = &read(&p)[square];
            let mut d = p.to_vec();
            head.drop_and_gate(&mut d);
            gemm_here(precision, head.tall(), View::rows(&d, head.n).t(), dy, dv);
            gemm_here(
                precision,
                head.square(),
                dy,
                v.t(),
                Out::set(&mut d, head.n),
            );
            wide!({
                head.drop.apply(0, &mut d);
                dp.iter_mut()
                    .zip(&d)
                    .for_each(|(dp, d)| *dp += d * head.gate);
                sum(d.len(), |i| p[i] * d[i])
            })
        });
        (*g.of(&p), *g.of(&v.values)) = (dp, dv);
        if let Some(gate) = &gate {
            add(g.of(gate), &column_sums(&dgates, heads));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::Precision::F32;
    use crate::op::attention::tests::{HEADS, bias, case, definition, three};
    use crate::op::check::{DROP, close};
    use crate::tensor::cpu::put;

    #[test]
    fn a_map_and_its_use_are_attention() {
        for width in [6, 14] {
            let case = case(width);
            let (gate, [q, k, v]) = (&case.p[6], three(&case.x, &case.p));
            let map = attention_map([q, k], HEADS, bias(&case.x, &case.p), F32);
            let frames: usize = case.x.spans.lengths().sum();
            assert!((read(&map.values).iter().sum::<f32>() - (frames * HEADS) as f32).abs() < 1e-3);
            close(
                attend(map, v, Some(gate), DROP, F32).read(),
                &definition(&case, read(gate), true),
                1e-4,
            );
        }
    }

    /// Two readers of one map: both send gradients into it.
    #[test]
    fn gradients_of_a_map_that_is_used_again() {
        for width in [6, 14] {
            case(width).check(|x, p, tape| {
                let [q, k, v] = three(&x, p);
                let gate = put(&p[6], tape);
                let map = attention_map([q, k], HEADS, bias(&x, p), F32);
                let o = attend(map.clone(), v, Some(&gate), DROP, F32);
                attend(map, o, Some(&gate), Dropout::NONE, F32).values
            });
            case(width).check(|x, p, _| {
                let [q, k, v] = three(&x, p);
                attend(
                    attention_map([q, k], HEADS, None, F32),
                    v,
                    None,
                    Dropout::NONE,
                    F32,
                )
                .values
            });
        }
    }
}
