//! A bias on the logits of attention by relative position (WavLM, Chen et al. 2022, arXiv:2110.13900; buckets as in T5,
//! Raffel et al. 2020): logits[query, key] += gate[query] · table[bucket(key - query)], for each head.
//! table (buckets, all heads), gate (frames, heads).
//!
//! A row of n frames knows 2n - 1 distances: with r the table's number for each, the bias of a query is the n of them
//! from n - 1 - query on, so no square of biases is stored. S, which is divided by √d later, grows by √d gate r:
//!   dgate[query] = √d Σ_keys dS r, dr = √d Σ_queries gate dS, dtable[b] = Σ of dr over the distances of bucket b.
#[cfg(feature = "cuda")]
pub mod cuda;
use super::head::Head;
use crate::math::sum;
use crate::parallel::wide;
use crate::tensor;
use crate::tensor::Device;
use crate::tensor::cpu::{Cpu, Grads, Hidden, Param, Storage, Track, merge, read};

pub struct PositionBias<'a, T, D: Storage<f32> = Device> {
    /// (buckets, all heads)
    pub table: &'a tensor::Param<D>,
    /// The table's column of each head.
    pub columns: Vec<usize>,
    pub buckets: usize,
    /// From this distance on all positions of a side share a bucket.
    pub farthest: usize,
    /// (frames, heads)
    pub gate: tensor::Hidden<T, D>,
}

/// A bias off its tape.
pub struct Bias {
    table: Param,
    columns: Vec<usize>,
    gate: Hidden,
    buckets: usize,
    /// The bucket of each distance, from -(longest - 1) to longest - 1.
    by_distance: Vec<usize>,
}

/// What a head of a row gives back: to the gate of each query, and to its column of the table.
pub struct Pulled {
    gate: Vec<f32>,
    table: Vec<f32>,
}

impl Bias {
    pub fn join<T: Track>(tape: T, bias: Option<PositionBias<T, Cpu>>) -> (Option<Bias>, T) {
        let Some(PositionBias {
            table,
            columns,
            buckets,
            farthest,
            gate,
        }) = bias
        else {
            return (None, tape);
        };
        let (gate, other) = gate.split();
        let longest = gate.spans.lengths().max().unwrap_or(0) as isize;
        let by_distance = (1 - longest..longest)
            .map(|distance| bucket(distance, buckets, farthest))
            .collect();
        (
            Some(Bias {
                table: table.clone(),
                columns,
                gate,
                buckets,
                by_distance,
            }),
            merge(tape, other),
        )
    }

    fn all_heads(&self) -> usize {
        read(&self.table).len() / self.buckets
    }
    /// The buckets of a row's distances.
    fn of_row(&self, n: usize) -> &[usize] {
        &self.by_distance[self.by_distance.len() / 2 + 1 - n..][..2 * n - 1]
    }
    /// r, and √d gate of each query.
    fn factors(&self, head: &Head) -> (Vec<f32>, Vec<f32>) {
        let (table, all, column) = (read(&self.table), self.all_heads(), self.columns[head.h]);
        let heads = self.columns.len();
        let gates = self.gate.read()[head.frame * heads + head.h..]
            .iter()
            .step_by(heads)
            .take(head.n);
        let r = self
            .of_row(head.n)
            .iter()
            .map(|bucket| table[bucket * all + column]);
        (r.collect(), gates.map(|gate| gate / head.scale()).collect())
    }

    /// S += √d gate r.
    pub fn add(&self, head: &Head, s: &mut [f32]) {
        let (n, (r, gates)) = (head.n, self.factors(head));
        wide!(for (query, s) in s.chunks_exact_mut(n).enumerate() {
            s.iter_mut()
                .zip(&r[n - 1 - query..])
                .for_each(|(s, r)| *s += gates[query] * r);
        })
    }

    pub fn pull(&self, head: &Head, ds: &[f32]) -> Pulled {
        let (n, (r, gates)) = (head.n, self.factors(head));
        let (mut gate, mut dr, mut table) =
            (vec![0.0; n], vec![0.0; 2 * n - 1], vec![0.0; self.buckets]);
        wide!(for (query, ds) in ds.chunks_exact(n).enumerate() {
            let (r, dr) = (&r[n - 1 - query..][..n], &mut dr[n - 1 - query..][..n]);
            gate[query] = sum(n, |key| ds[key] * r[key]) / head.scale();
            dr.iter_mut()
                .zip(ds)
                .for_each(|(dr, ds)| *dr += gates[query] * ds);
        });
        self.of_row(n)
            .iter()
            .zip(dr)
            .for_each(|(bucket, dr)| table[*bucket] += dr);
        Pulled { gate, table }
    }

    /// Adds up what the heads of all rows, in their order, give back.
    pub fn collect(&self, pulled: Vec<Option<Pulled>>, g: &mut Grads) {
        let (heads, all) = (self.columns.len(), self.all_heads());
        for (t, pulled) in pulled.into_iter().enumerate() {
            let Some(Pulled { gate, table }) = pulled else {
                continue;
            };
            let (row, h) = (self.gate.spans.of(t / heads), t % heads);
            let dgate = g.of(&self.gate.values)[row.start * heads + h..]
                .iter_mut()
                .step_by(heads);
            dgate.zip(gate).for_each(|(to, d)| *to += d);
            let dtable = g.of(&self.table)[self.columns[h]..].iter_mut().step_by(all);
            dtable.zip(table).for_each(|(to, d)| *to += d);
        }
    }
}

/// Half of the buckets are for keys behind the query. Of each half, half are for one distance each, the others for
/// equal steps of its logarithm. In f32, as transformers computes it.
pub fn bucket(distance: isize, buckets: usize, farthest: usize) -> usize {
    let (half, exact) = (buckets / 2, buckets / 4);
    let (side, far) = (if distance > 0 { half } else { 0 }, distance.unsigned_abs());
    if far < exact {
        return side + far;
    }
    let share = (far as f32 / exact as f32).ln() / (farthest as f64 / exact as f64).ln() as f32;
    side + ((exact as f32 + share * (half - exact) as f32) as usize).min(half - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Σ i · bucket of the distances from -3000 to 3000, i from 1, as transformers' WavLM has them.
    #[test]
    fn buckets_are_those_of_wavlm() {
        let cases = [
            (320, 800, 4_857_430_604),
            (16, 40, 233_795_906),
            (32, 128, 484_331_390),
            (24, 20, 359_705_862),
            (7, 3, 76_519_498),
            (100, 4000, 1_451_535_684),
        ];
        for (buckets, farthest, sum) in cases {
            let of = |i: usize| i * bucket(i as isize - 3001, buckets, farthest);
            assert_eq!(
                (1..=6001).map(of).sum::<usize>(),
                sum,
                "{buckets} buckets up to {farthest}"
            );
        }
        let some = [-2000, -800, -633, -100, -79, 0, 1, 79, 80, 200, 799];
        assert_eq!(
            some.map(|d| bucket(d, 320, 800)),
            [159, 159, 151, 87, 79, 0, 161, 239, 240, 271, 319]
        );
    }
}
