//! Multi-head attention, row by row: for each head, o = gate drop(softmax(q kᵀ / √d)) v.
//! q, k, v, o (frames, heads · d), gate (heads). A head is a view with row stride heads · d: nothing is transposed.
//!
//! One task does a whole head of a row: frames × frames scores stay in L2 through both products. Probabilities P are
//! not kept; backward computes them again. With D = drop ∘ (do vᵀ) and m = Σ_keys D ∘ P for each query:
//!   dgate = Σ m, dS = gate P ∘ (D - m), dq = dS k / √d, dk = dSᵀ q / √d, dv = gate (P ∘ drop)ᵀ do.
use super::gate;
use crate::gemm::{Out, Shape, View, gemm_here};
use crate::math::{Dropout, exp, largest, sum};
use crate::par::{Shared, each, map, wide};
use crate::tensor::{Hidden, Spans, Track, Vector, merge, read, record_hidden};

/// q, k and v are three tensors, not one given thrice.
pub fn attention<T: Track>(
    q: Hidden<T>,
    k: Hidden<T>,
    v: Hidden<T>,
    heads: usize,
    gate: Option<&Vector<T>>,
    drop: Dropout,
) -> Hidden<T> {
    let ((q, tq), (k, tk), (v, tv)) = (q.split(), k.split(), v.split());
    let (gate, tape) = gate::join(merge(merge(tq, tk), tv), gate);
    let (width, spans) = (q.width(), q.spans.clone());
    let gates = gate.as_ref().map_or_else(|| vec![1.0; heads], |g| read(g).to_vec());
    let all = Heads { spans: spans.clone(), width, gates, drop };

    let mut y = vec![0.0; q.read().len()];
    let out = Shared::new(&mut y);
    each(spans.rows() * heads, |t| {
        let Some(head) = all.get(t) else { return };
        let [q, k, v] = [&q, &k, &v].map(|x| head.of(x.read()));
        let mut p = head.probabilities(q, k);
        head.drop_and_gate(&mut p);
        // SAFETY: each task has its own columns of its own frames.
        let o = unsafe { Out::columns(out.tail(head.at), width, false) };
        gemm_here(head.tall(), View::rows(&p, head.n), v, o);
    });
    record_hidden(y, width, spans, tape, move |dy, g| {
        let [mut dq, mut dk, mut dv] = [&q, &k, &v].map(|t| g.take(&t.values));
        let to = [&mut dq, &mut dk, &mut dv].map(|x| Shared::new(x));
        let dgates = map(all.spans.rows() * heads, |t| {
            let Some(head) = all.get(t) else { return 0.0 };
            let [q, k, v, dy] = [q.read(), k.read(), v.read(), &dy].map(|x| head.of(x));
            // SAFETY: each task has its own columns of its own frames.
            let [dq, dk, dv] = to.map(|x| unsafe { Out::columns(x.tail(head.at), width, true) });
            let n = head.n;
            let p = head.probabilities(q, k);
            let mut dropped = p.clone();
            head.drop_and_gate(&mut dropped);
            gemm_here(head.tall(), View::rows(&dropped, n).t(), dy, dv);
            let mut ds = dropped;
            gemm_here(head.square(), dy, v.t(), Out::set(&mut ds, n));
            let dgate = head.score_gradient(&p, &mut ds);
            gemm_here(head.tall(), View::rows(&ds, n), k, dq);
            gemm_here(head.tall(), View::rows(&ds, n).t(), q, dk);
            dgate
        });
        (*g.of(&q.values), *g.of(&k.values), *g.of(&v.values)) = (dq, dk, dv);
        if let Some(gate) = &gate {
            for row in dgates.chunks_exact(heads) {
                g.of(gate).iter_mut().zip(row).for_each(|(a, b)| *a += b);
            }
        }
    })
}

/// The heads of all rows: head h of row r is number r · heads + h.
struct Heads {
    spans: Spans,
    width: usize,
    gates: Vec<f32>,
    drop: Dropout,
}

struct Head {
    /// Its first number in q, k, v and o.
    at: usize,
    n: usize,
    d: usize,
    width: usize,
    gate: f32,
    drop: Dropout,
}

impl Heads {
    /// None in a row without frames.
    fn get(&self, t: usize) -> Option<Head> {
        let (row, h) = (self.spans.of(t / self.gates.len()), t % self.gates.len());
        let d = self.width / self.gates.len();
        let head = Head {
            at: row.start * self.width + h * d,
            n: row.len(),
            d,
            width: self.width,
            gate: self.gates[h],
            drop: self.drop.fork(t as u32),
        };
        (head.n > 0).then_some(head)
    }
}

