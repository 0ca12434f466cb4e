//! [`crate::op::attention_map`] and [`crate::op::attend`]. On a GPU a map is (rows, heads, padded, padded), as [`Heads`] pads it.
use crate::cuda::heads::Heads;
use crate::cuda::mask::Mask;
use crate::gemm::Precision;
use crate::math::Dropout;
use crate::op::gate::cuda as gate;
use crate::op::position_bias::cuda::Bias;
use crate::op::{Map, PositionBias};
use crate::tensor::cuda::{Cuda, Slot, Vector, address, record, record_hidden, zeros};
use crate::tensor::{Hidden, Track, merge, split};

/// q and k are two tensors, not one given twice.
pub fn attention_map<T: Track<Cuda>>(
    [q, k]: [Hidden<T, Cuda>; 2],
    heads: usize,
    bias: Option<PositionBias<T, Cuda>>,
    precision: Precision,
) -> Map<T, Cuda> {
    let ((q, tq), (k, tk)) = (q.split(), k.split());
    let (bias, tape) = Bias::join(merge(tq, tk), bias);
    let spans = q.spans.clone();
    let all = Heads::new(
        &spans,
        [heads, q.width()],
        0,
        bias,
        Mask::times(1.0),
        precision,
    );
    let [to_q, to_k] = [&q, &k].map(|x| Slot::of(&x.values));
    let [q, k] = [q, k].map(|x| all.split(address(&x.values)));
    let values = zeros((all.scores_len(),));
    all.widen(&all.probabilities(&q, &k), address(&values));
    let values = record(values, tape, move |dp, g| {
        let (p, ds) = (all.probabilities(&q, &k), all.narrow(dp));
        all.score_gradient(&p, &ds);
        all.merge(&all.mixed(&ds, &k), g.at(&to_q));
        all.merge(&all.mixed_back(&ds, &q), g.at(&to_k));
        all.add_bias(&ds, g);
    });
    Map {
        values,
        spans,
        heads,
    }
}

/// o, of the layer that made the map or of another.
pub fn attend<T: Track<Cuda>>(
    Map {
        values,
        spans,
        heads,
    }: Map<T, Cuda>,
    v: Hidden<T, Cuda>,
    gate: Option<&Vector<T>>,
    drop: Dropout,
    precision: Precision,
) -> Hidden<T, Cuda> {
    let ((p, tape), (v, other)) = (split(values), v.split());
    let (gate, tape) = gate::join(merge(tape, other), gate);
    let (width, open) = (v.width(), gate.as_ref().map_or(0, address));
    let all = Heads::new(
        &spans,
        [heads, width],
        open,
        None,
        Mask::from(drop),
        precision,
    );
    let to_v = Slot::of(&v.values);
    let v = all.split(address(&v.values));
    let y = zeros((spans.total(), width));
    let dropped = all.dropped_map(&all.narrow(address(&p)));
    all.merge(&all.mixed(&dropped, &v), address(&y));
    record_hidden(y, spans, tape, move |dy, g| {
        let (narrow, dy) = (all.narrow(address(&p)), all.split(dy));
        all.merge(&all.mixed_back(&dropped, &dy), g.at(&to_v));
        let (dp, dgate) = (g.to(&p), gate.as_ref().map(|gate| g.to(gate)));
        all.map_gradient(&narrow, &all.scores(&dy, &v), dp, dgate);
    })
}

#[cfg(test)]
mod tests {
    use crate::cuda::check::both;
    use crate::op::check::{DROP, ROWS};
    use crate::op::position_bias::cuda::tests::{bias, case};

    #[test]
    fn maps_are_those_of_the_cpu() {
        for (width, heads) in [(6, 2), (8, 2)] {
            let case = case(&ROWS, width, heads);
            both!(&case, |x, p, tape, precision| {
                let gate = put(&p[6], tape);
                let bias = bias(
                    &p[7],
                    linear(x.clone(), &p[8], &p[9], Precision::F32),
                    heads,
                );
                let [q, k, v] = [0, 2, 4].map(|i| linear(x.clone(), &p[i], &p[i + 1], precision));
                let map = attention_map([q, k], heads, Some(bias), precision);
                let o = attend(map.clone(), v, Some(&gate), DROP, precision);
                residual(o, attend(map, x, None, DROP.fork(1), precision), DROP).values
            });
        }
    }
}
