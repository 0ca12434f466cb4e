//! y = softmax(p) over the keys of each query: the second softmax that the released code of
//! ARMHuBERT applies to a reused map (sungnyun/ARMHuBERT). p and y are maps,
//! (heads, frames, frames) a row ([`super::Map`]).
//! dp = y ∘ (dy - Σ_keys dy ∘ y).
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
use super::attention_map::Map;
use crate::tensor::{DeviceStorage, NoneTape, Slot, Spans, Track, Vector, record, split};

/// What a device must do for [`map_softmax`].
pub trait MapSoftmaxDevice: DeviceStorage {
    /// Returns y.
    fn forward(p: &Vector<NoneTape, Self>, spans: &Spans, heads: usize) -> Vector<NoneTape, Self>;

    /// Adds to the gradient of p.
    fn backward(
        dy: Self::Upstream,
        y: &Vector<NoneTape, Self>,
        spans: &Spans,
        heads: usize,
        dp: Self::Accumulator<'_>,
    );
}

/// Normalises a map once more.
pub fn map_softmax<T: Track<D>, D: MapSoftmaxDevice>(map: Map<T, D>) -> Map<T, D> {
    let (p, tape) = split(map.values);
    let spans = map.spans.clone();
    let heads = map.heads;
    let y = D::forward(&p, &spans, heads);
    let slot = Slot::of(&p);
    let retained = y.clone();
    let rule_spans = spans.clone();
    Map {
        values: record(y, tape, move |dy, g| {
            D::backward(dy, &retained, &rule_spans, heads, g.at(&slot));
        }),
        spans,
        heads,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::Precision::F32;
    use crate::math::Dropout;
    use crate::op::attention::tests::{case, qkv};
    use crate::op::check::{ROWS, check_op, close};
    use crate::op::{attend, attention_map};
    use crate::tensor::cpu::read;

    #[test]
    fn map_softmax_is_its_formula_and_its_gradient() {
        for width in [6, 14] {
            let case = case(&ROWS, width, 2);
            let [q, k, _] = qkv(&case.x, &case.p, F32);
            let map = attention_map([q, k], 2, None, F32);
            let mut reference = vec![];
            let mut queries = read(&map.values);
            for n in case.x.spans.lengths() {
                for _ in 0..2 * n {
                    let (keys, rest) = queries.split_at(n);
                    queries = rest;
                    let total: f64 = keys.iter().map(|p| (*p as f64).exp()).sum();
                    reference.extend(keys.iter().map(|p| (*p as f64).exp() / total));
                }
            }
            close(read(&map_softmax(map).values), &reference, 1e-6);
            check_op!(case, |x, p, _, precision| {
                let [q, k, v] = qkv(&x, p, precision);
                let map = attention_map([q, k], 2, None, precision);
                attend(map_softmax(map), v, None, Dropout::NONE, precision).values
            });
        }
    }
}
