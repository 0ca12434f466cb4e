//! [`crate::op::positional`] as a convolution of slots of a few frames, so that products are wider than a group's channels
//! (kernels/positional.cu). cuBLAS takes no matrix whose rows overlap, as windows do: those of every n-th slot, for windows
//! of n slots, lie behind each other, and n such products are one call a group. Kept: the slots and u = conv + b.
use crate::cuda::gpu::{Address, Memory, for_each, gpu};
use crate::cuda::kernels::{self, BlockLayout};
use crate::cuda::product::{Out, View, products};
use crate::cuda::sums::add_column_sums;
use crate::gemm::Precision;
use crate::tensor::cuda::{Cuda, Param, address, len, record_hidden, zeros};
use crate::tensor::{Hidden, Spans, Track};

/// Frames of a slot: more make products wider, and the weight as many times as large.
const PLACES: usize = 4;

pub fn positional<T: Track<Cuda>>(
    x: Hidden<T, Cuda>,
    [g, v, b]: [&Param; 3],
    groups: usize,
    precision: Precision,
) -> Hidden<T, Cuda> {
    let (x, tape) = x.split();
    let (width, k, spans, n) = (x.width(), len(g), x.spans.clone(), len(v));
    let (before, slots) = (k / 2, Slots::new(&spans, k, width / groups));
    let (at, grid, from) = (slots.at, slots.grid, address(&x.values));

    let norms = gpu().memory(Precision::F32, 2 * k);
    kernels::tap_norms([k, 1], address(v), norms.at(), n / k, k);
    let taps = slots.taps(
        precision,
        [address(g), address(v), norms.at()],
        groups,
        false,
    );
    let blocks = slots.memory(precision, groups);
    kernels::into_blocks(precision, grid, from, blocks.at(), width, before, at);
    let out = slots.memory(Precision::F32, groups);
    slots.convolve(precision, groups, (&blocks, slots.lead), &taps, &out);
    drop(taps);
    let (u, y) = (
        gpu().memory(Precision::F32, spans.total() * width),
        zeros((spans.total(), width)),
    );
    kernels::positional(
        grid,
        from,
        out.at(),
        address(b),
        u.at(),
        address(&y),
        width,
        at,
    );
    drop(out);

    let [g_, v, b] = [g, v, b].map(Param::clone);
    record_hidden(y, spans.clone(), tape, move |dy, g| {
        let len = spans.total() * width;
        kernels::positional_slope(for_each(len, 1), dy, u.at(), len);
        add_column_sums(u.at(), g.to(&b), spans.total(), width);
        let grad = slots.memory(precision, groups);
        kernels::into_blocks(precision, grid, u.at(), grad.at(), width, 0, at);
        let (of_v, norms) = (address(&v), norms.at());
        let (taps, dslots) = (
            slots.taps(precision, [address(&g_), of_v, norms], groups, true),
            slots.memory(Precision::F32, groups),
        );
        slots.convolve(precision, groups, (&grad, 0), &taps, &dslots);
        drop(taps);
        kernels::positional_backward(grid, dy, dslots.at(), g.to(&x.values), width, before, at);
        drop(dslots);
        let dtaps = slots.correlate(precision, groups, &grad, &blocks);
        let (dw, along) = (
            gpu().memory(Precision::F32, n),
            gpu().memory(Precision::F32, 2 * k),
        );
        kernels::sum_places(for_each(n, 1), dtaps.at(), dw.at(), n, at);
        let along = along.at();
        kernels::tap_gradients(
            [k, 1],
            dw.at(),
            of_v,
            norms,
            along,
            g.to(&g_),
            n / k,
            k,
            at.c,
        );
        kernels::direction_gradient(
            for_each(n, 1),
            dw.at(),
            of_v,
            address(&g_),
            norms,
            along,
            g.to(&v),
            n,
            k,
            at.c,
        );
    })
}

/// Where frames lie in (groups, slots, channels of a slot): `lead` slots of zeros, the rows with zeros between, zeros.
struct Slots {
    at: BlockLayout,
    /// Slots of a window, but for one.
    lead: usize,
    /// From the first row to the last.
    count: usize,
    grid: [usize; 2],
    _memory: [Memory; 2],
}

