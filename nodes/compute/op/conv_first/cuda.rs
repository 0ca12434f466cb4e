//! [`crate::op::conv_first`]: moments of the windows, factors of every channel, one pass that writes z, or the slots that the
//! next convolution reads, in its format, so that z is nowhere whole; backward makes it again (kernels/first.cu).
use crate::cuda::gpu::{Address, Memory, gpu};
use crate::cuda::kernels::{self, Pack, SlotLayout, Waves};
use crate::cuda::sums::columns;
use crate::gemm::Precision;
use crate::op::frames_out;
use crate::tensor::cuda::{Cuda, Param, address, len, record_hidden, tensor, zeros};
use crate::tensor::{Grads, Hidden, Spans, Track};

/// Blocks that share the windows of a row when their gradients are summed.
const CHUNKS: usize = 16;

/// [`crate::op::First`].
pub struct First {
    waves: Vec<Vec<f32>>,
    weights: [Param; 3],
    k: usize,
    s: usize,
}

impl First {
    pub fn new(waves: Vec<Vec<f32>>, weights: [&Param; 3], k: usize, s: usize) -> First {
        First {
            waves,
            weights: weights.map(Param::clone),
            k,
            s,
        }
    }
}

/// Its samples on the GPU, and, of each row and channel, statistics, factors and what is added.
pub struct Ready {
    samples: Param,
    weights: [Param; 3],
    pub spans: Spans,
    waves: Waves,
    moments: Memory,
    stats: Memory,
    scaled: Memory,
    shift: Memory,
    _places: [Memory; 2],
}

/// Windows that a warp of kernels/first.cu has.
const NEIGHBOURS: usize = 4;

impl First {
    pub fn ready(self) -> Ready {
        let First {
            waves: rows,
            weights,
            k,
            s,
        } = self;
        let [w, gamma, beta] = weights.each_ref().map(address);
        let (out, count, samples) = (
            len(&weights[1]),
            rows.len(),
            Spans::new(rows.iter().map(Vec::len)),
        );
        let spans = Spans::new(samples.lengths().map(|frames| frames_out(frames, k, s)));
        let x = tensor(rows.concat(), (samples.total(),));
        let places = [&samples, &spans].map(|spans| gpu().starts(spans));
        let waves = Waves {
            starts: places[0].at(),
            windows: places[1].at(),
            k,
            s,
        };

        let [moments, stats] = [k + k * k, out * (2 + k)].map(|n| doubles(count * n));
        kernels::window_moments([k + k * k, count], address(&x), moments.at(), waves);
        let [scaled, shift] = [out * k, out].map(|n| gpu().memory(Precision::F32, count * n));
        let (by_row, of, own) = ([out.div_ceil(256), count], moments.at(), stats.at());
        kernels::first_stats(
            by_row,
            w,
            gamma,
            beta,
            of,
            own,
            scaled.at(),
            shift.at(),
            out,
            waves,
        );
        Ready {
            samples: x,
            weights,
            spans,
            waves,
            moments,
            stats,
            scaled,
            shift,
            _places: places,
        }
    }
}

impl Ready {
    pub fn width(&self) -> usize {
        len(&self.weights[1])
    }

    /// GELU(z) gate, in slots of so many frames a row at most.
    pub fn fill(
        &self,
        precision: Precision,
        gate: Address,
        to: Address,
        longest: usize,
        at: SlotLayout,
    ) {
        let out = self.width();
        let ([x, scaled, shift], grid) = (self.places(), self.grid(longest));
        kernels::first_into_slots(
            precision,
            Pack::of(out),
            grid,
            x,
            scaled,
            shift,
            gate,
            to,
            out,
            self.waves,
            at,
        );
    }

    /// Adds what d gives to the gradients: that of GELU(z) gate in slots, or, without slots, that of z.
    pub fn pull(
        &self,
        precision: Precision,
        d: Address,
        gate: Option<&Param>,
        at: Option<SlotLayout>,
        g: &mut Grads<Cuda>,
    ) {
        let (k, out, rows) = (self.waves.k, self.width(), self.spans.rows());
        let (sums, open) = (
            if at.is_some() { k + 2 } else { k + 1 },
            gate.map_or(0, address),
        );
        let parts = gpu().memory(Precision::F32, sums * rows * CHUNKS * out);
        let grid = [columns(out), rows * CHUNKS];
        let ([x, scaled, shift], at, to) =
            (self.places(), at.unwrap_or(SlotLayout::NONE), parts.at());
        kernels::first_sums(
            precision,
            Pack::of(out),
            grid,
            d,
            open,
            x,
            scaled,
            shift,
            to,
            out,
            rows,
            CHUNKS,
            self.waves,
            at,
        );
        let (totals, grid) = (doubles(sums * rows * out), [out.div_ceil(256), sums * rows]);
        kernels::fold_chunks(grid, parts.at(), totals.at(), out, CHUNKS);
        let [dw, dgamma, dbeta] = self.weights.each_ref().map(|p| g.to(p));
        let (dgate, [w, gamma, _]) = (
            gate.map_or(0, |gate| g.to(gate)),
            self.weights.each_ref().map(address),
        );
        let (grid, [totals, of, own]) = (
            [out.div_ceil(256), 1],
            [&totals, &self.moments, &self.stats].map(Memory::at),
        );
        kernels::first_gradient(
            grid, totals, of, own, w, gamma, dw, dgamma, dbeta, dgate, out, rows, self.waves,
        );
    }

    fn places(&self) -> [Address; 3] {
        [address(&self.samples), self.scaled.at(), self.shift.at()]
    }
    fn grid(&self, longest: usize) -> [usize; 2] {
        [longest.div_ceil(8 * NEIGHBOURS), self.spans.rows()]
    }
}

pub fn conv_first<T: Track<Cuda>>(first: First, tape: T) -> Hidden<T, Cuda> {
    let first = first.ready();
    let (out, spans) = (first.width(), first.spans.clone());
    let (z, [x, scaled, shift]) = (zeros((spans.total(), out)), first.places());
    let grid = first.grid(spans.lengths().max().unwrap_or(0));
    kernels::first(
        Pack::of(out),
        grid,
        x,
        scaled,
        shift,
        address(&z),
        out,
        first.waves,
    );
    record_hidden(z, spans, tape, move |dz, g| {
        first.pull(Precision::F32, dz, None, None, g)
    })
}

fn doubles(len: usize) -> Memory {
    gpu().memory(Precision::F32, 2 * len)
}

#[cfg(test)]
mod tests {
    use crate::cuda::check::both;
    use crate::op::check::{Case, noise};

    #[test]
    fn conv_first_is_that_of_the_cpu() {
        for (k, s, out) in [(10, 5, 13), (3, 1, 8), (20, 7, 4)] {
            let waves = [197, 2, 0, 160].map(|n| noise("wave", n)).to_vec();
            let case = Case::new(&[1], 1, &[out * k, out, out]);
            both!(&case, |_x, p, tape, _precision| {
                conv_first(
                    First::new(waves.clone(), [&p[0], &p[1], &p[2]], k, s),
                    tape.clone(),
                )
                .values
            });
        }
    }
}