impl Head {
    fn of<'a>(&self, x: &'a [f32]) -> View<'a> {
        View::rows(&x[self.at..], self.width)
    }
    /// Of the product of queries and keys.
    fn square(&self) -> Shape {
        Shape { m: self.n, n: self.n, k: self.d }
    }
    /// Of the product of probabilities and values.
    fn tall(&self) -> Shape {
        Shape { m: self.n, n: self.d, k: self.n }
    }
    fn scale(&self) -> f32 {
        1.0 / (self.d as f32).sqrt()
    }
    fn drop_and_gate(&self, p: &mut [f32]) {
        wide!({
            self.drop.apply(0, p);
            if self.gate != 1.0 {
                p.iter_mut().for_each(|p| *p *= self.gate);
            }
        })
    }
    /// softmax(q kᵀ / √d), (queries, keys).
    fn probabilities(&self, q: View, k: View) -> Vec<f32> {
        let (n, scale) = (self.n, self.scale());
        let mut p = vec![0.0; n * n];
        gemm_here(self.square(), q, k.t(), Out::set(&mut p, n));
        wide!(for row in p.chunks_exact_mut(n) {
            let max = largest(row);
            row.iter_mut().for_each(|x| *x = exp((*x - max) * scale));
            let inverse = 1.0 / sum(n, |i| row[i]);
            row.iter_mut().for_each(|x| *x *= inverse);
        });
        p
    }
    /// From do vᵀ to dS, in place; gives dgate.
    fn score_gradient(&self, p: &[f32], ds: &mut [f32]) -> f32 {
        let (n, factor) = (self.n, self.scale() * self.gate);
        wide!({
            self.drop.apply(0, ds);
            let mut dgate = 0.0;
            for (p, ds) in p.chunks_exact(n).zip(ds.chunks_exact_mut(n)) {
                let along = sum(n, |i| p[i] * ds[i]);
                dgate += along;
                ds.iter_mut().zip(p).for_each(|(ds, p)| *ds = p * (*ds - along) * factor);
            }
            dgate
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, DROP, ROWS, affine, close};
    use crate::op::linear::linear;
    use crate::tensor::{Param, put};

    const HEADS: usize = 2;

    fn definition(case: &Case, gate: &[f32]) -> Vec<f64> {
        let (width, spans) = (case.x.width(), &case.x.spans);
        let d = width / HEADS;
        let [q, k, v] = [0, 2, 4].map(|i| affine(&case.frames(), width, &case.p[i], &case.p[i + 1]));
        let mut o = vec![0.0; q.len()];
        for (r, row) in spans.iter().enumerate() {
            for (h, t) in (0..HEADS).flat_map(|h| row.clone().map(move |t| (h, t))) {
                let at = |t: usize| t * width + h * d;
                let dot = |s: usize| (0..d).map(|i| q[at(t) + i] * k[at(s) + i]).sum::<f64>() / (d as f64).sqrt();
                let total: f64 = row.clone().map(|s| dot(s).exp()).sum();
                for (j, s) in row.clone().enumerate() {
                    let mask = DROP.fork((r * HEADS + h) as u32).factor((t - row.start) * row.len() + j);
                    let p = dot(s).exp() / total * mask as f64 * gate[h] as f64;
                    (0..d).for_each(|i| o[at(t) + i] += p * v[at(s) + i]);
                }
            }
        }
        o
    }

    #[test]
    fn attention_is_its_formula_and_its_gradient() {
        for width in [6, 14] {
            let (square, small) = (width * width, 0.4 / (width as f32).sqrt());
            let mut case = Case::new(&ROWS, width, &[square, width, square, width, square, width, HEADS]);
            for i in [0, 2] {
                case.p[i] = crate::tensor::param(read(&case.p[i]).iter().map(|w| w * small).collect());
            }
            fn three<T: Track>(x: Hidden<T>, p: &[Param]) -> [Hidden<T>; 3] {
                [0, 2, 4].map(|i| linear(x.clone(), &p[i], &p[i + 1]))
            }
            let [q, k, v] = three(case.x.clone(), &case.p);
            let o = attention(q, k, v, HEADS, Some(&case.p[6]), DROP);
            close(o.read(), &definition(&case, read(&case.p[6])), 1e-4);
            case.check(|x, p, tape| {
                let [q, k, v] = three(x, p);
                attention(q, k, v, HEADS, Some(&put(&p[6], tape)), DROP).values
            });
            case.check(|x, p, _| {
                let [q, k, v] = three(x, p);
                attention(q, k, v, HEADS, None, Dropout::NONE).values
            });
        }
    }
}
