//! [`crate::op::conv1d`]: the input, activated and gated, is copied once into slots of s frames (kernels/convolution.cu). There
//! the windows of all rows are ⌈k / s⌉ matrices with one row stride, s · width, that do not overlap: as many products.
use super::conv_first::{First, conv_first};
use super::gate;
use super::sums::add_column_sums;
use crate::cuda::gpu::{Address, Memory, for_each, gpu, kernel, launch};
use crate::cuda::product::{Out, View, product};
use crate::gemm::Precision;
use crate::op::frames_out;
use crate::tensor::cuda::{Cuda, Param, Vector, address, len, record_hidden, zeros};
use crate::tensor::{Hidden, Spans, Track};

/// [`crate::op::Input`].
pub enum Input<'a, T> {
    Raw(Hidden<T, Cuda>),
    Gelu(Source<T>, Option<&'a Vector<T>>),
}

/// [`crate::op::Source`], but [`conv1d`] makes the first convolution whole, and it is kept.
pub enum Source<T> {
    Hidden(Hidden<T, Cuda>),
    First(First, T),
}

impl<T: Track<Cuda>> Source<T> {
    /// All rows at once.
    pub fn whole(self) -> Hidden<T, Cuda> {
        match self {
            Source::Hidden(x) => x,
            Source::First(first, tape) => conv_first(first, tape),
        }
    }
}

pub fn conv1d<T: Track<Cuda>>(
    input: Input<T>,
    w: &Param,
    bias: Option<&Param>,
    k: usize,
    s: usize,
    precision: Precision,
) -> Hidden<T, Cuda> {
    let (activates, x, gate) = match input {
        Input::Raw(x) => (false, x, None),
        Input::Gelu(source, gate) => (true, source.whole(), gate),
    };
    let (x, tape) = x.split();
    let (gate, tape) = gate::join(tape, gate);
    let (width, out) = (x.width(), len(w) / x.width() / k);
    let (slots, open) = (Slots::new(&x.spans, k, s), gate.as_ref().map_or(0, address));
    let (from, windows) = (address(&x.values), slots.windows.clone());

    let seen = gpu().memory(precision, slots.total * s * width);
    let (name, grid) = (precision.kernel("into_slots", width), slots.grid(s));
    launch!(name, grid, from, open, seen.at(), width, activates as u32, slots.places);
    let (len, taps) = (len(w), gpu().memory(precision, len(w)));
    launch!(precision.kernel("taps_first", 1), for_each(len, 1), address(w), taps.at(), len, k, width);
    let to = gpu().memory(Precision::F32, slots.total * out);
    for part in slots.parts(width) {
        let (x, w) = (part.of(&seen, s * width), part.of(&taps, k * width).t());
        product(precision, [slots.count(), out, part.width], x, w, part.sum(View::of(&to, out)));
    }
    let y = zeros((windows.total(), out));
    let b = bias.map_or(0, address);
    launch!(kernel("from_slots", out), slots.grid(1), to.at(), b, address(&y), out, slots.places);

    let (w, bias) = (w.clone(), bias.cloned());
    record_hidden(y, windows.clone(), tape, move |dy, g| {
        let grad = gpu().memory(precision, slots.total * out);
        let name = precision.kernel("gradient_into_slots", out);
        launch!(name, slots.grid(1), dy, grad.at(), out, slots.places);
        let dtaps = gpu().memory(Precision::F32, len);
        let dh = gpu().zeros(if activates { slots.total * s * width } else { 0 });
        let count = slots.count();
        for part in slots.parts(width) {
            let (grad, seen) = (View::of(&grad, out), part.of(&seen, s * width));
            product(precision, [out, part.width, count], grad.t(), seen, Out::Wide(part.of(&dtaps, k * width)));
            if activates {
                let taps = part.of(&taps, k * width);
                product(precision, [count, part.width, out], grad, taps, Out::Add(part.of(&dh, s * width)));
            }
        }
        launch!(kernel("taps_last", 1), for_each(len, 1), dtaps.at(), g.to(&w), len, k, width);
        if activates {
            let (name, dx) = (kernel("gradient_from_slots", width), g.to(&x.values));
            launch!(name, grid, from, open, dh.at(), dx, width, slots.places);
        }
        if let Some(gate) = &gate {
            add_column_sums(dh.at(), g.to(gate), slots.total * s, width);
        }
        if let Some(bias) = &bias {
            add_column_sums(dy, g.to(bias), windows.total(), out);
        }
    })
}

