//! [`AttentionDevice`] without scores in memory (attention.cu): a block walks over its row in
//! tiles, forward and again backward. Saves q, k, v and o in the format of products, and the
//! logarithm of each softmax's sum.
pub(crate) mod padded_heads;
use super::{AttentionDevice, AttentionHeads};
use crate::cuda::gpu::{Address, Memory, gpu};
use crate::cuda::grid::for_each;
use crate::cuda::kernels::{self, AttentionShape, Columns, Depth, Grid, Outputs, Pack};
use crate::cuda::mask::Mask;
use crate::cuda::product::Factor;
use crate::cuda::sums::add_column_sums;
use crate::gemm::Precision;
use crate::op::position_bias::cuda::Bias;
use crate::tensor::cuda::{Cuda, Matrix, address, len, zeros};
use crate::tensor::{Grads, Slot, dimensions};

pub struct Saved {
    attention: Attention,
    qkv: [Factor; 3],
    o: Memory,
    sums: Memory,
    /// Numbers of q, and as many of k, v and o.
    len: usize,
}

impl AttentionDevice for Cuda {
    type Saved = Saved;

    fn forward(qkv: [Matrix; 3], heads: AttentionHeads<Cuda>) -> (Matrix, Saved) {
        let precision = heads.precision;
        let len = len(&qkv[0]);
        let shape = dimensions(&qkv[0]);
        let qkv = qkv.map(|x| Factor::of(precision, &x));
        let attention = Attention::new(heads);
        let (o, sums) = attention.forward(columns(&qkv));
        let y = zeros(shape);
        add_wide(precision, &o, address(&y), len);
        let saved = Saved {
            attention,
            qkv,
            o,
            sums,
            len,
        };
        (y, saved)
    }

    fn backward(dy: Address, saved: &Saved, inputs: &[Slot<Cuda>; 3], g: &mut Grads<Cuda>) {
        let Saved {
            attention,
            qkv,
            o,
            sums,
            len,
        } = saved;
        let precision = attention.heads.precision;
        let dy = Factor::at(precision, dy, *len);
        let gradients = attention.backward(columns(qkv), o, dy.place(), sums, g);
        for (gradient, input) in gradients.iter().zip(inputs) {
            add_wide(precision, gradient, g.at(input), *len);
        }
    }
}

fn columns(qkv: &[Factor; 3]) -> [Columns; 3] {
    qkv.each_ref().map(|x| Columns {
        at: x.place(),
        add: 0,
    })
}

/// Adds `n` numbers in the format of products to f32.
fn add_wide(precision: Precision, from: &Memory, to: Address, n: usize) {
    kernels::add_wide(precision, Pack::of(n), for_each(n, n), from.at(), to, n);
}

/// Attention of one batch, from and to arrays in the format of products.
pub(crate) struct Attention {
    heads: AttentionHeads<Cuda>,
    shape: AttentionShape,
    depth: Depth,
    _starts: Memory,
}

/// Frames of a block.
const OWN: usize = 128;
/// Blocks of a head of a row that sum the bias's gradient: the memory of more would grow with the
/// square of the frames.
const BLOCKS: usize = 16;

impl Attention {
    /// # Panics
    /// A head has more than 128 channels.
    pub(crate) fn new(heads: AttentionHeads<Cuda>) -> Attention {
        let starts = gpu().starts(&heads.spans);
        let size = heads.width / heads.per_row;
        let depth = Depth::of(size).unwrap_or_else(|| {
            panic!("heads of {size} channels: attention on a GPU takes up to 128")
        });
        let shape = AttentionShape {
            starts: starts.at(),
            heads: heads.per_row,
            size,
            gate: heads.gate.as_ref().map_or(0, address),
            mask: Mask::from(heads.drop),
        };
        Attention {
            heads,
            shape,
            depth,
            _starts: starts,
        }
    }

    /// Returns o, and the logarithm of each softmax's sum, (frames, heads).
    pub(crate) fn forward(&self, [q, k, v]: [Columns; 3]) -> (Memory, Memory) {
        let o = self.frames();
        let sums = self.scalars();
        kernels::attend(
            self.heads.precision,
            self.depth,
            self.grid(),
            self.bytes(OWN + 2 * self.tile()),
            q,
            k,
            v,
            o.at(),
            sums.at(),
            self.shape,
            Bias::argument(self.heads.bias.as_ref()),
        );
        (o, sums)
    }

