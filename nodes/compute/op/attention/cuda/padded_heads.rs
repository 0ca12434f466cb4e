//! Every head of every row as a matrix of its own, (padded, size), in the format of products:
//! frames are padded with zeros to a multiple of 8 (attention_map.cu). Products of all heads are
//! one batched GEMM.
use crate::cuda::gpu::{Address, Memory, gpu};
use crate::cuda::kernels::{self, AttentionShape, Grid, Pack};
use crate::cuda::mask::Mask;
use crate::cuda::product::{Out, View, products};
use crate::gemm::Precision;
use crate::tensor::Spans;

/// The heads of all rows of a batch.
pub(crate) struct PaddedHeads {
    pub rows: usize,
    /// Frames of the longest row, filled up to a multiple of 8.
    pub padded: usize,
    pub shape: AttentionShape,
    pub precision: Precision,
    _starts: Memory,
}

impl PaddedHeads {
    pub(crate) fn new(
        spans: &Spans,
        [heads, width]: [usize; 2],
        gate: Address,
        mask: Mask,
        precision: Precision,
    ) -> PaddedHeads {
        let starts = gpu().starts(spans);
        let shape = AttentionShape {
            starts: starts.at(),
            heads,
            size: width / heads,
            gate,
            mask,
        };
        PaddedHeads {
            rows: spans.rows(),
            padded: spans.lengths().max().unwrap_or(0).next_multiple_of(8),
            shape,
            precision,
            _starts: starts,
        }
    }

    /// Returns the grid of a kernel with a warp for each frame of each head.
    pub(crate) fn grid(&self) -> Grid {
        [self.padded / 8, self.count()]
    }

    /// Returns how many numbers the (padded, padded) scores of all heads are.
    pub(crate) fn scores_len(&self) -> usize {
        self.count() * self.padded * self.padded
    }

    /// Allocates (padded, width) for each head.
    pub(crate) fn memory(&self, width: usize) -> Memory {
        gpu().memory(self.precision, self.count() * self.padded * width)
    }

    /// Returns the heads of `from`, (frames, heads · size).
    pub(crate) fn split(&self, from: Address) -> Memory {
        let to = self.memory(self.shape.size);
        kernels::split(
            self.precision,
            Pack::of(self.shape.size),
            self.grid(),
            from,
            to.at(),
            self.padded,
            self.shape,
        );
        to
    }

    /// Adds heads to `to`, (frames, heads · size).
    pub(crate) fn merge(&self, from: &Memory, to: Address) {
        kernels::merge(
            self.precision,
            Pack::of(self.shape.size),
            self.grid(),
            from.at(),
            to,
            self.padded,
            self.shape,
        );
    }

    /// Returns a bᵀ, (padded, padded) a head, for a and b of (padded, size).
    pub(crate) fn scores(&self, a: &Memory, b: &Memory) -> Memory {
        let to = self.memory(self.padded);
        products(
            self.precision,
            self.count(),
            [self.padded, self.padded, self.shape.size],
            self.frames(a),
            self.frames(b).t(),
            Out::Set(self.squares(&to)),
        );
        to
    }

    /// Returns p x, (padded, size) a head, for p of (padded, padded) and x of (padded, size).
    pub(crate) fn mixed(&self, p: &Memory, x: &Memory) -> Memory {
        self.weighted(self.squares(p), x)
    }

    /// Returns pᵀ x, as [`PaddedHeads::mixed`].
    pub(crate) fn mixed_back(&self, p: &Memory, x: &Memory) -> Memory {
        self.weighted(self.squares(p).t(), x)
    }

    fn weighted(&self, p: View, x: &Memory) -> Memory {
        let size = self.shape.size;
        let to = self.memory(size);
        products(
            self.precision,
            self.count(),
            [self.padded, size, self.padded],
            p,
            self.frames(x),
            Out::Set(self.frames(&to)),
        );
        to
    }

    fn count(&self) -> usize {
        self.rows * self.shape.heads
    }

    fn squares(&self, memory: &Memory) -> View {
        View::of(memory, self.padded).batch_stride(self.padded * self.padded)
    }

    fn frames(&self, memory: &Memory) -> View {
        let size = self.shape.size;
        View::of(memory, size).batch_stride(self.padded * size)
    }
}
