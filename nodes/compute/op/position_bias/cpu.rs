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

/// The bias of one head in one row of n frames.
pub struct HeadBias<'a> {
    /// r, (2n - 1)
    by_distance: Vec<f32>,
    /// √d gate of each query, (n)
    gates: Vec<f32>,
    /// 1 / √d
    scale: f32,
    /// The bucket of each distance.
    buckets: &'a [usize],
    /// Buckets of the table.
    count: usize,
}

/// The gradients of [`HeadBias`] as sums over blocks of queries.
pub struct HeadBiasSums {
    /// dgate, (n)
    gate: Vec<f32>,
    /// dr, (2n - 1)
    by_distance: Vec<f32>,
}

/// Gradients from one head of one row: of the gate of each query, and of the head's column of the
/// table.
pub struct HeadBiasGradient {
    gate: Vec<f32>,
    table: Vec<f32>,
}

impl Bias<Cpu> {
    /// Returns the bias of a head in the row of these frames; `scale` is 1 / √d.
    pub fn of_head(&self, head: usize, frames: &Range<usize>, scale: f32) -> HeadBias<'_> {
        let n = frames.len();
        let table = read(&self.table);
        let all_heads = self.all_heads();
        let column = self.by_distance.columns[head];
        let buckets = self.row_buckets(n);
        let heads = self.by_distance.columns.len();
        let gates = self.gate.read()[frames.start * heads + head..].iter();
        HeadBias {
            by_distance: buckets
                .iter()
                .map(|bucket| table[bucket * all_heads + column])
                .collect(),
            gates: gates
                .step_by(heads)
                .take(n)
                .map(|gate| gate / scale)
                .collect(),
            scale,
            buckets,
            count: self.count,
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
}

impl HeadBias<'_> {
    /// Adds √d gate r to the scores S of these queries, (queries, n).
    pub fn add(&self, queries: &Range<usize>, s: &mut [f32]) {
        let n = self.gates.len();
        wide!(
            for (query, s) in queries.clone().zip(s.chunks_exact_mut(n)) {
                let gate = self.gates[query];
                s.iter_mut()
                    .zip(&self.by_distance[n - 1 - query..])
                    .for_each(|(s, r)| *s += gate * r);
            }
        )
    }

    /// Returns sums over no queries.
    pub fn no_sums(&self) -> HeadBiasSums {
        HeadBiasSums {
            gate: vec![0.0; self.gates.len()],
            by_distance: vec![0.0; self.by_distance.len()],
        }
    }

    /// Adds the gradients from dS of these queries, (queries, n).
    pub fn accumulate(&self, queries: &Range<usize>, ds: &[f32], sums: &mut HeadBiasSums) {
        let n = self.gates.len();
        wide!(for (query, ds) in queries.clone().zip(ds.chunks_exact(n)) {
            let gate = self.gates[query];
            let r = &self.by_distance[n - 1 - query..][..n];
            let dr = &mut sums.by_distance[n - 1 - query..][..n];
            sums.gate[query] = sum(n, |key| ds[key] * r[key]) / self.scale;
            dr.iter_mut().zip(ds).for_each(|(dr, ds)| *dr += gate * ds);
        });
    }

    /// Returns the gradients from sums over all queries.
    pub fn gradient(&self, sums: HeadBiasSums) -> HeadBiasGradient {
        let mut table = vec![0.0; self.count];
        for (bucket, dr) in self.buckets.iter().zip(sums.by_distance) {
            table[*bucket] += dr;
        }
        HeadBiasGradient {
            gate: sums.gate,
            table,
        }
    }
}
