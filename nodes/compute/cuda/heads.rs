//! What the ops of attention's maps share: every head of every row as a matrix of its own, (padded, size), in the products'
//! format, its frames padded with zeros to a multiple of 8 (kernels/attention_map.cu).
use super::sums::add_column_sums;
use crate::cuda::gpu::{Address, Memory, for_each, gpu};
use crate::cuda::kernels::{self, AttentionShape, Pack, RelativeBias};
use crate::cuda::mask::Mask;
use crate::cuda::product::{Out, View, products};
use crate::gemm::Precision;
use crate::op::position_bias::cuda::Bias;
use crate::tensor::cuda::Cuda;
use crate::tensor::{Grads, Spans};

pub struct Heads {
    pub rows: usize,
    pub padded: usize,
    pub sizes: AttentionShape,
    pub precision: Precision,
    bias: Option<Bias>,
    frames: usize,
    _starts: Memory,
}

impl Heads {
    /// Those of all rows at once.
    pub fn new(
        spans: &Spans,
        [heads, width]: [usize; 2],
        gate: Address,
        bias: Option<Bias>,
        drop: Mask,
        precision: Precision,
    ) -> Heads {
        let padded = spans.lengths().max().unwrap_or(0).next_multiple_of(8);
        let starts = gpu().starts(spans);
        let sizes = AttentionShape {
            starts: starts.at(),
            heads,
            size: width / heads,
            gate,
            mask: drop,
        };
        Heads {
            rows: spans.rows(),
            padded,
            sizes,
            precision,
            bias,
            frames: spans.total(),
            _starts: starts,
        }
    }

    /// Blocks of a kernel with a warp for each frame of each head.
    pub fn grid(&self) -> [usize; 2] {
        [self.padded / 8, self.rows * self.sizes.heads]
    }
    fn memory(&self, width: usize) -> Memory {
        gpu().memory(
            self.precision,
            self.rows * self.sizes.heads * self.padded * width,
        )
    }

    /// From (frames, heads · size).
    pub fn split(&self, from: Address) -> Memory {
        let to = self.memory(self.sizes.size);
        kernels::split(
            self.precision,
            Pack::of(self.sizes.size),
            self.grid(),
            from,
            to.at(),
            self.padded,
            self.sizes,
        );
        to
    }
    /// Added to (frames, heads · size).
    pub fn merge(&self, from: &Memory, to: Address) {
        kernels::merge(
            self.precision,
            Pack::of(self.sizes.size),
            self.grid(),
            from.at(),
            to,
            self.padded,
            self.sizes,
        );
    }

    fn squares(&self, of: &Memory) -> View {
        View::of(of, self.padded).batch_stride(self.padded * self.padded)
    }
    fn frames(&self, of: &Memory) -> View {
        View::of(of, self.sizes.size).batch_stride(self.padded * self.sizes.size)
    }

    /// a bᵀ, a number for each two frames.
    pub fn scores(&self, a: &Memory, b: &Memory) -> Memory {
        let (AttentionShape { size, heads, .. }, padded) = (self.sizes, self.padded);
        let (to, [a, b]) = (self.memory(padded), [a, b].map(|x| self.frames(x)));
        products(
            self.precision,
            self.rows * heads,
            [padded, padded, size],
            a,
            b.t(),
            Out::Set(self.squares(&to)),
        );
        to
    }
    /// p x
    pub fn mixed(&self, p: &Memory, x: &Memory) -> Memory {
        self.mix(self.squares(p), x)
    }
    /// pᵀ x
    pub fn mixed_back(&self, p: &Memory, x: &Memory) -> Memory {
        self.mix(self.squares(p).t(), x)
    }
    fn mix(&self, p: View, x: &Memory) -> Memory {
        let (AttentionShape { size, heads, .. }, padded) = (self.sizes, self.padded);
        let (to, shape) = (self.memory(size), [padded, size, padded]);
        products(
            self.precision,
            self.rows * heads,
            shape,
            p,
            self.frames(x),
            Out::Set(self.frames(&to)),
        );
        to
    }

    /// softmax(q kᵀ / √size + bias)
    pub fn probabilities(&self, q: &Memory, k: &Memory) -> Memory {
        let (s, bias) = (
            self.scores(q, k),
            self.bias.as_ref().map_or(RelativeBias::NONE, Bias::places),
        );
        kernels::softmax(
            self.precision,
            self.grid(),
            s.at(),
            self.padded,
            self.sizes,
            bias,
        );
        s
    }

    /// From the gradient of probabilities to that of s, in place.
    pub fn score_gradient(&self, p: &Memory, d: &Memory) {
        kernels::softmax_backward(
            self.precision,
            self.grid(),
            p.at(),
            d.at(),
            self.padded,
            self.sizes,
        );
    }
    /// gate drop(p)
    pub fn dropped_map(&self, p: &Memory) -> Memory {
        let to = self.memory(self.padded);
        kernels::drop_scores(
            self.precision,
            self.grid(),
            p.at(),
            to.at(),
            self.padded,
            self.sizes,
        );
        to
    }
    /// Adds to the gradient of p, from that of its [`Heads::dropped_map`], and to that of the gate.
    pub fn map_gradient(&self, p: &Memory, d: &Memory, dp: Address, dgate: Option<Address>) {
        let along = gpu().memory(Precision::F32, self.frames * self.sizes.heads);
        kernels::drop_scores_backward(
            self.precision,
            self.grid(),
            p.at(),
            d.at(),
            dp,
            along.at(),
            self.padded,
            self.sizes,
        );
        if let Some(dgate) = dgate {
            add_column_sums(along.at(), dgate, self.frames, self.sizes.heads);
        }
    }
    /// How many numbers the scores of all heads are.
    pub fn scores_len(&self) -> usize {
        self.rows * self.sizes.heads * self.padded * self.padded
    }
    /// Scores from f32, and back.
    pub fn narrow(&self, from: Address) -> Memory {
        let (n, to) = (self.scores_len(), self.memory(self.padded));
        kernels::narrow(self.precision, Pack::Four, for_each(n, 4), from, to.at(), n);
        to
    }
    pub fn widen(&self, from: &Memory, to: Address) {
        let n = self.scores_len();
        kernels::widen(self.precision, Pack::Four, for_each(n, 4), from.at(), to, n);
    }

    /// The bias's gradients, from that of s.
    pub fn add_bias(&self, ds: &Memory, g: &mut Grads<Cuda>) {
        if let Some(bias) = &self.bias {
            bias.pull_map(self, ds, g);
        }
    }
}
