//! Every head of every row as a matrix of its own, (padded, size), in the format of products: frames
//! are padded with zeros to a multiple of 8 (attention_map.cu). Products of all heads are one
//! batched GEMM.
use crate::cuda::gpu::{Address, Memory, gpu, launch};
use crate::cuda::mask::Mask;
use crate::cuda::product::{Out, View, products};
use crate::gemm::Precision;
use crate::tensor::Spans;

/// The heads of all rows of a batch.
pub struct PaddedHeads {
    pub rows: usize,
    /// Frames of a matrix.
    pub padded: usize,
    pub sizes: Sizes,
    pub precision: Precision,
    _starts: Memory,
}

/// `Heads` of the kernels.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sizes {
    /// The first frame of each row, and the end of the last.
    pub starts: Address,
    pub heads: usize,
    pub size: usize,
    /// Factors of heads, or 0.
    pub gate: Address,
    pub drop: Mask,
}

impl PaddedHeads {
    pub fn new(
        spans: &Spans,
        [heads, width]: [usize; 2],
        gate: Address,
        drop: Mask,
        precision: Precision,
    ) -> PaddedHeads {
        let starts = gpu().starts(spans);
        let sizes = Sizes {
            starts: starts.at(),
            heads,
            size: width / heads,
            gate,
            drop,
        };
        PaddedHeads {
            rows: spans.rows(),
            padded: spans.lengths().max().unwrap_or(0).next_multiple_of(8),
            sizes,
            precision,
            _starts: starts,
        }
    }

    /// Returns the grid of a kernel with a warp for each frame of each head.
    pub fn grid(&self) -> [usize; 2] {
        [self.padded / 8, self.count()]
    }

    /// Returns how many numbers the (padded, padded) scores of all heads are.
    pub fn scores_len(&self) -> usize {
        self.count() * self.padded * self.padded
    }

    /// Allocates (padded, width) for each head.
    pub fn memory(&self, width: usize) -> Memory {
        gpu().memory(self.precision, self.count() * self.padded * width)
    }

    /// Returns the heads of `from`, (frames, heads · size).
    pub fn split(&self, from: Address) -> Memory {
        let to = self.memory(self.sizes.size);
        launch!(
            self.precision.kernel("split", self.sizes.size),
            self.grid(),
            from,
            to.at(),
            self.padded,
            self.sizes
        );
        to
    }

    /// Adds heads to `to`, (frames, heads · size).
    pub fn merge(&self, from: &Memory, to: Address) {
        launch!(
            self.precision.kernel("merge", self.sizes.size),
            self.grid(),
            from.at(),
            to,
            self.padded,
            self.sizes
        );
    }

    /// Returns a bᵀ, (padded, padded) a head, for a and b of (padded, size).
    pub fn scores(&self, a: &Memory, b: &Memory) -> Memory {
        let to = self.memory(self.padded);
        products(
            self.precision,
            self.count(),
            [self.padded, self.padded, self.sizes.size],
            self.frames(a),
            self.frames(b).t(),
            Out::Set(self.squares(&to)),
        );
        to
    }

    /// Returns p x, (padded, size) a head, for p of (padded, padded) and x of (padded, size).
    pub fn mixed(&self, p: &Memory, x: &Memory) -> Memory {
        self.weighted(self.squares(p), x)
    }

    /// Returns pᵀ x, as [`PaddedHeads::mixed`].
    pub fn mixed_back(&self, p: &Memory, x: &Memory) -> Memory {
        self.weighted(self.squares(p).t(), x)
    }

    fn weighted(&self, p: View, x: &Memory) -> Memory {
        let size = self.sizes.size;
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
        self.rows * self.sizes.heads
    }

    fn squares(&self, memory: &Memory) -> View {
        View::of(memory, self.padded).apart(self.padded * self.padded)
    }

    fn frames(&self, memory: &Memory) -> View {
        let size = self.sizes.size;
        View::of(memory, size).apart(self.padded * size)
    }
}
