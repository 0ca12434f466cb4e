//! [`crate::op::attention`] without scores in memory (kernels/attention.cu): each block walks over its row in tiles, on the way
//! forward and again for the gradients. Kept: q, k and v, o, and a number for each frame and head.
use crate::cuda::gpu::{Address, Memory, for_each, gpu};
use crate::cuda::kernels::{self, AttentionShape, Columns, Depth, Outputs, Pack, RelativeBias};
use crate::cuda::mask::Mask;
use crate::cuda::product::Factor;
use crate::cuda::sums::add_column_sums;
use crate::gemm::Precision;
use crate::math::Dropout;
use crate::op::PositionBias;
use crate::op::gate::cuda as gate;
use crate::op::position_bias::cuda::Bias;
use crate::tensor::cuda::{Cuda, Param, Slot, Vector, address, len, record_hidden, zeros};
use crate::tensor::{Grads, Hidden, Spans, Track, merge};

/// q, k and v are three tensors, not one given thrice.
pub fn attention<T: Track<Cuda>>(
    [q, k, v]: [Hidden<T, Cuda>; 3],
    heads: usize,
    gate: Option<&Vector<T>>,
    bias: Option<PositionBias<T, Cuda>>,
    drop: Dropout,
    precision: Precision,
) -> Hidden<T, Cuda> {
    let ((q, tq), (k, tk), (v, tv)) = (q.split(), k.split(), v.split());
    let (gate, tape) = gate::join(merge(merge(tq, tk), tv), gate);
    let (bias, tape) = Bias::join(tape, bias);
    let (width, spans, n) = (q.width(), q.spans.clone(), len(&q.values));
    let slots = [&q, &k, &v].map(|x| Slot::of(&x.values));
    let factors = [q, k, v].map(|x| Factor::of(precision, &x.values));
    let inputs = factors.each_ref().map(|x| Columns {
        at: x.place(),
        add: 0,
    });
    let attention = Attention::new(&spans, [heads, width], gate, bias, drop, precision);
    let (o, sums) = attention.forward(inputs);
    let y = zeros((spans.total(), width));
    widen(precision, &o, address(&y), n);
    record_hidden(y, spans, tape, move |dy, g| {
        let (_keep, grad) = (&factors, Factor::at(precision, dy, n));
        let gradients = attention.backward(inputs, &o, grad.place(), &sums, g);
        for (d, x) in gradients.iter().zip(&slots) {
            widen(precision, d, g.at(x), n);
        }
    })
}

/// to += from
fn widen(precision: Precision, from: &Memory, to: Address, n: usize) {
    kernels::add_wide(precision, Pack::of(n), for_each(n, n), from.at(), to, n);
}

/// Of one batch, in arrays of the products' format.
pub struct Attention {
    spans: Spans,
    sizes: AttentionShape,
    gate: Option<Param>,
    bias: Option<Bias>,
    precision: Precision,
    /// What a head's size is filled up to.
    depth: Depth,
    _starts: Memory,
}

/// Frames that a block has for its own.
const OWN: usize = 128;
/// Blocks of a head of a row that sum the bias's gradient: more would take memory that grows with the square of the frames.
const BLOCKS: usize = 16;

impl Attention {
    pub fn new(
        spans: &Spans,
        [heads, width]: [usize; 2],
        gate: Option<Param>,
        bias: Option<Bias>,
        drop: Dropout,
        precision: Precision,
    ) -> Attention {
        let (starts, size) = (gpu().starts(spans), width / heads);
        let depth = Depth::of(size).unwrap_or_else(|| {
            panic!("heads of {size} channels: attention on a GPU takes up to 128")
        });
        let open = gate.as_ref().map_or(0, address);
        let sizes = AttentionShape {
            starts: starts.at(),
            heads,
            size,
            gate: open,
            mask: Mask::from(drop),
        };
        Attention {
            spans: spans.clone(),
            sizes,
            gate,
            bias,
            precision,
            depth,
            _starts: starts,
        }
    }

    /// o, and the logarithm of each softmax's sum.
    pub fn forward(&self, inputs: [Columns; 3]) -> (Memory, Memory) {
        let (o, sums, bias) = (self.frames(), self.scalars(), self.places());
        let bytes = self.bytes(OWN + 2 * self.tile());
        let [q, k, v] = inputs;
        kernels::attend(
            self.precision,
            self.depth,
            self.grid(),
            bytes,
            q,
            k,
            v,
            o.at(),
            sums.at(),
            self.sizes,
            bias,
        );
        (o, sums)
    }

