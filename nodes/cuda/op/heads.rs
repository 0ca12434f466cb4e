//! What the ops of attention share: every head of every row as a matrix of its own, (padded, size), in the products'
//! format, its frames padded with zeros to a multiple of 8 (kernels/attention.cu).
use super::Mask;
use super::position_bias::Bias;
use crate::cuda::gpu::{Address, Memory, for_each, for_rows, gpu, launch};
use crate::cuda::product::{Out, View, products};
use crate::gemm::Precision;
use crate::tensor::cuda::Cuda;
use crate::tensor::{Grads, Spans};
use std::rc::Rc;

pub struct Heads {
    pub rows: usize,
    pub sizes: Sizes,
    pub precision: Precision,
    bias: Option<Rc<Bias>>,
    _starts: Rc<Memory>,
}

/// Bytes of scores that are in memory at once, if it is more than one row's: they stay in the GPU's second-level cache.
const SCORES: usize = if cfg!(test) { 1 << 10 } else { 32 << 20 };

/// `Heads` of the kernels.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sizes {
    /// Where each row begins.
    starts: Address,
    /// Heads of the batch before these.
    before: usize,
    pub heads: usize,
    pub padded: usize,
    size: usize,
    /// Factors of heads, or 0.
    gate: Address,
    drop: Mask,
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
        let sizes = Sizes { starts: starts.at(), before: 0, heads, padded, size: width / heads, gate, drop };
        Heads { rows: spans.rows(), sizes, precision, bias: bias.map(Rc::new), _starts: Rc::new(starts) }
    }

    /// The same, some rows after the other.
    pub fn groups(self, spans: &Spans) -> Vec<Heads> {
        let bytes = self.scores_len() * self.precision.bytes();
        let count = (self.rows * SCORES / bytes.max(1)).clamp(1, self.rows.max(1));
        let group = |from: usize| {
            let (rows, row) = (count.min(self.rows - from), |row| spans.of(row).len());
            let padded = (from..from + rows).map(row).max().unwrap_or(0).next_multiple_of(8);
            let (starts, before) = (self.sizes.starts + 8 * from as u64, self.sizes.heads * from);
            let sizes = Sizes { starts, before, padded, ..self.sizes };
            Heads { rows, sizes, precision: self.precision, bias: self.bias.clone(), _starts: self._starts.clone() }
        };
        (0..self.rows).step_by(count).map(group).collect()
    }

    /// Blocks of a kernel with a warp for each frame of each head.
    pub fn grid(&self) -> [usize; 2] {
        [self.sizes.padded / 8, self.rows * self.sizes.heads]
    }
    fn memory(&self, width: usize) -> Memory {
        gpu().memory(self.precision, self.rows * self.sizes.heads * self.sizes.padded * width)
    }

    /// From (frames, heads · size).
    pub fn split(&self, from: Address) -> Memory {
        let to = self.memory(self.sizes.size);
        launch!(self.precision.kernel("split", self.sizes.size), self.grid(), from, to.at(), self.sizes);
        to
    }
    /// Added to (frames, heads · size).
    pub fn merge(&self, from: &Memory, to: Address) {
        launch!(self.precision.kernel("merge", self.sizes.size), self.grid(), from.at(), to, self.sizes);
    }

    fn squares(&self, of: &Memory) -> View {
        View::of(of, self.sizes.padded).apart(self.sizes.padded * self.sizes.padded)
    }
    fn frames(&self, of: &Memory) -> View {
        View::of(of, self.sizes.size).apart(self.sizes.padded * self.sizes.size)
    }

    /// a bᵀ, a number for each two frames.
    pub fn scores(&self, a: &Memory, b: &Memory) -> Memory {
        let Sizes { padded, size, heads, .. } = self.sizes;
        let (to, [a, b]) = (self.memory(padded), [a, b].map(|x| self.frames(x)));
        products(self.precision, self.rows * heads, [padded, padded, size], a, b.t(), Out::Set(self.squares(&to)));
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
        let Sizes { padded, size, heads, .. } = self.sizes;
        let (to, shape) = (self.memory(size), [padded, size, padded]);
        products(self.precision, self.rows * heads, shape, p, self.frames(x), Out::Set(self.frames(&to)));
        to
    }

    /// gate drop(softmax(q kᵀ / √size + bias))
    pub fn probabilities(&self, q: &Memory, k: &Memory) -> Memory {
        let s = self.scores(q, k);
        self.softmax(&s, 0, s.at());
        s
    }
    /// The same of scores s; softmax(s / √size + bias) takes their place.
    pub fn beside(&self, s: &Memory) -> Memory {
        let dropped = self.memory(self.sizes.padded);
        self.softmax(s, s.at(), dropped.at());
        dropped
    }
    fn softmax(&self, s: &Memory, p: Address, dropped: Address) {
        let bias = self.bias.as_deref().map(Bias::places).unwrap_or_default();
        launch!(self.precision.kernel("softmax", 4), self.grid(), s.at(), p, dropped, self.sizes, bias);
    }

    /// From the gradient of probabilities without their gate to that of s, in place. Gives each frame's share of the gates'
    /// gradient.
    pub fn score_gradient(&self, p: &Memory, d: &Memory) -> Memory {
        let along = gpu().memory(Precision::F32, self.rows * self.sizes.heads * self.sizes.padded);
        let name = self.precision.kernel("softmax_backward", 4);
        launch!(name, self.grid(), p.at(), d.at(), along.at(), self.sizes);
        along
    }
    /// What [`Heads::probabilities`] gives, of softmax(s / √size + bias) that is there already.
    pub fn dropped_map(&self, p: &Memory) -> Memory {
        let (to, name) = (self.memory(self.sizes.padded), self.precision.kernel("drop_scores", 4));
        launch!(name, self.grid(), p.at(), to.at(), self.sizes);
        to
    }
    /// Adds to the gradient of p, from that of its [`Heads::dropped_map`]. Gives each frame's share of the gates' gradient.
    pub fn map_gradient(&self, p: &Memory, d: &Memory, dp: Address) -> Memory {
        let along = gpu().memory(Precision::F32, self.rows * self.sizes.heads * self.sizes.padded);
        let name = self.precision.kernel("drop_scores_backward", 4);
        launch!(name, self.grid(), p.at(), d.at(), dp, along.at(), self.sizes);
        along
    }
    /// How many numbers the scores of all heads are.
    pub fn scores_len(&self) -> usize {
        self.rows * self.sizes.heads * self.sizes.padded * self.sizes.padded
    }
    /// Scores from f32, and back.
    pub fn narrow(&self, from: Address) -> Memory {
        let (n, to) = (self.scores_len(), self.memory(self.sizes.padded));
        launch!(self.precision.kernel("narrow", 4), for_each(n, 4), from, to.at(), n);
        to
    }
    pub fn widen(&self, from: &Memory, to: Address) {
        let n = self.scores_len();
        launch!(self.precision.kernel("widen", 4), for_each(n, 4), from.at(), to, n);
    }

    /// to += the shares of each head.
    pub fn add_gates(&self, along: &Memory, to: Address) {
        launch!("head_gates", for_rows(self.sizes.heads), along.at(), to, self.rows, self.sizes);
    }
    /// The bias's gradients, from that of s.
    pub fn add_bias(&self, ds: &Memory, g: &mut Grads<Cuda>) {
        if let Some(bias) = &self.bias {
            bias.pull(self, ds, g);
        }
    }
}
