//! One head of one row, as a task computes it on its thread: P = softmax(S / √d) with
//! S = QKᵀ + √d bias. q, k (frames, heads · d); S, P (queries, keys). A head of q is a view with
//! row stride heads · d: nothing is transposed.
//!
//! A task does a whole head of a row, so that its (queries, keys) matrices stay in L2. Where P is
//! read as gate drop(P), with D = drop ∘ dP and m = Σ_keys D ∘ P for each query:
//!   dgate = Σ m, dS = gate P ∘ (D - m) / √d, dq = dS k, dk = dSᵀ q;
//! the bias: [`crate::op::position_bias`].
use crate::gemm::{Out, Precision, Shape, View, gemm_serial};
use crate::math::{Dropout, exp, largest, sum};
use crate::op::attention::AttentionHeads;
use crate::op::position_bias::Bias;
use crate::op::position_bias::cpu::HeadBiasGradient;
use crate::parallel::wide;
use crate::tensor::cpu::{Cpu, read};
use std::ops::Range;

/// One head of one row.
pub struct Head<'a> {
    /// Its number among the heads of a row.
    index: usize,
    /// The frames of its row.
    frames: Range<usize>,
    /// Channels of the head, d, and of all heads.
    d: usize,
    width: usize,
    pub gate: f32,
    pub drop: Dropout,
    bias: Option<&'a Bias<Cpu>>,
    precision: Precision,
}

impl AttentionHeads<Cpu> {
    /// Returns the number of heads of all rows.
    pub fn count(&self) -> usize {
        self.spans.rows() * self.per_row
    }

    /// Returns head number `i` of all rows, or `None` in a row without frames.
    pub fn get(&self, i: usize) -> Option<Head<'_>> {
        let frames = self.spans.of(i / self.per_row);
        if frames.is_empty() {
            return None;
        }
        let index = i % self.per_row;
        Some(Head {
            index,
            frames,
            d: self.width / self.per_row,
            width: self.width,
            gate: self.gate.as_ref().map_or(1.0, |gate| read(gate)[index]),
            drop: self.drop.fork(i as u32),
            bias: self.bias.as_ref(),
            precision: self.precision,
        })
    }
}

impl Head<'_> {
    /// Returns the number of frames.
    pub fn frames(&self) -> usize {
        self.frames.len()
    }

    /// Returns the index of the head's first number in q, k, v and o.
    pub fn first(&self) -> usize {
        self.frames.start * self.width + self.index * self.d
    }

    /// Returns the head's frames of q, k, v or o.
    pub fn view<'a>(&self, x: &'a [f32]) -> View<'a> {
        View::rows(&x[self.first()..], self.width)
    }

    /// Returns the shape of QKᵀ.
    pub fn scores_shape(&self) -> Shape {
        Shape {
            m: self.frames(),
            n: self.frames(),
            k: self.d,
        }
    }

    /// Returns the shape of PV.
    pub fn output_shape(&self) -> Shape {
        Shape {
            m: self.frames(),
            n: self.d,
            k: self.frames(),
        }
    }

    /// Writes P over what is in `p`.
    pub fn probabilities(&self, q: View, k: View, p: &mut [f32]) {
        let n = self.frames();
        let scale = self.scale();
        let scores = Out::set(p, n);
        gemm_serial(self.precision, self.scores_shape(), q, k.t(), scores);
        if let Some(bias) = self.bias {
            bias.add(self.index, &self.frames, scale, p);
        }
        wide!(for row in p.chunks_exact_mut(n) {
            let max = largest(row);
            row.iter_mut().for_each(|x| *x = exp((*x - max) * scale));
            let inverse = 1.0 / sum(n, |i| row[i]);
            row.iter_mut().for_each(|x| *x *= inverse);
        });
    }

    /// Turns P into gate drop(P).
    pub fn drop_and_gate(&self, p: &mut [f32]) {
        wide!({
            self.drop.apply(0, p);
            if self.gate != 1.0 {
                p.iter_mut().for_each(|p| *p *= self.gate);
            }
        })
    }

    /// Turns dP / gate into dS, in place, and adds to dq and dk. Returns dgate and the gradients of
    /// the bias.
    pub fn backward(
        &self,
        p: &[f32],
        ds: &mut [f32],
        [q, k]: [View; 2],
        [dq, dk]: [Out; 2],
    ) -> (f32, Option<HeadBiasGradient>) {
        let shape = self.output_shape();
        let dgate = self.scores_gradient(p, ds);
        gemm_serial(self.precision, shape, View::rows(ds, self.frames()), k, dq);
        let transposed = View::rows(ds, self.frames()).t();
        gemm_serial(self.precision, shape, transposed, q, dk);
        let of_bias = self
            .bias
            .map(|bias| bias.backward(self.index, &self.frames, self.scale(), ds));
        (dgate, of_bias)
    }

    fn scores_gradient(&self, p: &[f32], ds: &mut [f32]) -> f32 {
        let n = self.frames();
        let factor = self.scale() * self.gate;
        wide!({
            self.drop.apply(0, ds);
            let mut dgate = 0.0;
            for (p, ds) in p.chunks_exact(n).zip(ds.chunks_exact_mut(n)) {
                let mean = sum(n, |i| p[i] * ds[i]);
                dgate += mean;
                ds.iter_mut()
                    .zip(p)
                    .for_each(|(ds, p)| *ds = p * (*ds - mean) * factor);
            }
            dgate
        })
    }

    /// Returns 1 / √d.
    fn scale(&self) -> f32 {
        1.0 / (self.d as f32).sqrt()
    }
}
