//! A bias on the logits of attention by relative position (WavLM, Chen et al. 2022,
//! arXiv:2110.13900; buckets as in T5, Raffel et al. 2020), for each head:
//!   logits[query, key] += gate[query] · table[bucket(key - query)].
//! table (buckets, all heads), gate (frames, heads).
//!
//! In a row of n frames key - query has 2n - 1 values. With r the table's values by distance, the
//! bias of a query is the n values of r from n - 1 - query on, so no (n, n) biases are stored.
//! S = QKᵀ, which is divided by √d later, grows by √d gate r:
//!   dgate[query] = √d Σ_keys dS r, dr = √d Σ_queries gate dS,
//!   dtable[b] = Σ of dr over the distances of bucket b.
pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
use crate::tensor::{Device, DeviceStorage, Hidden, NoneTape, Param, Storage, Track, merge};

/// A bias as an argument of attention.
pub struct PositionBias<'a, T, D: Storage<f32> = Device> {
    /// (buckets, all heads)
    pub table: &'a Param<D>,
    /// The table's column of each head.
    pub columns: Vec<usize>,
    pub buckets: usize,
    /// The distance from which on all positions of a side share a bucket.
    pub farthest: usize,
    /// (frames, heads)
    pub gate: Hidden<T, D>,
}

/// What a device must do for biases of attention.
pub trait PositionBiasDevice: DeviceStorage {
    /// Columns and buckets of a bias, and what else the device needs to find a table's values.
    type ByDistance: 'static;

    /// Prepares the values of the table's `columns` for distances of these `buckets`, of which the
    /// table has `count`.
    fn by_distance(
        table: &Param<Self>,
        columns: Vec<usize>,
        buckets: Vec<usize>,
        count: usize,
    ) -> Self::ByDistance;
}

/// A bias without its tape.
pub struct Bias<D: PositionBiasDevice> {
    table: Param<D>,
    /// Buckets of the table.
    count: usize,
    gate: Hidden<NoneTape, D>,
    by_distance: D::ByDistance,
}

impl<D: PositionBiasDevice> Bias<D> {
    /// Splits a bias from its tape and joins that tape with `tape`.
    pub fn join<T: Track<D>>(tape: T, bias: Option<PositionBias<T, D>>) -> (Option<Self>, T) {
        let Some(bias) = bias else {
            return (None, tape);
        };
        let (gate, gate_tape) = bias.gate.split();
        let longest = gate.spans.lengths().max().unwrap_or(0).max(1) as isize;
        let buckets = (1 - longest..longest)
            .map(|distance| bucket(distance, bias.buckets, bias.farthest))
            .collect();
        let bias = Bias {
            table: bias.table.clone(),
            count: bias.buckets,
            gate,
            by_distance: D::by_distance(bias.table, bias.columns, buckets, bias.buckets),
        };
        (Some(bias), merge(tape, gate_tape))
    }
}

/// Returns the bucket of a distance, key - query, of `buckets`.
///
/// Half of the buckets are for keys after the query. Of each half, half are for one distance each,
/// the others for equal steps of its logarithm. Computes in f32, as transformers does.
pub fn bucket(distance: isize, buckets: usize, farthest: usize) -> usize {
    let half = buckets / 2;
    let exact = buckets / 4;
    let side = if distance > 0 { half } else { 0 };
    let far = distance.unsigned_abs();
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
            let weighted = |i: usize| i * bucket(i as isize - 3001, buckets, farthest);
            assert_eq!(
                (1..=6001).map(weighted).sum::<usize>(),
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
