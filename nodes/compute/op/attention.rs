//! Multi-head attention, row by row: for each head, o = gate drop(P) v with
//! P = softmax(q kᵀ / √d + bias). q, k, v, o (frames, heads · d), gate (heads).
//!
//! P is not saved but computed again. With do the gradient of o and D = drop ∘ (do vᵀ):
//!   dv = gate (P ∘ drop)ᵀ do, m = Σ_keys D ∘ P, dgate = Σ m, dS = gate P ∘ (D - m) / √d,
//!   dq = dS k, dk = dSᵀ q.
pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
use super::gate;
use super::position_bias::{Bias, PositionBias, PositionBiasDevice};
use crate::gemm::Precision;
use crate::math::Dropout;
use crate::tensor::{
    Grads, Hidden, Matrix, NoneTape, Param, Slot, Spans, Track, Vector, merge, record_hidden,
};

/// The heads of all rows of a batch: head h of row r has number r · heads + h.
pub struct AttentionHeads<D: PositionBiasDevice> {
    pub spans: Spans,
    /// Channels of all heads of a frame, heads · d.
    pub width: usize,
    pub per_row: usize,
    pub gate: Option<Param<D>>,
    pub bias: Option<Bias<D>>,
    pub drop: Dropout,
    pub precision: Precision,
}

/// What a device must do for [`attention`].
pub trait AttentionDevice: PositionBiasDevice {
    /// What the backward pass needs of the forward pass.
    type Saved: 'static;

    /// Returns o for q, k and v.
    fn forward(
        qkv: [Matrix<NoneTape, Self>; 3],
        heads: AttentionHeads<Self>,
    ) -> (Matrix<NoneTape, Self>, Self::Saved);

    /// Adds to the gradients of `inputs`, which are q, k and v, and of the gate and the bias.
    fn backward(
        dy: Self::Upstream,
        saved: &Self::Saved,
        inputs: &[Slot<Self>; 3],
        g: &mut Grads<Self>,
    );
}

