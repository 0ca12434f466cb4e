//! Attention in two ops, for layers that use the map of another (ARMHuBERT, Jang et al. 2023,
//! arXiv:2305.11685): P = softmax(q kᵀ / √d + bias), and for each layer that reads it
//! o = gate drop(P) v with values of its own.
//! q, k, v, o (frames, heads · d), gate (heads), P (heads, frames, frames) a row, the rows one
//! behind the other; a device may pad it.
//!
//! With do the gradient of o and D = drop ∘ (do vᵀ):
//!   dv = gate (P ∘ drop)ᵀ do, dgate = Σ P ∘ D, dP = gate D;
//! from dP on as in [`super::attention`].
pub(crate) mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
use super::attention::AttentionHeads;
use super::gate;
use super::position_bias::{Bias, PositionBias, PositionBiasDevice};
use crate::gemm::Precision;
use crate::math::Dropout;
use crate::tensor::{
    self, Device, Grads, Hidden, Matrix, NoneTape, Slot, Spans, Storage, Track, merge, record,
    record_hidden, split,
};

/// P, before any dropout.
#[derive(Clone)]
pub struct Map<T = NoneTape, D: Storage<f32> = Device> {
    pub values: tensor::Vector<T, D>,
    /// Frames of each row.
    pub spans: Spans,
    pub heads: usize,
}

impl<D: Storage<f32>> Map<NoneTape, D> {
    /// Puts a constant map on `tape`.
    pub fn on<T: Track<D>>(&self, tape: &T) -> Map<T, D> {
        Map {
            values: tensor::put(&self.values, tape),
            spans: self.spans.clone(),
            heads: self.heads,
        }
    }
}

impl<T: Track<D>, D: Storage<f32>> Map<T, D> {
    /// Returns the map off its tape.
    pub fn frozen(&self) -> Map<NoneTape, D> {
        Map {
            values: split(self.values.clone()).0,
            spans: self.spans.clone(),
            heads: self.heads,
        }
    }
}

type Vector<D> = tensor::Vector<NoneTape, D>;

/// What a device must do for [`attention_map`] and [`attend`].
pub trait AttentionMapDevice: PositionBiasDevice {
    /// What the backward pass of [`attention_map`] needs of its forward pass.
    type SavedMap: 'static;
    /// What the backward pass of [`attend`] needs beside P.
    type SavedAttend: 'static;

    /// Returns P for q and k.
    fn map(
        qk: [Matrix<NoneTape, Self>; 2],
        heads: AttentionHeads<Self>,
    ) -> (Vector<Self>, Self::SavedMap);

    /// Adds to the gradients of `inputs`, which are q and k, and of the bias.
    fn map_backward(
        dp: Self::Upstream,
        saved: &Self::SavedMap,
        inputs: &[Slot<Self>; 2],
        g: &mut Grads<Self>,
    );

    /// Returns o for P and v.
    fn attend(
        p: &Vector<Self>,
        v: Matrix<NoneTape, Self>,
        heads: AttentionHeads<Self>,
    ) -> (Matrix<NoneTape, Self>, Self::SavedAttend);

    /// Adds to the gradients of P, v and the gate.
    fn attend_backward(
        dy: Self::Upstream,
        p: &Vector<Self>,
        saved: &Self::SavedAttend,
        v: &Slot<Self>,
        g: &mut Grads<Self>,
    );
}

/// Computes the map of each head of each row. q and k are different tensors.
pub fn attention_map<T: Track<D>, D: AttentionMapDevice>(
    [q, k]: [Hidden<T, D>; 2],
    heads: usize,
    bias: Option<PositionBias<T, D>>,
    precision: Precision,
) -> Map<T, D> {
    let (q, q_tape) = q.split();
    let (k, k_tape) = k.split();
    let (bias, tape) = Bias::join(merge(q_tape, k_tape), bias);
    let inputs = [&q, &k].map(|x| Slot::of(&x.values));
    let spans = q.spans.clone();
    let all = AttentionHeads {
        spans: q.spans.clone(),
        width: q.width(),
        per_row: heads,
        gate: None,
        bias,
        drop: Dropout::NONE,
        precision,
    };
    let (p, saved) = D::map([q.values, k.values], all);
    let values = record(p, tape, move |dp, g| {
        D::map_backward(dp, &saved, &inputs, g);
    });
    Map {
        values,
        spans,
        heads,
    }
}

