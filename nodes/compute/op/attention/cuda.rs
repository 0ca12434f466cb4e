//! [`AttentionDevice`] without scores in memory (attention.cu): a block walks over its row in tiles,
//! forward and again backward. Saves q, k, v and o in the format of products, and the logarithm of
//! each softmax's sum.
pub(crate) mod padded_heads;
use super::{AttentionDevice, AttentionHeads};
use crate::cuda::gpu::{Address, Memory, for_each, gpu};
use crate::cuda::kernels::{self, AttentionShape, Columns, Depth, Grid, Outputs, Pack};
use crate::cuda::mask::Mask;
use crate::cuda::product::Factor;
use crate::cuda::sums::add_column_sums;
use crate::gemm::Precision;
use crate::math::Dropout;
use crate::op::position_bias::cuda::Bias;
use crate::tensor::cuda::{Cuda, Matrix, Param, address, len, zeros};
use crate::tensor::{Grads, Slot, Spans, dimensions};

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
        let attention = Attention::new(
            &heads.spans,
            [heads.heads, heads.width],
            heads.gate,
            heads.bias,
            heads.drop,
            precision,
        );
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
        let precision = saved.attention.precision;
        let dy = Factor::at(precision, dy, saved.len);
        let gradients =
            saved
                .attention
                .backward(columns(&saved.qkv), &saved.o, dy.place(), &saved.sums, g);
        for (gradient, input) in gradients.iter().zip(inputs) {
            add_wide(precision, gradient, g.at(input), saved.len);
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
pub struct Attention {
    spans: Spans,
    shape: AttentionShape,
    gate: Option<Param>,
    bias: Option<Bias>,
    precision: Precision,
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
    pub fn new(
        spans: &Spans,
        [heads, width]: [usize; 2],
        gate: Option<Param>,
        bias: Option<Bias>,
        drop: Dropout,
        precision: Precision,
    ) -> Attention {
        let starts = gpu().starts(spans);
        let size = width / heads;
        let depth = Depth::of(size).unwrap_or_else(|| {
            panic!("heads of {size} channels: attention on a GPU takes up to 128")
        });
        let shape = AttentionShape {
            starts: starts.at(),
            heads,
            size,
            gate: gate.as_ref().map_or(0, address),
            mask: Mask::from(drop),
        };
        Attention {
            spans: spans.clone(),
            shape,
            gate,
            bias,
            precision,
            depth,
            _starts: starts,
        }
    }

    /// Returns o, and the logarithm of each softmax's sum, (frames, heads).
    pub fn forward(&self, [q, k, v]: [Columns; 3]) -> (Memory, Memory) {
        let o = self.frames();
        let sums = self.scalars();
        kernels::attend(
            self.precision,
            self.depth,
            self.grid(),
            self.bytes(OWN + 2 * self.tile()),
            q,
            k,
            v,
            o.at(),
            sums.at(),
            self.shape,
            Bias::argument(self.bias.as_ref()),
        );
        (o, sums)
    }

    /// Returns the gradients of q, k and v from that of o, and adds to those of gate and bias.
    pub fn backward(
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
        let bias = Bias::argument(self.bias.as_ref());
        let attend_queries = |blocks, bytes, bias_gates, distances| {
            kernels::attend_queries(
                self.precision,
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
        match &self.bias {
            None => attend_queries(blocks, bytes, 0, 0),
            Some(own) => {
                let blocks = blocks.min(BLOCKS);
                let distances = own.distances();
                let parts = gpu().zeros(blocks * rows * distances);
                let square = 4 * OWN * (tile + 1);
                attend_queries(blocks, bytes + square, own.gate_gradient(g), parts.at());
                own.accumulate_table_gradient(g, |dr, grid| {
                    let rows = self.spans.rows();
                    kernels::sum_distances(grid, parts.at(), dr, rows, blocks, distances);
                });
            }
        }
        kernels::attend_keys(
            self.precision,
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
        if let Some(gate) = &self.gate {
            let frames = self.spans.total();
            add_column_sums(dgates.at(), g.of(gate), frames, self.shape.heads);
        }
        [dq, dk, dv]
    }

    /// Returns the frames of a tile of the forward pass.
    fn tile(&self) -> usize {
        if self.precision == Precision::Bf16 && self.depth == Depth::D64 {
            64
        } else {
            32
        }
    }

    /// Returns the bytes of `frames` of a head in shared memory.
    fn bytes(&self, frames: usize) -> usize {
        frames * (self.depth.channels() * self.precision.bytes() + 16)
    }

    fn grid(&self) -> Grid {
        let longest = self.spans.lengths().max().unwrap_or(0);
        [longest.div_ceil(OWN), self.spans.rows() * self.shape.heads]
    }

    /// Allocates (frames, heads · size) in the format of products.
    fn frames(&self) -> Memory {
        let width = self.shape.heads * self.shape.size;
        gpu().memory(self.precision, self.spans.total() * width)
    }

    /// Allocates (frames, heads).
    fn scalars(&self) -> Memory {
        gpu().memory(Precision::F32, self.spans.total() * self.shape.heads)
    }
}

#[cfg(all(test, feature = "simulated-gpu"))]
mod tests {
    use super::*;
    use crate::op::check::noise;
    use crate::op::{attention, cuda};
    use crate::tensor::Tape;
    use crate::tensor::cuda::{backward, hidden};

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
            drop(backward(cuda::mean_square(y), 1.0));
            // SAFETY: it only reads a number.
            unsafe { simulated_peak_of_thread() }
        });
        assert!(peaks[0] > 0 && peaks[1] < 5 * peaks[0], "{peaks:?}");
    }
}
