//! What the ops of attention share: one head of one row, P = softmax(S / √d) with S = q kᵀ + √d bias.
//! q, k (frames, heads · d); S, P (queries, keys). A head is a view with row stride heads · d: nothing is transposed.
//!
//! One task does a whole head of a row, so its squares stay in L2. Where P is read as gate drop(P), and D = drop ∘ dP
//! with m = Σ_keys D ∘ P for each query:
//!   dgate = Σ m, dS = gate P ∘ (D - m) / √d, dq = dS k, dk = dSᵀ q; the bias: [`super::position_bias`].
use super::position_bias::{Bias, Pulled};
use crate::gemm::{Out, Precision, Shape, View, gemm_here};
use crate::math::{Dropout, exp, largest, sum};
use crate::parallel::wide;
use crate::tensor::cpu::Spans;

/// The heads of all rows: head h of row r is number r · heads + h.
pub struct Heads {
    pub spans: Spans,
    pub width: usize,
    pub gates: Vec<f32>,
    pub drop: Dropout,
    pub bias: Option<Bias>,
    pub precision: Precision,
}

pub struct Head<'a> {
    /// Its place among the row's heads, and the row's first frame.
    pub h: usize,
    pub frame: usize,
    /// Its first number in q, k, v and o.
    pub at: usize,
    pub n: usize,
    d: usize,
    width: usize,
    pub gate: f32,
    pub drop: Dropout,
    bias: Option<&'a Bias>,
    precision: Precision,
}

impl Heads {
    pub fn count(&self) -> usize {
        self.spans.rows() * self.gates.len()
    }
    /// None in a row without frames.
    pub fn get(&self, t: usize) -> Option<Head<'_>> {
        let (row, h) = (self.spans.of(t / self.gates.len()), t % self.gates.len());
        let d = self.width / self.gates.len();
        let head = Head {
            h,
            frame: row.start,
            at: row.start * self.width + h * d,
            n: row.len(),
            d,
            width: self.width,
            gate: self.gates[h],
            drop: self.drop.fork(t as u32),
            bias: self.bias.as_ref(),
            precision: self.precision,
        };
        (head.n > 0).then_some(head)
    }
}

impl Head<'_> {
    pub fn of<'a>(&self, x: &'a [f32]) -> View<'a> {
        View::rows(&x[self.at..], self.width)
    }
    /// Of the product of queries and keys.
    pub fn square(&self) -> Shape {
        Shape {
            m: self.n,
            n: self.n,
            k: self.d,
        }
    }
    /// Of the product of probabilities and values.
    pub fn tall(&self) -> Shape {
        Shape {
            m: self.n,
            n: self.d,
            k: self.n,
        }
    }
    pub fn scale(&self) -> f32 {
        1.0 / (self.d as f32).sqrt()
    }

    /// P, in place of what is in `p`.
    pub fn probabilities(&self, q: View, k: View, p: &mut [f32]) {
        let (n, scale) = (self.n, self.scale());
        gemm_here(self.precision, self.square(), q, k.t(), Out::set(p, n));
        if let Some(bias) = self.bias {
            bias.add(self, p);
        }
        wide!(for row in p.chunks_exact_mut(n) {
            let max = largest(row);
            row.iter_mut().for_each(|x| *x = exp((*x - max) * scale));
            let inverse = 1.0 / sum(n, |i| row[i]);
            row.iter_mut().for_each(|x| *x *= inverse);
        });
    }

    pub fn drop_and_gate(&self, p: &mut [f32]) {
        wide!({
            self.drop.apply(0, p);
            if self.gate != 1.0 {
                p.iter_mut().for_each(|p| *p *= self.gate);
            }
        })
    }

    /// From dP / gate to dS, in place; adds to dq and dk; gives dgate and what goes to the bias.
    pub fn backward(
        &self,
        p: &[f32],
        ds: &mut [f32],
        [q, k]: [View; 2],
        [dq, dk]: [Out; 2],
    ) -> (f32, Option<Pulled>) {
        let dgate = self.score_gradient(p, ds);
        gemm_here(self.precision, self.tall(), View::rows(ds, self.n), k, dq);
        gemm_here(
            self.precision,
            self.tall(),
            View::rows(ds, self.n).t(),
            q,
            dk,
        );
        (dgate, self.bias.map(|bias| bias.pull(self, ds)))
    }

    fn score_gradient(&self, p: &[f32], ds: &mut [f32]) -> f32 {
        let (n, factor) = (self.n, self.scale() * self.gate);
        wide!({
            self.drop.apply(0, ds);
            let mut dgate = 0.0;
            for (p, ds) in p.chunks_exact(n).zip(ds.chunks_exact_mut(n)) {
                let along = sum(n, |i| p[i] * ds[i]);
                dgate += along;
                ds.iter_mut()
                    .zip(p)
                    .for_each(|(ds, p)| *ds = p * (*ds - along) * factor);
            }
            dgate
        })
    }
}
