//! Rows of a batch as slots of s frames: a slot for each window, and for the frames that the last
//! windows of a row contain beyond.
use super::Convolution;
use crate::cuda::gpu::{Memory, gpu};
use crate::cuda::grid::for_each;
use crate::cuda::kernels::{self, Grid, SlotLayout};
use crate::cuda::product::{Out, View, products};
use crate::tensor::Spans;
use crate::tensor::cuda::{Cuda, address};

pub struct Slots {
    /// Rows of windows.
    pub windows: Spans,
    pub total: usize,
    /// Slots of the longest row.
    pub longest: usize,
    pub(crate) layout: SlotLayout,
    _starts: [Memory; 3],
}

impl Slots {
    pub fn new(spans: &Spans, conv: &Convolution<Cuda>) -> Slots {
        let Convolution { k, s, .. } = *conv;
        let windows = conv.windows(spans);
        let slots_of = |windows: usize| {
            if windows == 0 {
                0
            } else {
                windows + (k - 1) / s
            }
        };
        let slots = Spans::new(windows.lengths().map(slots_of));
        let starts = [spans, &windows, &slots].map(|spans| gpu().starts(spans));
        let layout = SlotLayout {
            starts: starts[0].at(),
            windows: starts[1].at(),
            slots: starts[2].at(),
            k,
            s,
        };
        Slots {
            windows,
            total: slots.total(),
            longest: slots.lengths().max().unwrap_or(0),
            layout,
            _starts: starts,
        }
    }

    /// Returns the slots that a window spans.
    pub fn per_window(&self) -> usize {
        self.layout.k.div_ceil(self.layout.s)
    }

    /// Returns the slots, except those that the last row has beyond its windows.
    pub fn count(&self) -> usize {
        self.total.saturating_sub(self.per_window() - 1)
    }

    /// Returns the slots to allocate: each GEMM of a batch has as many rows, and the last ones may
    /// read beyond the slots.
    pub fn room(&self) -> usize {
        self.total + self.per_window() - 1
    }

    /// Returns the blocks of a kernel with a warp for each frame of slots of `frames`.
    pub fn grid(&self, frames: usize) -> Grid {
        [(self.longest * frames).div_ceil(8), self.windows.rows()]
    }

    /// Returns the gradient of the filled slots from that of z, which begins with zero slots: for
    /// each frame of a slot a batched GEMM over all windows that contain it.
    pub fn input_gradient(&self, conv: &Convolution<Cuda>, dz: &Memory) -> Memory {
        let Convolution {
            k, s, precision, ..
        } = *conv;
        let width = conv.filled_width();
        let out = conv.filled_out();
        let numbers = conv.filled_numbers();
        let taps = gpu().memory(precision, numbers);
        kernels::taps_by_frame(
            precision,
            for_each(numbers, 1),
            address(&conv.w),
            taps.at(),
            numbers,
            conv.out,
            out,
            k,
            conv.width,
            width,
            s,
        );
        let mut dh = gpu().memory(precision, self.room() * s * width);
        if k < s {
            dh.clear(self.total * s * width);
        }
        let mut first = 0;
        for frame in 0..s.min(k) {
            let q = (k - frame).div_ceil(s);
            let windows = View::rows(dz.element((self.per_window() - q) * out), q * out);
            let frames_of_slots = View::rows(dh.element(frame * width), q * s * width);
            products(
                precision,
                q,
                [self.total.div_ceil(q), width, q * out],
                windows.batch_stride(out),
                View::rows(taps.element(first), width),
                Out::Set(frames_of_slots.batch_stride(s * width)),
            );
            first += q * out * width;
        }
        dh
    }
}
