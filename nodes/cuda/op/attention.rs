//! [`crate::op::attention`]: a few rows after the other, so that few scores stand in memory at once. They are not kept; q, k
//! and v are, by heads, and backward computes the scores again.
use super::heads::Heads;
use super::position_bias::Bias;
use super::{Mask, gate};
use crate::gemm::Precision;
use crate::math::Dropout;
use crate::op::PositionBias;
use crate::tensor::cuda::{Cuda, Slot, Vector, address, record_hidden, zeros};
use crate::tensor::{Hidden, Track, merge};

/// q, k and v are three tensors, not one given thrice.
pub fn attention<T: Track<Cuda>>(
    [q, k, v]: [Hidden<T, Cuda>; 3],
    heads: usize,
    gate: Option<&Vector<T>>,
    bias: Option<PositionBias<T, Cuda>>,
    drop: Dropout,
    precision: Precision,
) -> Hidden<T, Cuda> {
    let ((q, tq), (k, tk), (v, tv)) = (q.split(), k.split(), v.split());
    let (gate, tape) = gate::join(merge(merge(tq, tk), tv), gate);
    let (bias, tape) = Bias::join(tape, bias);
    let (width, spans) = (q.width(), q.spans.clone());
    let open = gate.as_ref().map_or(0, address);
    let groups = Heads::new(&spans, [heads, width], open, bias, Mask::from(drop), precision).groups(&spans);
    let (from, y) = ([&q, &k, &v].map(|x| address(&x.values)), zeros((spans.total(), width)));
    let [to_q, to_k, to_v] = [&q, &k, &v].map(|x| Slot::of(&x.values));
    let attend = |all: Heads| {
        let [q, k, v] = from.map(|x| all.split(x));
        all.merge(&all.mixed(&all.probabilities(&q, &k), &v), address(&y));
        (all, [q, k, v])
    };
    let groups: Vec<_> = groups.into_iter().map(attend).collect();
    record_hidden(y, spans, tape, move |dy, g| {
        for (all, [q, k, v]) in groups {
            let (p, dy) = (all.scores(&q, &k), all.split(dy));
            all.merge(&all.mixed_back(&all.beside(&p), &dy), g.at(&to_v));
            let ds = all.scores(&dy, &v);
            let along = all.score_gradient(&p, &ds);
            all.merge(&all.mixed(&ds, &k), g.at(&to_q));
            all.merge(&all.mixed_back(&ds, &q), g.at(&to_k));
            if let Some(gate) = &gate {
                all.add_gates(&along, g.to(gate));
            }
            all.add_bias(&ds, g);
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::cuda::check::both;
    use crate::cuda::op::position_bias::tests::{bias, case};
    use crate::math::Dropout;
    use crate::op::check::{DROP, ROWS};

    #[test]
    fn attention_is_that_of_the_cpu() {
        for (rows, width, heads) in [(&ROWS[..], 6, 2), (&[150, 3], 8, 2), (&ROWS, 5, 1)] {
            let case = case(rows, width, heads);
            for (drop, gated, biased) in [(DROP, true, true), (Dropout::NONE, false, false)] {
                both!(&case, |x, p, tape, precision| {
                    let gate = put(&p[6], tape);
                    let bias = bias(&p[7], linear(x.clone(), &p[8], &p[9], Precision::F32), heads);
                    let three = [0, 2, 4].map(|i| linear(x.clone(), &p[i], &p[i + 1], precision));
                    attention(three, heads, gated.then_some(&gate), biased.then_some(bias), drop, precision).values
                });
            }
        }
    }
}
