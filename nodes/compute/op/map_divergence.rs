//! How a student's attention differs from a teacher's: the divergence of averaged maps (STaRHuBERT,
//! Jang et al. 2024, arXiv:2312.09040, its first objective).
//!
//! With S = mean over heads of P, (frames, frames) a row, T the target of that shape, and R rows
//! that have frames:
//!   y = 1/R Σ_rows Σ_queries Σ_keys T ln(T / S)      dP_h = -1/(R heads) T / S
//! Where T is 0 a pair counts 0; S counts as at least 1e-30. The numbers of heads may differ, since
//! T is averaged already ([`mean_map`]).
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
use super::attention_map::Map;
use crate::tensor::{
    DeviceStorage, Hidden, Matrix, NoneTape, Number, Slot, Spans, Track, Vector, record, split,
};

/// What a device must do for [`mean_map`] and [`map_divergence`].
pub trait MapDivergenceDevice: DeviceStorage {
    /// Returns the mean of P over heads, (frames, frames) a row, the rows one behind the other.
    fn mean(p: &Vector<NoneTape, Self>, spans: &Spans, heads: usize) -> Matrix<NoneTape, Self>;

    /// Returns `unit` Σ T ln(T / S).
    fn forward(
        mean: &Matrix<NoneTape, Self>,
        target: &Matrix<NoneTape, Self>,
        spans: &Spans,
        unit: f64,
    ) -> Number<NoneTape, Self>;

    /// Adds -`unit` / heads · dy T / S to the gradient of each head of P.
    fn backward(
        dy: Self::Upstream,
        mean: &Matrix<NoneTape, Self>,
        target: &Matrix<NoneTape, Self>,
        map: MapShape,
        unit: f64,
        dp: Self::Accumulator<'_>,
    );
}

/// The rows and heads of a map.
pub struct MapShape<'a> {
    pub spans: &'a Spans,
    pub heads: usize,
}

/// Averages a map over its heads: for each row frames · frames numbers, as frames of width 1.
pub fn mean_map<D: MapDivergenceDevice>(map: &Map<NoneTape, D>) -> Hidden<NoneTape, D> {
    Hidden {
        values: D::mean(&map.values, &map.spans, map.heads),
        spans: pairs(&map.spans),
    }
}

/// Returns the rows of a map that is averaged over its heads, from the frames of its rows.
pub fn pairs(spans: &Spans) -> Spans {
    Spans::new(spans.lengths().map(|n| n * n))
}

/// Returns Σ KL(target ‖ mean over heads) over queries, a mean over the rows; 0 without frames.
pub fn map_divergence<T: Track<D>, D: MapDivergenceDevice>(
    map: Map<T, D>,
    target: &Hidden<NoneTape, D>,
) -> Number<T, D> {
    let (p, tape) = split(map.values);
    let spans = map.spans;
    let heads = map.heads;
    assert_eq!(
        target.spans,
        pairs(&spans),
        "student and target differ in frames"
    );
    let rows = spans.lengths().filter(|n| *n > 0).count();
    let unit = 1.0 / rows.max(1) as f64;
    let mean = D::mean(&p, &spans, heads);
    let target = target.values.clone();
    let y = D::forward(&mean, &target, &spans, unit);
    let slot = Slot::of(&p);
    record(y, tape, move |dy, g| {
        let shape = MapShape {
            spans: &spans,
            heads,
        };
        D::backward(dy, &mean, &target, shape, unit, g.at(&slot));
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::Precision::F32;
    use crate::op::attention::tests::{case, qkv};
    use crate::op::attention_map;
    use crate::op::check::{Case, ROWS, check_op, close, noise};
    use crate::tensor::cpu::{hidden, read};

    const HEADS: usize = 2;

    /// Returns a target map for these rows, some of whose pairs are 0.
    fn target(spans: &Spans) -> Vec<f32> {
        let mut target = vec![];
        for n in spans.lengths() {
            for query in 0..n {
                let weights: Vec<f32> = noise(&format!("query{query}"), n)
                    .into_iter()
                    .map(|x| if x < -0.5 { 0.0 } else { x.exp() })
                    .collect();
                let total: f32 = weights.iter().sum::<f32>().max(1e-3);
                target.extend(weights.iter().map(|w| w / total));
            }
        }
        target
    }

    #[test]
    fn map_divergence_is_its_formula_and_its_gradient() {
        for width in [6, 14] {
            let case: Case = case(&ROWS, width, HEADS);
            let spans = case.x.spans.clone();
            let [q, k, _] = qkv(&case.x, &case.p, F32);
            let map = attention_map([q, k], HEADS, None, F32);
            let target = target(&spans);
            let mut mean = vec![];
            let mut p = read(&map.values);
            for n in spans.lengths() {
                let (row, rest) = p.split_at(HEADS * n * n);
                p = rest;
                let heads = |i: usize| (0..HEADS).map(move |h| row[h * n * n + i] as f64);
                mean.extend((0..n * n).map(|i| heads(i).sum::<f64>() / HEADS as f64));
            }
            close(mean_map(&map).read(), &mean, 1e-6);
            let of_pair = |(t, s): (&f32, &f64)| match *t as f64 {
                0.0 => 0.0,
                t => t * (t / s).ln(),
            };
            let divergence: f64 = target.iter().zip(&mean).map(of_pair).sum();
            let y = map_divergence(map, &hidden(target.clone(), 1, pairs(&spans)));
            // Three of the rows have frames.
            close(read(&y), &[divergence / 3.0], 1e-5);
            check_op!(case, |x, p, _, precision| {
                let [q, k, _] = qkv(&x, p, precision);
                let map = attention_map([q, k], HEADS, None, precision);
                map_divergence(map, &hidden(target.clone(), 1, pairs(&spans)))
            });
        }
    }

    #[test]
    fn equal_maps_do_not_diverge() {
        let case: Case = case(&[7, 4], 6, HEADS);
        let [q, k, _] = qkv(&case.x, &case.p, F32);
        let map = attention_map([q, k], HEADS, None, F32);
        let same = mean_map(&map);
        close(read(&map_divergence(map, &same)), &[0.0], 1e-6);
    }
}
