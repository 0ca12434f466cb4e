//! What the ops share that have attention maps in memory: each head of each row is a matrix of its
//! own (padded, size) in the format of GEMMs, its frames padded with zeros to a multiple of 8
//! (op/attention_map/attention_map.cu).
use super::sums::add_column_sums;
use crate::cuda::gpu::{Address, Memory, for_each, gpu};
use crate::cuda::kernels::{self, AttentionShape, Grid, Pack, RelativeBias};
use crate::cuda::mask::Mask;
use crate::cuda::product::{Out, View, products};
use crate::gemm::Precision;
use crate::op::position_bias::cuda::Bias;
use crate::tensor::cuda::Cuda;
use crate::tensor::{Grads, Spans};

/// The heads of all rows of a batch. Matrices of heads are (rows, heads, padded, size), scores
/// (rows, heads, padded, padded).
pub struct Heads {
    pub rows: usize,
    /// Frames of the longest row, filled up to a multiple of 8.
    pub padded: usize,
    pub sizes: AttentionShape,
    pub precision: Precision,
    bias: Option<Bias>,
    frames: usize,
    _starts: Memory,
}

impl Heads {
    /// `gate` is the address of a factor for each head, or 0.
    pub fn new(
        spans: &Spans,
        [heads, width]: [usize; 2],
        gate: Address,
        bias: Option<Bias>,
        mask: Mask,
        precision: Precision,
    ) -> Heads {
        let starts = gpu().starts(spans);
        Heads {
            rows: spans.rows(),
            padded: spans.lengths().max().unwrap_or(0).next_multiple_of(8),
            sizes: AttentionShape {
                starts: starts.at(),
                heads,
                size: width / heads,
                gate,
                mask,
            },
            precision,
            bias,
            frames: spans.total(),
            _starts: starts,
        }
    }

    /// Returns the grid of a kernel with a warp for each frame of each head.
    pub fn grid(&self) -> Grid {
        [self.padded / 8, self.rows * self.sizes.heads]
    }

    /// Returns the number of scores of all heads.
    pub fn scores_len(&self) -> usize {
        self.rows * self.sizes.heads * self.padded * self.padded
    }

    /// Copies an array (frames, heads size) into matrices of heads.
    pub fn split(&self, from: Address) -> Memory {
        let to = self.memory(self.sizes.size);
        let pack = Pack::of(self.sizes.size);
        let grid = self.grid();
        kernels::split(
            self.precision,
            pack,
            grid,
            from,
            to.at(),
            self.padded,
            self.sizes,
        );
        to
    }

    /// Adds matrices of heads to an array (frames, heads size).
    pub fn merge(&self, from: &Memory, to: Address) {
        let pack = Pack::of(self.sizes.size);
        let grid = self.grid();
        kernels::merge(
            self.precision,
            pack,
            grid,
            from.at(),
            to,
            self.padded,
            self.sizes,
        );
    }

    /// Returns a bᵀ for each head: scores from matrices.
    pub fn scores(&self, a: &Memory, b: &Memory) -> Memory {
        let to = self.memory(self.padded);
        products(
            self.precision,
            self.rows * self.sizes.heads,
            [self.padded, self.padded, self.sizes.size],
            self.matrices(a),
            self.matrices(b).t(),
            Out::Set(self.squares(&to)),
        );
        to
    }

    /// Returns p x for each head: matrices from scores and matrices.
    pub fn mixed(&self, p: &Memory, x: &Memory) -> Memory {
        self.product(self.squares(p), x)
    }

    /// Returns pᵀ x for each head.
    pub fn mixed_back(&self, p: &Memory, x: &Memory) -> Memory {
        self.product(self.squares(p).t(), x)
    }

    fn product(&self, p: View, x: &Memory) -> Memory {
        let to = self.memory(self.sizes.size);
        products(
            self.precision,
            self.rows * self.sizes.heads,
            [self.padded, self.sizes.size, self.padded],
            p,
            self.matrices(x),
            Out::Set(self.matrices(&to)),
        );
        to
    }

    /// Returns p = softmax(q kᵀ / √size + bias).
    pub fn probabilities(&self, q: &Memory, k: &Memory) -> Memory {
        let scores = self.scores(q, k);
        let bias = match &self.bias {
            Some(bias) => bias.places(),
            None => RelativeBias::NONE,
        };
        let grid = self.grid();
        kernels::softmax(
            self.precision,
            grid,
            scores.at(),
            self.padded,
            self.sizes,
            bias,
        );
        scores
    }

    /// Replaces `d`, the gradient of probabilities, by that of their scores.
    pub fn score_gradient(&self, p: &Memory, d: &Memory) {
        let grid = self.grid();
        kernels::softmax_backward(
            self.precision,
            grid,
            p.at(),
            d.at(),
            self.padded,
            self.sizes,
        );
    }

    /// Returns gate drop(p).
    pub fn dropped_map(&self, p: &Memory) -> Memory {
        let to = self.memory(self.padded);
        let grid = self.grid();
        kernels::drop_scores(
            self.precision,
            grid,
            p.at(),
            to.at(),
            self.padded,
            self.sizes,
        );
        to
    }

    /// Accumulates the gradients of p and of the gate, from `d`, that of [`Heads::dropped_map`].
    pub fn map_gradient(&self, p: &Memory, d: &Memory, dp: Address, dgate: Option<Address>) {
        let by_frame = gpu().memory(Precision::F32, self.frames * self.sizes.heads);
        kernels::drop_scores_backward(
            self.precision,
            self.grid(),
            p.at(),
            d.at(),
            dp,
            by_frame.at(),
            self.padded,
            self.sizes,
        );
        if let Some(dgate) = dgate {
            add_column_sums(by_frame.at(), dgate, self.frames, self.sizes.heads);
        }
    }

    /// Returns scores of f32 in the format of GEMMs.
    pub fn narrow(&self, from: Address) -> Memory {
        let n = self.scores_len();
        let to = self.memory(self.padded);
        let grid = for_each(n, self.padded);
        kernels::narrow(self.precision, Pack::Four, grid, from, to.at(), n);
        to
    }

    /// Writes scores to an array of f32.
    pub fn widen(&self, from: &Memory, to: Address) {
        let n = self.scores_len();
        let grid = for_each(n, self.padded);
        kernels::widen(self.precision, Pack::Four, grid, from.at(), to, n);
    }

    /// Accumulates the gradients of the bias, from those of scores.
    pub fn add_bias(&self, ds: &Memory, g: &mut Grads<Cuda>) {
        if let Some(bias) = &self.bias {
            bias.pull_map(self, ds, g);
        }
    }

    /// Allocates rows of `width` numbers for each frame of each head.
    fn memory(&self, width: usize) -> Memory {
        let rows = self.rows * self.sizes.heads * self.padded;
        gpu().memory(self.precision, rows * width)
    }

    fn squares(&self, scores: &Memory) -> View {
        View::of(scores, self.padded).batch_stride(self.padded * self.padded)
    }

    fn matrices(&self, heads: &Memory) -> View {
        View::of(heads, self.sizes.size).batch_stride(self.padded * self.sizes.size)
    }
}