/// Where the rows of a batch lie as slots of s frames: a slot for each window, and for what the last windows see beyond.
struct Slots {
    windows: Spans,
    total: usize,
    longest: usize,
    places: Places,
    _memory: [Memory; 3],
}

/// `Layout` of the kernels.
#[repr(C)]
#[derive(Clone, Copy)]
struct Places {
    starts: Address,
    windows: Address,
    slots: Address,
    k: usize,
    s: usize,
}

impl Slots {
    fn new(spans: &Spans, k: usize, s: usize) -> Slots {
        let windows = Spans::new(spans.lengths().map(|frames| frames_out(frames, k, s)));
        let of_windows = |n: usize| if n == 0 { 0 } else { n + (k - 1) / s };
        let slots = Spans::new(windows.lengths().map(of_windows));
        let memory = [spans, &windows, &slots].map(|spans| gpu().starts(spans));
        let [starts, of_windows, of_slots] = memory.each_ref().map(Memory::at);
        let places = Places { starts, windows: of_windows, slots: of_slots, k, s };
        let longest = slots.lengths().max().unwrap_or(0);
        Slots { windows, total: slots.total(), longest, places, _memory: memory }
    }

    /// Slots but for those that the last row has beyond its windows.
    fn count(&self) -> usize {
        self.total.saturating_sub((self.places.k - 1) / self.places.s)
    }
    /// Blocks of a kernel with a warp for each frame, so many a slot.
    fn grid(&self, frames: usize) -> [usize; 2] {
        [(self.longest * frames).div_ceil(8), self.windows.rows()]
    }
    fn parts(&self, width: usize) -> impl Iterator<Item = Part> {
        let Places { k, s, .. } = self.places;
        (0..k).step_by(s).map(move |tap| Part { from: tap * width, width: s.min(k - tap) * width })
    }
}

/// The taps that see one of a window's slots: their numbers are `width` in a row, of the input as of the weight.
struct Part {
    from: usize,
    width: usize,
}

impl Part {
    fn of(&self, memory: &Memory, step: usize) -> View {
        View::rows(memory.element(self.from), step)
    }
    /// The first part writes, the others add.
    fn sum(&self, to: View) -> Out {
        if self.from == 0 { Out::Wide(to) } else { Out::Add(to) }
    }
}

#[cfg(test)]
mod tests {
    use crate::cuda::check::both;
    use crate::op::check::Case;

    #[test]
    fn conv1d_is_that_of_the_cpu() {
        for ((k, s), width, out) in [((3, 2), 5, 7), ((2, 2), 8, 4), ((10, 5), 4, 8), ((3, 1), 4, 5), ((2, 3), 5, 8)] {
            let case = Case::new(&[1, 0, 13, 38, 11], width, &[out * width * k, out, width]);
            both!(&case, |x, p, tape, precision| {
                let gate = put(&p[2], tape);
                conv1d(Input::Gelu(Source::Hidden(x), Some(&gate)), &p[0], Some(&p[1]), k, s, precision).values
            });
            both!(&case, |x, p, _tape, precision| {
                conv1d(Input::Gelu(Source::Hidden(x), None), &p[0], None, k, s, precision).values
            });
            let wave = case.x.read().to_vec();
            both!(&case, |_x, p, tape, precision| {
                let wave = hidden(wave.clone(), width, case.x.spans.clone());
                conv1d(Input::Raw(wave.on(tape)), &p[0], Some(&p[1]), k, s, precision).values
            });
        }
    }
}
