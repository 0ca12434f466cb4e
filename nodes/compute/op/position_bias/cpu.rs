//! A bias as the CPU's attention adds it to the scores of one head of one row.
use super::{Bias, PositionBiasDevice};
use crate::math::sum;
use crate::parallel::wide;
use crate::tensor::cpu::{Cpu, Grads, Param, read};
use std::ops::Range;

pub struct ByDistance {
    /// The table's column of each head.
    columns: Vec<usize>,
    /// The bucket of each distance from -(n - 1) to n - 1, n being the frames of the longest row.
    buckets: Vec<usize>,
}

impl PositionBiasDevice for Cpu {
    type ByDistance = ByDistance;

    fn by_distance(_: &Param, columns: Vec<usize>, buckets: Vec<usize>, _: usize) -> ByDistance {
        ByDistance { columns, buckets }
    }
}

/// Gradients from one head of one row: of the gate of each query, and of the head's column of the
/// table.
pub struct HeadBiasGradient {
    gate: Vec<f32>,
    table: Vec<f32>,
}

/// Arguments that methods share: the head, the frames of its row, and scale = 1 / √d.
impl Bias<Cpu> {
    /// Adds √d gate r to the scores S, (frames, frames).
    pub fn add(&self, head: usize, frames: &Range<usize>, scale: f32, s: &mut [f32]) {
        let n = frames.len();
        let r = self.table_by_distance(head, n);
        let gates = self.scaled_gates(head, frames, scale);
        wide!(for (query, s) in s.chunks_exact_mut(n).enumerate() {
            s.iter_mut()
                .zip(&r[n - 1 - query..])
                .for_each(|(s, r)| *s += gates[query] * r);
        })
    }

    /// Returns the bias's gradients from that of S.
    pub fn backward(
        &self,
        head: usize,
        frames: &Range<usize>,
        scale: f32,
        ds: &[f32],
    ) -> HeadBiasGradient {
        let n = frames.len();
        let r = self.table_by_distance(head, n);
        let gates = self.scaled_gates(head, frames, scale);
        let mut dgate = vec![0.0; n];
        let mut dr = vec![0.0; 2 * n - 1];
        wide!(for (query, ds) in ds.chunks_exact(n).enumerate() {
            let r = &r[n - 1 - query..][..n];
            let dr = &mut dr[n - 1 - query..][..n];
            dgate[query] = sum(n, |key| ds[key] * r[key]) / scale;
            dr.iter_mut()
                .zip(ds)
                .for_each(|(dr, ds)| *dr += gates[query] * ds);
        });
        let mut dtable = vec![0.0; self.count];
        for (bucket, dr) in self.row_buckets(n).iter().zip(dr) {
            dtable[*bucket] += dr;
        }
        HeadBiasGradient {
            gate: dgate,
            table: dtable,
        }
    }

    /// Adds to the gradients of gate and table, from those of the heads of all rows in their order.
    pub fn accumulate_gradients(&self, gradients: Vec<Option<HeadBiasGradient>>, g: &mut Grads) {
        let heads = self.by_distance.columns.len();
        for (i, gradient) in gradients.into_iter().enumerate() {
            let Some(gradient) = gradient else {
                continue;
            };
            let head = i % heads;
            let first = self.gate.spans.of(i / heads).start;
            let dgate = &mut g.of(&self.gate.values)[first * heads + head..];
            for (to, d) in dgate.iter_mut().step_by(heads).zip(gradient.gate) {
                *to += d;
            }
            let dtable = &mut g.of(&self.table)[self.by_distance.columns[head]..];
            for (to, d) in dtable
                .iter_mut()
                .step_by(self.all_heads())
                .zip(gradient.table)
            {
                *to += d;
            }
        }
    }

    fn all_heads(&self) -> usize {
        read(&self.table).len() / self.count
    }

    /// Returns the buckets of the distances in a row of `n` frames.
    fn row_buckets(&self, n: usize) -> &[usize] {
        let buckets = &self.by_distance.buckets;
        &buckets[buckets.len() / 2 + 1 - n..][..2 * n - 1]
    }

    /// Returns r, for a row of `n` frames.
    fn table_by_distance(&self, head: usize, n: usize) -> Vec<f32> {
        let table = read(&self.table);
        let all_heads = self.all_heads();
        let column = self.by_distance.columns[head];
        self.row_buckets(n)
            .iter()
            .map(|bucket| table[bucket * all_heads + column])
            .collect()
    }

    /// Returns √d gate of each query.
    fn scaled_gates(&self, head: usize, frames: &Range<usize>, scale: f32) -> Vec<f32> {
        let heads = self.by_distance.columns.len();
        self.gate.read()[frames.start * heads + head..]
            .iter()
            .step_by(heads)
            .take(frames.len())
            .map(|gate| gate / scale)
            .collect()
    }
}
