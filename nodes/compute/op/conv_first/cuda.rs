//! [`ConvFirstDevice`] by kernels: moments of the windows, factors of every channel, and one pass
//! that writes z, or GELU(z) ∘ gate where the next convolution reads it, so that z is not stored;
//! the backward pass computes z again.
use super::{ConvFirstDevice, First};
use crate::cuda::gpu::{Address, Memory, gpu};
use crate::cuda::kernels::{self, Grid, Pack, SlotLayout, Waves};
use crate::cuda::padded::filled;
use crate::cuda::sums::columns;
use crate::gemm::Precision;
use crate::tensor::cuda::{Cuda, Matrix, Param, address, len, tensor, zeros};
use crate::tensor::{Grads, Spans};

/// Blocks that share the windows of a row when their gradients are summed.
const CHUNKS: usize = 16;
/// Windows of one warp of the kernels that write z.
const NEIGHBOURS: usize = 4;

/// Samples on the GPU, and statistics and taps of each row and channel.
pub struct NormedFirst {
    samples: Param,
    weights: [Param; 3],
    pub spans: Spans,
    waves: Waves,
    moments: Memory,
    stats: Memory,
    scaled: Memory,
    shift: Memory,
    _starts: [Memory; 2],
}

impl ConvFirstDevice for Cuda {
    type Normed = NormedFirst;

    fn prepare(first: First<Cuda>) -> NormedFirst {
        let spans = first.spans();
        let First {
            waves: rows,
            weights,
            k,
            s,
        } = first;
        let out = len(&weights[1]);
        let count = rows.len();
        let row_samples = Spans::new(rows.iter().map(Vec::len));
        let samples = tensor(rows.concat(), (row_samples.total(),));
        let starts = [&row_samples, &spans].map(|spans| gpu().starts(spans));
        let waves = Waves {
            starts: starts[0].at(),
            windows: starts[1].at(),
            k,
            s,
        };
        let moments = doubles(count * (k + k * k));
        let stats = doubles(count * out * (2 + k));
        let grid = [k + k * k, count];
        kernels::window_moments(grid, address(&samples), moments.at(), waves);
        let channels = filled(out);
        let scaled = gpu().memory(Precision::F32, count * channels * k);
        let shift = gpu().memory(Precision::F32, count * channels);
        kernels::first_stats(
            [channels.div_ceil(256), count],
            address(&weights[0]),
            address(&weights[1]),
            address(&weights[2]),
            moments.at(),
            stats.at(),
            scaled.at(),
            shift.at(),
            out,
            channels,
            waves,
        );
        NormedFirst {
            samples,
            weights,
            spans,
            waves,
            moments,
            stats,
            scaled,
            shift,
            _starts: starts,
        }
    }

    fn values(normed: &NormedFirst) -> Matrix {
        let out = normed.width();
        let z = zeros((normed.spans.total(), out));
        let longest = normed.spans.lengths().max().unwrap_or(0);
        kernels::first(
            Pack::of(out),
            normed.grid(longest),
            address(&normed.samples),
            normed.scaled.at(),
            normed.shift.at(),
            address(&z),
            out,
            filled(out),
            normed.waves,
        );
        z
    }

    fn add_gradients(normed: &NormedFirst, dz: Address, g: &mut Grads<Cuda>) {
        normed.accumulate(Precision::F32, dz, None, None, g);
    }
}

impl NormedFirst {
    /// Returns the channels of z.
    pub fn width(&self) -> usize {
        len(&self.weights[1])
    }

    /// Writes GELU(z) ∘ gate to slots, with at most `longest` frames a row. The gate and the slots'
    /// channels are filled up.
    pub(crate) fn fill(
        &self,
        precision: Precision,
        gate: Address,
        to: Address,
        longest: usize,
        layout: SlotLayout,
    ) {
        let channels = filled(self.width());
        kernels::first_into_slots(
            precision,
            Pack::of(channels),
            self.grid(longest),
            address(&self.samples),
            self.scaled.at(),
            self.shift.at(),
            gate,
            to,
            channels,
            self.waves,
            layout,
        );
    }

    /// Adds to the gradients of w, γ, β and the gate.
    ///
    /// `gradient` is that of GELU(z) ∘ gate in these slots or, without slots, that of z. The address
    /// of the gate is that of the filled one.
    pub(crate) fn accumulate(
        &self,
        precision: Precision,
        gradient: Address,
        gate: Option<(&Param, Address)>,
        layout: Option<SlotLayout>,
        g: &mut Grads<Cuda>,
    ) {
        let k = self.waves.k;
        let out = self.width();
        let rows = self.spans.rows();
        let sums = if layout.is_some() { k + 2 } else { k + 1 };
        let summed = if layout.is_some() { filled(out) } else { out };
        let parts = gpu().memory(Precision::F32, sums * rows * CHUNKS * summed);
        kernels::first_sums(
            precision,
            Pack::of(summed),
            [columns(summed), rows * CHUNKS],
            gradient,
            gate.map_or(0, |(_, filled)| filled),
            address(&self.samples),
            self.scaled.at(),
            self.shift.at(),
            parts.at(),
            summed,
            rows,
            CHUNKS,
            self.waves,
            layout.unwrap_or(SlotLayout::NONE),
        );
        let totals = doubles(sums * rows * summed);
        let grid = [summed.div_ceil(256), sums * rows];
        kernels::fold_chunks(grid, parts.at(), totals.at(), summed, CHUNKS);
        let [w, gamma, beta] = &self.weights;
        let dw = g.of(w);
        let dgamma = g.of(gamma);
        let dbeta = g.of(beta);
        let dgate = gate.map_or(0, |(gate, _)| g.of(gate));
        kernels::first_gradient(
            [out.div_ceil(256), 1],
            totals.at(),
            self.moments.at(),
            self.stats.at(),
            address(w),
            address(gamma),
            dw,
            dgamma,
            dbeta,
            dgate,
            out,
            summed,
            rows,
            self.waves,
        );
    }

    fn grid(&self, longest: usize) -> Grid {
        [longest.div_ceil(8 * NEIGHBOURS), self.spans.rows()]
    }
}

fn doubles(len: usize) -> Memory {
    gpu().memory(Precision::F32, 2 * len)
}