    /// Returns the gradients of q, k and v from that of o, and adds to those of gate and bias.
    pub(crate) fn backward(
        &self,
        [q, k, v]: [Columns; 3],
        o: &Memory,
        grad: Address,
        sums: &Memory,
        g: &mut Grads<Cuda>,
    ) -> [Memory; 3] {
        let means = self.scalars();
        let dgates = self.scalars();
        let dq = self.frames();
        let dk = self.frames();
        let dv = self.frames();
        let outputs = Outputs {
            o: o.at(),
            grad: Columns { at: grad, add: 0 },
            sums: sums.at(),
        };
        let [blocks, rows] = self.grid();
        let tile = self.tile() / 2;
        let bytes = self.bytes(2 * OWN + 2 * tile);
        let bias = Bias::argument(self.heads.bias.as_ref());
        let attend_queries = |blocks, bytes, bias_gates, distances| {
            kernels::attend_queries(
                self.heads.precision,
                self.depth,
                [blocks, rows],
                bytes,
                q,
                k,
                v,
                outputs,
                means.at(),
                dgates.at(),
                dq.at(),
                bias_gates,
                distances,
                self.shape,
                bias,
            );
        };
        match &self.heads.bias {
            None => attend_queries(blocks, bytes, 0, 0),
            Some(own) => {
                let blocks = blocks.min(BLOCKS);
                let distances = own.distances();
                let parts = gpu().zeros(blocks * rows * distances);
                let square = 4 * OWN * (tile + 1);
                attend_queries(blocks, bytes + square, own.gate_gradient(g), parts.at());
                own.accumulate_table_gradient(g, |dr, grid| {
                    let rows = self.heads.spans.rows();
                    kernels::sum_distances(grid, parts.at(), dr, rows, blocks, distances);
                });
            }
        }
        kernels::attend_keys(
            self.heads.precision,
            self.depth,
            [blocks, rows],
            bytes + 3 * 4 * tile,
            q,
            k,
            v,
            outputs,
            means.at(),
            dk.at(),
            dv.at(),
            self.shape,
            bias,
        );
        if let Some(gate) = &self.heads.gate {
            let frames = self.heads.spans.total();
            add_column_sums(dgates.at(), g.of(gate), frames, self.shape.heads);
        }
        [dq, dk, dv]
    }

    /// Returns the frames of a tile of the forward pass.
    fn tile(&self) -> usize {
        if self.heads.precision == Precision::Bf16 && self.depth == Depth::D64 {
            64
        } else {
            32
        }
    }

    /// Returns the bytes of `frames` of a head in shared memory.
    fn bytes(&self, frames: usize) -> usize {
        frames * (self.depth.channels() * self.heads.precision.bytes() + 16)
    }

    fn grid(&self) -> Grid {
        let longest = self.heads.spans.lengths().max().unwrap_or(0);
        [
            longest.div_ceil(OWN),
            self.heads.spans.rows() * self.shape.heads,
        ]
    }

    /// Allocates (frames, heads · size) in the format of products.
    fn frames(&self) -> Memory {
        let len = self.heads.spans.total() * self.heads.width;
        gpu().memory(self.heads.precision, len)
    }

    /// Allocates (frames, heads).
    fn scalars(&self) -> Memory {
        gpu().memory(Precision::F32, self.heads.spans.total() * self.shape.heads)
    }
}

#[cfg(all(test, feature = "simulated-gpu"))]
mod tests {
    use crate::gemm::Precision;
    use crate::math::Dropout;
    use crate::op::check::noise;
    use crate::op::{attention, mean_square};
    use crate::tensor::cuda::{backward, hidden};
    use crate::tensor::{Spans, Tape};

    /// Scores would take sixteen times as much.
    #[test]
    fn memory_grows_as_the_frames_do() {
        unsafe extern "C" {
            fn simulated_peak_of_thread() -> u64;
        }
        let peaks = [256, 1024].map(|frames| {
            let tape = Tape::default();
            let spans = Spans::new([frames]);
            let qkv =
                ["q", "k", "v"].map(|x| hidden(noise(x, 2 * frames), 2, spans.clone()).on(&tape));
            let y = attention(qkv, 1, None, None, Dropout::NONE, Precision::F32);
            drop(backward(mean_square(y), 1.0));
            // SAFETY: it only reads a number.
            unsafe { simulated_peak_of_thread() }
        });
        assert!(peaks[0] > 0 && peaks[1] < 5 * peaks[0], "{peaks:?}");
    }
}
