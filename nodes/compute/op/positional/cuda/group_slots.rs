//! Frames in slots by group, and the GEMMs over their windows.
use crate::cuda::gpu::{Address, Memory, gpu};
use crate::cuda::grid::for_each;
use crate::cuda::kernels::{self, BlockLayout, Grid};
use crate::cuda::product::{Batch, View, products_of_batches};
use crate::gemm::Precision;
use crate::op::positional::PositionalConv;
use crate::tensor::Spans;

/// Frames of a slot: more make GEMMs wider, and the weight as many times as large.
const PLACES: usize = 4;

/// Frames as (groups, slots, channels of a slot): `lead` slots of zeros, the rows with zeros
/// between them, and slots of zeros.
pub(super) struct GroupSlots {
    pub(super) layout: BlockLayout,
    /// Slots of a window, less one.
    pub(super) lead: usize,
    /// Slots from the first row to the last.
    count: usize,
    pub(super) grid: Grid,
    groups: usize,
    precision: Precision,
    _memory: [Memory; 2],
}

impl GroupSlots {
    pub(super) fn new(conv: &PositionalConv) -> GroupSlots {
        let spans = &conv.spans;
        let window = (conv.k + PLACES - 1).div_ceil(PLACES);
        let slots_of_row = |frames: usize| {
            if frames == 0 {
                0
            } else {
                (frames + conv.before()).div_ceil(PLACES)
            }
        };
        let count: usize = spans.lengths().map(slots_of_row).sum();
        let behind = (count.div_ceil(window) + 1) * window - count;
        let rows = spans.lengths().map(slots_of_row);
        let slots = Spans::new([window - 1].into_iter().chain(rows).chain([behind]));
        let frames = Spans::new([0].into_iter().chain(spans.lengths()).chain([0]));
        let longest = slots.lengths().max().unwrap_or(0);
        let memory = [&frames, &slots].map(|spans| gpu().starts(spans));
        let layout = BlockLayout {
            starts: memory[0].at(),
            slots: memory[1].at(),
            total: slots.total(),
            k: conv.k,
            c: conv.channels(),
            places: PLACES,
            window: window * PLACES,
        };
        GroupSlots {
            layout,
            lead: window - 1,
            count,
            grid: [(longest * PLACES).div_ceil(8), slots.rows()],
            groups: conv.groups,
            precision: conv.precision,
            _memory: memory,
        }
    }

    pub(super) fn memory(&self, precision: Precision) -> Memory {
        gpu().memory(precision, self.groups * self.layout.total * self.channels())
    }

    /// Returns the channels of a slot.
    fn channels(&self) -> usize {
        PLACES * self.layout.c
    }

    /// Copies frames to their slots, `before` frames behind the start of a row's slots.
    pub(super) fn fill(&self, from: Address, to: &Memory, before: usize, width: usize) {
        kernels::into_blocks(
            self.precision,
            self.grid,
            from,
            to.at(),
            width,
            before,
            self.layout,
        );
    }

    /// Returns the slots of a group from `first` on, as rows with this stride.
    fn rows(&self, memory: &Memory, group: usize, first: usize, stride: usize) -> View {
        let slot = group * self.layout.total + first;
        View::rows(memory.element(slot * self.channels()), stride)
    }

    /// Returns the written-out weight of a group, or its gradient.
    fn weight(&self, memory: &Memory, group: usize) -> View {
        let stride = self.layout.window * self.layout.c;
        View::rows(memory.element(group * self.channels() * stride), stride)
    }

    /// Writes out the weight for all places of a slot, transposed for the gradient of x.
    pub(super) fn taps(&self, [gain, v, norms]: [Address; 3], transposed: bool) -> Memory {
        let numbers = self.groups * self.channels() * self.layout.window * self.layout.c;
        let taps = gpu().memory(self.precision, numbers);
        kernels::write_out(
            self.precision,
            for_each(numbers, 1),
            v,
            gain,
            norms,
            taps.at(),
            numbers,
            transposed,
            self.layout,
        );
        taps
    }

    /// Writes the slots of the rows, from windows of which the first begins at slot `first`.
    pub(super) fn convolve(&self, from: &Memory, first: usize, taps: &Memory, to: &Memory) {
        let channels = self.channels();
        let window = self.lead + 1;
        let stride = window * channels;
        let batches: Vec<Batch> = (0..self.groups)
            .map(|group| Batch {
                a: self.rows(from, group, first, stride).batch_stride(channels),
                b: self.weight(taps, group).t(),
                out: self
                    .rows(to, group, self.lead, stride)
                    .batch_stride(channels),
            })
            .collect();
        let shape = [self.count.div_ceil(window), channels, stride];
        products_of_batches(self.precision, window, shape, &batches);
    }

    /// Returns the gradient of the taps: for each slot of a window a GEMM over all windows.
    pub(super) fn correlate(&self, grad: &Memory, from: &Memory) -> Memory {
        let channels = self.channels();
        let window = self.lead + 1;
        let dtaps = gpu().memory(Precision::F32, self.groups * channels * window * channels);
        let batches: Vec<Batch> = (0..self.groups)
            .map(|group| Batch {
                a: self.rows(grad, group, self.lead, channels).t(),
                b: self
                    .rows(from, group, self.lead, channels)
                    .batch_stride(channels),
                out: self.weight(&dtaps, group).batch_stride(channels),
            })
            .collect();
        let shape = [channels, channels, self.count];
        products_of_batches(self.precision, window, shape, &batches);
        dtaps
    }
}
