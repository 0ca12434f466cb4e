//! [`AttentionMapDevice`] by batched GEMMs over [`PaddedHeads`]: P is (rows, heads, padded,
//! padded). Saves q, k, v and gate drop(P) in the format of products, and computes P again.
use super::AttentionMapDevice;
use crate::cuda::gpu::{Address, Memory, gpu};
use crate::cuda::grid::for_each;
use crate::cuda::kernels::{self, Pack};
use crate::cuda::mask::Mask;
use crate::cuda::sums::add_column_sums;
use crate::gemm::Precision;
use crate::op::attention::AttentionHeads;
use crate::op::attention::cuda::padded_heads::PaddedHeads;
use crate::op::position_bias::cuda::Bias;
use crate::tensor::cuda::{Cuda, Matrix, Param, Vector, address, zeros};
use crate::tensor::{Grads, Slot};

pub struct SavedMap {
    heads: PaddedHeads,
    bias: Option<Bias>,
    q: Memory,
    k: Memory,
}

pub struct SavedAttend {
    heads: PaddedHeads,
    gate: Option<Param>,
    /// Frames of all rows.
    frames: usize,
    v: Memory,
    /// gate drop(P)
    dropped: Memory,
}

impl AttentionMapDevice for Cuda {
    type SavedMap = SavedMap;
    type SavedAttend = SavedAttend;

    fn map(qk: [Matrix; 2], heads: AttentionHeads<Cuda>) -> (Vector, SavedMap) {
        let padded = padded(&heads);
        let [q, k] = qk.map(|x| padded.split(address(&x)));
        let saved = SavedMap {
            q,
            k,
            heads: padded,
            bias: heads.bias,
        };
        let p = zeros((saved.heads.scores_len(),));
        widen(&saved.heads, &saved.probabilities(), address(&p));
        (p, saved)
    }

    fn map_backward(dp: Address, saved: &SavedMap, [q, k]: &[Slot<Cuda>; 2], g: &mut Grads<Cuda>) {
        let heads = &saved.heads;
        let p = saved.probabilities();
        let ds = narrow(heads, dp);
        softmax_backward(heads, &p, &ds);
        heads.merge(&heads.mixed(&ds, &saved.k), g.at(q));
        heads.merge(&heads.mixed_back(&ds, &saved.q), g.at(k));
        if let Some(bias) = &saved.bias {
            bias_backward(heads, bias, &ds, g);
        }
    }

    fn attend(p: &Vector, v: Matrix, heads: AttentionHeads<Cuda>) -> (Matrix, SavedAttend) {
        let padded = padded(&heads);
        let frames = heads.spans.total();
        let v = padded.split(address(&v));
        let o = zeros((frames, heads.width));
        let dropped = drop_and_gate(&padded, &narrow(&padded, address(p)));
        padded.merge(&padded.mixed(&dropped, &v), address(&o));
        let saved = SavedAttend {
            heads: padded,
            gate: heads.gate,
            frames,
            v,
            dropped,
        };
        (o, saved)
    }

    fn attend_backward(
        dy: Address,
        p: &Vector,
        saved: &SavedAttend,
        v: &Slot<Cuda>,
        g: &mut Grads<Cuda>,
    ) {
        let heads = &saved.heads;
        let narrow_p = narrow(heads, address(p));
        let dy = heads.split(dy);
        heads.merge(&heads.mixed_back(&saved.dropped, &dy), g.at(v));
        let dp = g.of(p);
        let ddropped = heads.scores(&dy, &saved.v);
        let dgates = gpu().memory(Precision::F32, saved.frames * heads.shape.heads);
        kernels::drop_scores_backward(
            heads.precision,
            heads.grid(),
            narrow_p.at(),
            ddropped.at(),
            dp,
            dgates.at(),
            heads.padded,
            heads.shape,
        );
        if let Some(gate) = &saved.gate {
            add_column_sums(dgates.at(), g.of(gate), saved.frames, heads.shape.heads);
        }
    }
}

impl SavedMap {
    /// Returns P in the format of products.
    fn probabilities(&self) -> Memory {
        let heads = &self.heads;
        let scores = heads.scores(&self.q, &self.k);
        kernels::softmax(
            heads.precision,
            heads.grid(),
            scores.at(),
            heads.padded,
            heads.shape,
            Bias::argument(self.bias.as_ref()),
        );
        scores
    }
}

fn padded(heads: &AttentionHeads<Cuda>) -> PaddedHeads {
    PaddedHeads::new(
        &heads.spans,
        [heads.per_row, heads.width],
        heads.gate.as_ref().map_or(0, address),
        Mask::from(heads.drop),
        heads.precision,
    )
}

/// Turns the gradient of P into that of the scores, in place.
fn softmax_backward(heads: &PaddedHeads, p: &Memory, dp: &Memory) {
    kernels::softmax_backward(
        heads.precision,
        heads.grid(),
        p.at(),
        dp.at(),
        heads.padded,
        heads.shape,
    );
}

/// Adds to the gradients of a bias, from that of the scores.
fn bias_backward(heads: &PaddedHeads, bias: &Bias, ds: &Memory, g: &mut Grads<Cuda>) {
    let argument = Bias::argument(Some(bias));
    kernels::bias_gate(
        heads.precision,
        heads.grid(),
        ds.at(),
        bias.gate_gradient(g),
        heads.padded,
        heads.shape,
        argument,
    );
    bias.accumulate_table_gradient(g, |dr, grid| {
        kernels::bias_relative(
            heads.precision,
            grid,
            ds.at(),
            dr,
            heads.rows,
            heads.padded,
            heads.shape,
            argument,
        );
    });
}

/// Returns gate drop(P).
fn drop_and_gate(heads: &PaddedHeads, p: &Memory) -> Memory {
    let dropped = heads.memory(heads.padded);
    kernels::drop_scores(
        heads.precision,
        heads.grid(),
        p.at(),
        dropped.at(),
        heads.padded,
        heads.shape,
    );
    dropped
}

/// Returns f32 scores in the format of products.
fn narrow(heads: &PaddedHeads, from: Address) -> Memory {
    let n = heads.scores_len();
    let to = heads.memory(heads.padded);
    kernels::narrow(
        heads.precision,
        Pack::Four,
        for_each(n, 4),
        from,
        to.at(),
        n,
    );
    to
}

/// Writes scores in the format of products as f32.
fn widen(heads: &PaddedHeads, from: &Memory, to: Address) {
    let n = heads.scores_len();
    kernels::widen(
        heads.precision,
        Pack::Four,
        for_each(n, 4),
        from.at(),
        to,
        n,
    );
}