impl Slots {
    fn new(spans: &Spans, k: usize, c: usize) -> Slots {
        let seen = (k + PLACES - 1).div_ceil(PLACES);
        let of_row = |frames: usize| {
            if frames == 0 {
                0
            } else {
                (frames + k / 2).div_ceil(PLACES)
            }
        };
        let count: usize = spans.lengths().map(of_row).sum();
        let behind = (count.div_ceil(seen) + 1) * seen - count;
        let rows = |lead, behind, of: &dyn Fn(usize) -> usize| {
            Spans::new(
                [lead]
                    .into_iter()
                    .chain(spans.lengths().map(of))
                    .chain([behind]),
            )
        };
        let (frames, slots) = (
            rows(0, 0, &|frames| frames),
            rows(seen - 1, behind, &of_row),
        );
        let longest = slots.lengths().max().unwrap_or(0);
        let memory = [&frames, &slots].map(|spans| gpu().starts(spans));
        let [starts, of_slots] = memory.each_ref().map(Memory::at);
        let at = BlockLayout {
            starts,
            slots: of_slots,
            total: slots.total(),
            k,
            c,
            places: PLACES,
            window: seen * PLACES,
        };
        let grid = [(longest * PLACES).div_ceil(8), slots.rows()];
        Slots {
            at,
            lead: seen - 1,
            count,
            grid,
            _memory: memory,
        }
    }

    fn memory(&self, precision: Precision, groups: usize) -> Memory {
        gpu().memory(precision, groups * self.at.total * self.wide())
    }
    /// Channels of a slot.
    fn wide(&self) -> usize {
        PLACES * self.at.c
    }
    /// The slots of a group from `first` on, as rows so far apart.
    fn of(&self, memory: &Memory, group: usize, first: usize, step: usize) -> View {
        View::rows(
            memory.element((group * self.at.total + first) * self.wide()),
            step,
        )
    }
    /// Written-out weights of a group, or their gradients.
    fn weight(&self, memory: &Memory, group: usize) -> View {
        let seen = self.at.window * self.at.c;
        View::rows(memory.element(group * self.wide() * seen), seen)
    }

    fn taps(
        &self,
        precision: Precision,
        [g, v, norms]: [Address; 3],
        groups: usize,
        turned: bool,
    ) -> Memory {
        let n = groups * self.wide() * self.at.window * self.at.c;
        let to = gpu().memory(precision, n);
        kernels::write_out(
            precision,
            for_each(n, 1),
            v,
            g,
            norms,
            to.at(),
            n,
            turned,
            self.at,
        );
        to
    }

    /// The slots of the rows in `to`, from windows whose first begins at slot `first` of `from`.
    fn convolve(
        &self,
        precision: Precision,
        groups: usize,
        (from, first): (&Memory, usize),
        taps: &Memory,
        to: &Memory,
    ) {
        let (wide, seen) = (self.wide(), self.lead + 1);
        let shape = [self.count.div_ceil(seen), wide, seen * wide];
        for group in 0..groups {
            let [from, to] = [(from, first), (to, self.lead)].map(|(memory, first)| {
                self.of(memory, group, first, seen * wide)
                    .batch_stride(wide)
            });
            products(
                precision,
                seen,
                shape,
                from,
                self.weight(taps, group).t(),
                Out::Wide(to),
            );
        }
    }

    /// The gradient of the taps: for each slot of a window a product over all windows.
    fn correlate(
        &self,
        precision: Precision,
        groups: usize,
        grad: &Memory,
        from: &Memory,
    ) -> Memory {
        let (wide, seen) = (self.wide(), self.lead + 1);
        let to = gpu().memory(Precision::F32, groups * wide * seen * wide);
        for group in 0..groups {
            let [grad, from] = [grad, from].map(|memory| self.of(memory, group, self.lead, wide));
            let to = Out::Wide(self.weight(&to, group).batch_stride(wide));
            products(
                precision,
                seen,
                [wide, wide, self.count],
                grad.t(),
                from.batch_stride(wide),
                to,
            );
        }
        to
    }
}

#[cfg(test)]
mod tests {
    use crate::cuda::check::both;
    use crate::op::check::{Case, ROWS};

    #[test]
    fn positional_is_that_of_the_cpu() {
        for (width, groups, k) in [(6, 2, 4), (8, 2, 19), (6, 3, 3), (7, 1, 40), (4, 2, 1)] {
            let case = Case::new(&ROWS, width, &[k, width * width / groups * k, width]);
            both!(&case, |x, p, _tape, precision| positional(
                x,
                [&p[0], &p[1], &p[2]],
                groups,
                precision
            )
            .values);
        }
    }
}