/// Attends with each head of each row. q, k and v are different tensors.
pub fn attention<T: Track<D>, D: AttentionDevice>(
    [q, k, v]: [Hidden<T, D>; 3],
    heads: usize,
    gate: Option<&Vector<T, D>>,
    bias: Option<PositionBias<T, D>>,
    drop: Dropout,
    precision: Precision,
) -> Hidden<T, D> {
    let (q, q_tape) = q.split();
    let (k, k_tape) = k.split();
    let (v, v_tape) = v.split();
    let (gate, tape) = gate::join(merge(merge(q_tape, k_tape), v_tape), gate);
    let (bias, tape) = Bias::join(tape, bias);
    let inputs = [&q, &k, &v].map(|x| Slot::of(&x.values));
    let spans = q.spans.clone();
    let heads = AttentionHeads {
        spans: q.spans.clone(),
        width: q.width(),
        per_row: heads,
        gate,
        bias,
        drop,
        precision,
    };
    let (o, saved) = D::forward([q.values, k.values, v.values], heads);
    record_hidden(o, spans, tape, move |dy, g| {
        D::backward(dy, &saved, &inputs, g);
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::gemm::Precision::F32;
    use crate::op::check::{Case, DROP, ROWS, affine, check_op, close};
    use crate::op::linear;
    use crate::op::passes::Passes;
    use crate::op::position_bias::bucket;
    use crate::tensor::cpu::read;
    use crate::tensor::{Storage, put};

    const BUCKETS: usize = 12;
    const FARTHEST: usize = 9;
    /// Of each head, the column of a table for three heads.
    const COLUMNS: [usize; 2] = [2, 0];

    /// Returns x and three linear maps to q, k and v, gates, a table for three heads, a linear map
    /// to the gates of its biases, and one of the result.
    pub(crate) fn case(rows: &[usize], width: usize, heads: usize) -> Case {
        let square = width * width;
        let sizes = [
            square,
            width,
            square,
            width,
            square,
            width,
            heads,
            BUCKETS * 3,
            heads * width,
            heads,
            square,
            width,
        ];
        Case::new(rows, width, &sizes).scaled((4.0 / width as f32).min(0.5))
    }

    /// Returns q, k and v.
    pub(crate) fn qkv<T: Track<D>, D: Passes>(
        x: &Hidden<T, D>,
        p: &[Param<D>],
        precision: Precision,
    ) -> [Hidden<T, D>; 3] {
        [0, 2, 4].map(|i| linear(x.clone(), &p[i], &p[i + 1], precision))
    }

    /// Returns a bias from columns of `table`.
    pub(crate) fn bias<T, D: Storage<f32>>(
        table: &Param<D>,
        gate: Hidden<T, D>,
        heads: usize,
    ) -> PositionBias<'_, T, D> {
        PositionBias {
            table,
            columns: COLUMNS[..heads].to_vec(),
            buckets: BUCKETS,
            farthest: FARTHEST,
            gate,
        }
    }

    /// Returns the bias of a [`case`].
    pub(crate) fn case_bias<'a, T: Track<D>, D: Passes>(
        x: &Hidden<T, D>,
        p: &'a [Param<D>],
        heads: usize,
    ) -> PositionBias<'a, T, D> {
        bias(&p[7], linear(x.clone(), &p[8], &p[9], F32), heads)
    }

    /// Returns o of a [`case`] in f64, with gates and dropout.
    pub(crate) fn definition(case: &Case, biased: bool) -> Vec<f64> {
        let width = case.x.width();
        let gate = read(&case.p[6]);
        let heads = gate.len();
        let d = width / heads;
        let [q, k, v, bias_gates] =
            [0, 2, 4, 8].map(|i| affine(&case.frames(), width, &case.p[i], &case.p[i + 1]));
        let table = read(&case.p[7]);
        let mut o = vec![0.0; q.len()];
        for (r, row) in case.x.spans.iter().enumerate() {
            for (h, t) in (0..heads).flat_map(|h| row.clone().map(move |t| (h, t))) {
                let first = |t: usize| t * width + h * d;
                let logit = |s: usize| {
                    let dot: f64 = (0..d).map(|i| q[first(t) + i] * k[first(s) + i]).sum();
                    let bucket = bucket(s as isize - t as isize, BUCKETS, FARTHEST);
                    let bias = bias_gates[t * heads + h] * table[bucket * 3 + COLUMNS[h]] as f64;
                    dot / (d as f64).sqrt() + if biased { bias } else { 0.0 }
                };
                let total: f64 = row.clone().map(|s| logit(s).exp()).sum();
                for (j, s) in row.clone().enumerate() {
                    let mask = DROP
                        .fork((r * heads + h) as u32)
                        .factor((t - row.start) * row.len() + j);
                    let p = logit(s).exp() / total * mask as f64 * gate[h] as f64;
                    (0..d).for_each(|i| o[first(t) + i] += p * v[first(s) + i]);
                }
            }
        }
        o
    }

    #[test]
    fn attention_is_its_formula_and_its_gradient() {
        for width in [6, 14] {
            let case = case(&ROWS, width, 2);
            let x = &case.x;
            let p = &case.p;
            let gate = Some(&p[6]);
            let o = attention(qkv(x, p, F32), 2, gate, None, DROP, F32);
            close(o.read(), &definition(&case, false), 1e-4);
            let bias = Some(case_bias(x, p, 2));
            let o = attention(qkv(x, p, F32), 2, gate, bias, DROP, F32);
            close(o.read(), &definition(&case, true), 1e-4);
        }
        for (rows, width, heads) in [
            (&ROWS[..], 6, 2),
            (&ROWS, 14, 2),
            (&ROWS, 8, 2),
            (&[150, 3, 0], 8, 2),
            (&ROWS, 5, 1),
            (&[70, 1], 72, 1),
        ] {
            let case = case(rows, width, heads);
            check_op!(case, |x, p, tape, precision| {
                let gate = put(&p[6], tape);
                let bias = case_bias(&x, p, heads);
                let qkv = qkv(&x, p, precision);
                attention(qkv, heads, Some(&gate), Some(bias), DROP, precision).values
            });
            check_op!(case, |x, p, _, precision| {
                let qkv = qkv(&x, p, precision);
                attention(qkv, heads, None, None, Dropout::NONE, precision).values
            });
        }
    }
}