/// Attends with the map of the same layer or of another.
pub fn attend<T: Track<D>, D: AttentionMapDevice>(
    map: Map<T, D>,
    v: Hidden<T, D>,
    gate: Option<&tensor::Vector<T, D>>,
    drop: Dropout,
    precision: Precision,
) -> Hidden<T, D> {
    let (p, p_tape) = split(map.values);
    let (v, v_tape) = v.split();
    let (gate, tape) = gate::join(merge(p_tape, v_tape), gate);
    let input = Slot::of(&v.values);
    let heads = AttentionHeads {
        spans: map.spans.clone(),
        width: v.width(),
        per_row: map.heads,
        gate,
        bias: None,
        drop,
        precision,
    };
    let (o, saved) = D::attend(&p, v.values, heads);
    record_hidden(o, map.spans, tape, move |dy, g| {
        D::attend_backward(dy, &p, &saved, &input, g);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::Precision::F32;
    use crate::op::attention::tests::{case, case_bias, definition, qkv};
    use crate::op::check::{DROP, ROWS, check_op, close};
    use crate::op::residual;
    use crate::tensor::cpu::read;
    use crate::tensor::put;

    const HEADS: usize = 2;

    #[test]
    fn a_map_and_its_use_are_attention() {
        for width in [6, 14] {
            let case = case(&ROWS, width, HEADS);
            let x = &case.x;
            let p = &case.p;
            let [q, k, v] = qkv(x, p, F32);
            let map = attention_map([q, k], HEADS, Some(case_bias(x, p, HEADS)), F32);
            let sum: f32 = read(&map.values).iter().sum();
            assert!((sum - (x.spans.total() * HEADS) as f32).abs() < 1e-3);
            let o = attend(map, v, Some(&p[6]), DROP, F32);
            close(o.read(), &definition(&case, true), 1e-4);
        }
    }

    #[test]
    fn gradients_of_a_map() {
        for width in [6, 14, 8] {
            let case = case(&ROWS, width, HEADS);
            check_op!(case, |x, p, _, precision| {
                let [q, k, v] = qkv(&x, p, precision);
                let map = attention_map([q, k], HEADS, None, precision);
                attend(map, v, None, Dropout::NONE, precision).values
            });
        }
    }

    /// Both readers add to the gradient of the map.
    #[test]
    fn gradients_of_a_map_that_is_used_again() {
        for width in [6, 14, 8] {
            let case = case(&ROWS, width, HEADS);
            check_op!(case, |x, p, tape, precision| {
                let [q, k, v] = qkv(&x, p, precision);
                let gate = put(&p[6], tape);
                let bias = case_bias(&x, p, HEADS);
                let map = attention_map([q, k], HEADS, Some(bias), precision);
                let o = attend(map.clone(), v, Some(&gate), DROP, precision);
                attend(map, o, Some(&gate), Dropout::NONE, precision).values
            });
            check_op!(case, |x, p, tape, precision| {
                let [q, k, v] = qkv(&x, p, precision);
                let gate = put(&p[6], tape);
                let bias = case_bias(&x, p, HEADS);
                let map = attention_map([q, k], HEADS, Some(bias), precision);
                let o = attend(map.clone(), v, Some(&gate), DROP, precision);
                let of_x = attend(map, x, None, DROP.fork(1), precision);
                residual(o, of_x, DROP).values
            });
        }
    }
}
