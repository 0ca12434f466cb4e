//! Multi-head attention, row by row: for each head, o = gate drop(P) v with P = softmax(q kᵀ / √d + bias).
//! q, k, v, o (frames, heads · d), gate (heads).
//!
//! Probabilities P are not kept; backward computes them again ([`super::head`]): dP / gate = drop ∘ (do vᵀ),
//! dv = gate (P ∘ drop)ᵀ do.
#[cfg(feature = "cuda")]
pub mod cuda;
use super::gate;
use super::head::Heads;
use super::position_bias::{Bias, PositionBias};
use crate::gemm::{Out, Precision, View, gemm_here};
use crate::math::Dropout;
use crate::parallel::{Shared, add, column_sums, each, map};
use crate::tensor::cpu::{Cpu, Hidden, Track, Vector, merge, read, record_hidden};

/// q, k and v are three tensors, not one given thrice.
pub fn attention<T: Track>(
    [q, k, v]: [Hidden<T>; 3],
    heads: usize,
    gate: Option<&Vector<T>>,
    bias: Option<PositionBias<T, Cpu>>,
    drop: Dropout,
    precision: Precision,
) -> Hidden<T> {
    let ((q, tq), (k, tk), (v, tv)) = (q.split(), k.split(), v.split());
    let (gate, tape) = gate::join(merge(merge(tq, tk), tv), gate);
    let (bias, tape) = Bias::join(tape, bias);
    let (width, spans) = (q.width(), q.spans.clone());
    let gates = gate
        .as_ref()
        .map_or_else(|| vec![1.0; heads], |g| read(g).to_vec());
    let all = Heads {
        spans: spans.clone(),
        width,
        gates,
        drop,
        bias,
        precision,
    };

    let mut y = vec![0.0; q.read().len()];
    let out = Shared::new(&mut y);
    each(all.count(), |t| {
        let Some(head) = all.get(t) else { return };
        let [q, k, v] = [&q, &k, &v].map(|x| head.of(x.read()));
        let mut p = vec![0.0; head.n * head.n];
        head.probabilities(q, k, &mut p);
        head.drop_and_gate(&mut p);
        // SAFETY: each task has its own columns of its own frames.
        let o = unsafe { Out::columns(out.tail(head.at), width, false) };
        gemm_here(precision, head.tall(), View::rows(&p, head.n), v, o);
    });
    record_hidden(y, width, spans, tape, move |dy, g| {
        let [mut dq, mut dk, mut dv] = [&q, &k, &v].map(|t| g.take(&t.values));
        let to = [&mut dq, &mut dk, &mut dv].map(|x| Shared::new(x));
        let pulled = map(all.count(), |t| {
            let Some(head) = all.get(t) else {
                return (0.0, None);
            };
            let [q, k, v, dy] = [q.read(), k.read(), v.read(), &dy].map(|x| head.of(x));
            // SAFETY: each task has its own columns of its own frames.
            let [dq, dk, dv] = to.map(|x| unsafe { Out::columns(x.tail(head.at), width, true) });
            let n = head.n;
            let mut p = vec![0.0; n * n];
            head.probabilities(q, k, &mut p);
            let mut dropped = p.clone();
            head.drop_and_gate(&mut dropped);
            gemm_here(precision, head.tall(), View::rows(&dropped, n).t(), dy, dv);
            let mut ds = dropped;
            gemm_here(precision, head.square(), dy, v.t(), Out::set(&mut ds, n));
            head.backward(&p, &mut ds, [q, k], [dq, dk])
        });
        (*g.of(&q.values), *g.of(&k.values), *g.of(&v.values)) = (dq, dk, dv);
        let (dgates, pulled): (Vec<f32>, Vec<_>) = pulled.into_iter().unzip();
        if let Some(gate) = &gate {
            add(g.of(gate), &column_sums(&dgates, heads));
        }
        if let Some(bias) = &all.bias {
            bias.collect(pulled, g);
        }
    })
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::gemm::Precision::F32;
    use crate::op::check::{Case, DROP, ROWS, affine, close};
    use crate::op::linear::linear;
    use crate::op::position_bias::bucket;
    use crate::tensor::cpu::{Param, param, put};

    pub const HEADS: usize = 2;
    const BUCKETS: usize = 12;
    const FARTHEST: usize = 9;
    const COLUMNS: [usize; HEADS] = [2, 0];

    /// Three maps to q, k and v, gates, a table for three heads, a map to the gates of its biases.
    pub fn case(width: usize) -> Case {
        let (square, small) = (width * width, 0.4 / (width as f32).sqrt());
        let sizes = [
            square,
            width,
            square,
            width,
            square,
            width,
            HEADS,
            BUCKETS * 3,
            HEADS * width,
            HEADS,
        ];
        let mut case = Case::new(&ROWS, width, &sizes);
        for i in [0, 2, 8] {
            case.p[i] = param(read(&case.p[i]).iter().map(|w| w * small).collect());
        }
        case
    }

    pub fn three<T: Track>(x: &Hidden<T>, p: &[Param]) -> [Hidden<T>; 3] {
        [0, 2, 4].map(|i| linear(x.clone(), &p[i], &p[i + 1], F32))
    }

    pub fn bias<'a, T: Track>(x: &Hidden<T>, p: &'a [Param]) -> Option<PositionBias<'a, T, Cpu>> {
        let gate = linear(x.clone(), &p[8], &p[9], F32);
        Some(PositionBias {
            table: &p[7],
            columns: COLUMNS.into(),
            buckets: BUCKETS,
            farthest: FARTHEST,
            gate,
        })
    }

    pub fn definition(case: &Case, gate: &[f32], biased: bool) -> Vec<f64> {
        let (width, spans) = (case.x.width(), &case.x.spans);
        let d = width / HEADS;
        let [q, k, v, gates] =
            [0, 2, 4, 8].map(|i| affine(&case.frames(), width, &case.p[i], &case.p[i + 1]));
        let table = read(&case.p[7]);
        let mut o = vec![0.0; q.len()];
        for (r, row) in spans.iter().enumerate() {
            for (h, t) in (0..HEADS).flat_map(|h| row.clone().map(move |t| (h, t))) {
                let at = |t: usize| t * width + h * d;
                let logit = |s: usize| {
                    let dot = (0..d).map(|i| q[at(t) + i] * k[at(s) + i]).sum::<f64>()
                        / (d as f64).sqrt();
                    let bucket = bucket(s as isize - t as isize, BUCKETS, FARTHEST);
                    let bias = gates[t * HEADS + h] * table[bucket * 3 + COLUMNS[h]] as f64;
                    dot + if biased { bias } else { 0.0 }
                };
                let total: f64 = row.clone().map(|s| logit(s).exp()).sum();
                for (j, s) in row.clone().enumerate() {
                    let mask = DROP
                        .fork((r * HEADS + h) as u32)
                        .factor((t - row.start) * row.len() + j);
                    let p = logit(s).exp() / total * mask as f64 * gate[h] as f64;
                    (0..d).for_each(|i| o[at(t) + i] += p * v[at(s) + i]);
                }
            }
        }
        o
    }

    #[test]
    fn attention_is_its_formula_and_its_gradient() {
        for width in [6, 14] {
            let case = case(width);
            let (gate, p) = (&case.p[6], &case.p);
            let o = attention(three(&case.x, p), HEADS, Some(gate), None, DROP, F32);
            close(o.read(), &definition(&case, read(gate), false), 1e-4);
            let o = attention(
                three(&case.x, p),
                HEADS,
                Some(gate),
                bias(&case.x, p),
                DROP,
                F32,
            );
            close(o.read(), &definition(&case, read(gate), true), 1e-4);
            case.check(|x, p, tape| {
                attention(
                    three(&x, p),
                    HEADS,
                    Some(&put(&p[6], tape)),
                    bias(&x, p),
                    DROP,
                    F32,
                )
                .values
            });
            case.check(|x, p, _| {
                attention(three(&x, p), HEADS, None, None, Dropout::NONE, F32).values
            });
        }
    }
}