    /// The gradients of q, k and v, from that of o; those of gate and bias are added to.
    pub fn backward(
        &self,
        inputs: [Columns; 3],
        o: &Memory,
        grad: Address,
        sums: &Memory,
        g: &mut Grads<Cuda>,
    ) -> [Memory; 3] {
        let (means, along, bias) = (self.scalars(), self.scalars(), self.places());
        let ([m, of_gates], [dq, dk, dv]) = (
            [&means, &along].map(Memory::at),
            [(); 3].map(|_| self.frames()),
        );
        let back = Outputs {
            o: o.at(),
            grad: Columns { at: grad, add: 0 },
            sums: sums.at(),
        };
        let ([x, rows], tile) = (self.grid(), self.tile() / 2);
        let bytes = self.bytes(2 * OWN + 2 * tile);
        let [q, k, v] = inputs;
        match &self.bias {
            None => {
                kernels::attend_queries(
                    self.precision,
                    self.depth,
                    [x, rows],
                    bytes,
                    q,
                    k,
                    v,
                    back,
                    m,
                    of_gates,
                    dq.at(),
                    0,
                    0,
                    self.sizes,
                    bias,
                );
            }
            Some(own) => {
                let blocks = x.min(BLOCKS);
                let (parts, dlift) = (
                    gpu().zeros(blocks * rows * own.distances()),
                    g.to(&own.gate.values),
                );
                let (bytes, to) = (bytes + 4 * OWN * (tile + 1), parts.at());
                kernels::attend_queries(
                    self.precision,
                    self.depth,
                    [blocks, rows],
                    bytes,
                    q,
                    k,
                    v,
                    back,
                    m,
                    of_gates,
                    dq.at(),
                    dlift,
                    to,
                    self.sizes,
                    bias,
                );
                own.pull_table(g, |drelative, grid| {
                    let (rows, distances) = (self.spans.rows(), own.distances());
                    kernels::sum_distances(grid, to, drelative, rows, blocks, distances);
                });
            }
        }
        let bytes = self.bytes(2 * OWN + 2 * tile) + 3 * 4 * tile;
        kernels::attend_keys(
            self.precision,
            self.depth,
            [x, rows],
            bytes,
            q,
            k,
            v,
            back,
            m,
            dk.at(),
            dv.at(),
            self.sizes,
            bias,
        );
        if let Some(gate) = &self.gate {
            add_column_sums(of_gates, g.to(gate), self.spans.total(), self.sizes.heads);
        }
        [dq, dk, dv]
    }

    /// Frames of a tile on the way forward.
    fn tile(&self) -> usize {
        if self.precision == Precision::Bf16 && self.depth == Depth::D64 {
            64
        } else {
            32
        }
    }
    /// Of so many frames in shared memory.
    fn bytes(&self, frames: usize) -> usize {
        frames * (self.depth.channels() * self.precision.bytes() + 16)
    }
    fn grid(&self) -> [usize; 2] {
        let longest = self.spans.lengths().max().unwrap_or(0);
        [longest.div_ceil(OWN), self.spans.rows() * self.sizes.heads]
    }
    fn frames(&self) -> Memory {
        gpu().memory(
            self.precision,
            self.spans.total() * self.sizes.heads * self.sizes.size,
        )
    }
    fn scalars(&self) -> Memory {
        gpu().memory(Precision::F32, self.spans.total() * self.sizes.heads)
    }
    fn places(&self) -> RelativeBias {
        self.bias.as_ref().map_or(RelativeBias::NONE, Bias::places)
    }
}

#[cfg(test)]
mod tests {
    use crate::cuda::check::both;
    use crate::math::Dropout;
    use crate::op::check::{DROP, ROWS};
    use crate::op::position_bias::cuda::tests::{bias, case};

    #[test]
    fn attention_is_that_of_the_cpu() {
        for (rows, width, heads) in [
            (&ROWS[..], 6, 2),
            (&[150, 3, 0], 8, 2),
            (&ROWS, 5, 1),
            (&[70, 1], 72, 1),
        ] {
            let case = case(rows, width, heads);
            for (drop, gated, biased) in [(DROP, true, true), (Dropout::NONE, false, false)] {
                both!(agree: &case, |x, p, tape, precision| {
                    let gate = put(&p[6], tape);
                    let bias = bias(&p[7], linear(x.clone(), &p[8], &p[9], Precision::F32), heads);
                    let three = [0, 2, 4].map(|i| linear(x.clone(), &p[i], &p[i + 1], precision));
                    attention(three, heads, gated.then_some(&gate), biased.then_some(bias), drop, precision).values
                });
            }
        }
    }

    /// Scores would take sixteen times as much.
    #[cfg(feature = "simulated-gpu")]
    #[test]
    fn memory_grows_as_the_frames_do() {
        use super::*;
        use crate::op::check::noise;
        use crate::tensor::Tape;
        use crate::tensor::cuda::{backward, hidden};
        unsafe extern "C" {
            fn simulated_peak_of_thread() -> u64;
        }
        let bytes = [256, 1024].map(|frames| {
            let (tape, spans) = (Tape::default(), Spans::new([frames]));
            let three =
                ["q", "k", "v"].map(|x| hidden(noise(x, 2 * frames), 2, spans.clone()).on(&tape));
            let y = attention(three, 1, None, None, Dropout::NONE, Precision::F32);
            drop(backward(crate::op::cuda::mean_square(y), 1.0));
            // SAFETY: it only reads a number.
            unsafe { simulated_peak_of_thread() }
        });
        assert!(bytes[0] > 0 && bytes[1] < 5 * bytes[0], "{bytes:?}");
    }
}
