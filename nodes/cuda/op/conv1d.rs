//! [`crate::op::conv1d`]: the input, activated and gated, is written once into slots of s frames, in the format of products
//! (kernels/convolution.cu). There the windows of all rows are ⌈k / s⌉ matrices with one row stride, s · width, that do not
//! overlap: as many products.
use super::conv_first::{First, Ready, conv_first};
use super::gate;
use super::sums::{add_column_sums, add_narrow_sums};
use crate::cuda::gpu::{Address, Memory, for_each, gpu, kernel, launch};
use crate::cuda::product::{Out, View, product};
use crate::gemm::Precision;
use crate::op::frames_out;
use crate::tensor::cuda::{Cuda, Param, Vector, address, len, record_hidden, zeros};
use crate::tensor::{Grads, Hidden, NoneTape, Spans, Track};

/// [`crate::op::Input`].
pub enum Input<'a, T> {
    Raw(Hidden<T, Cuda>),
    Gelu(Source<T>, Option<&'a Vector<T>>),
}

/// [`crate::op::Source`].
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
    fn split(self) -> (Seen, T) {
        match self {
            Source::Hidden(x) => {
                let (x, tape) = x.split();
                (Seen::Hidden(x), tape)
            }
            Source::First(first, tape) => (Seen::First(Box::new(first.ready())), tape),
        }
    }
}

/// What the slots are filled from.
enum Seen {
    Hidden(Hidden<NoneTape, Cuda>),
    First(Box<Ready>),
}

impl Seen {
    fn spans(&self) -> &Spans {
        match self {
            Seen::Hidden(x) => &x.spans,
            Seen::First(first) => &first.spans,
        }
    }
    fn width(&self) -> usize {
        match self {
            Seen::Hidden(x) => x.width(),
            Seen::First(first) => first.width(),
        }
    }
    /// The slots, in this format.
    fn fill(&self, precision: Precision, activates: bool, gate: Option<&Param>, slots: &Slots) -> Memory {
        let (width, s, open) = (self.width(), slots.places.s, gate.map_or(0, address));
        let to = gpu().memory(precision, slots.total * s * width);
        match self {
            Seen::Hidden(x) => {
                let (name, from) = (precision.kernel("into_slots", width), address(&x.values));
                launch!(name, slots.grid(s), from, open, to.at(), width, activates as u32, slots.places);
            }
            Seen::First(first) => first.fill(precision, open, to.at(), slots.longest * s, slots.places),
        }
        to
    }
    /// Adds to the gradients of x and gate, from that of the slots.
    fn pull(&self, precision: Precision, dh: &Memory, gate: Option<&Param>, slots: &Slots, g: &mut Grads<Cuda>) {
        let x = match self {
            Seen::First(first) => return first.pull(precision, dh.at(), gate, Some(slots.places), g),
            Seen::Hidden(x) => x,
        };
        let (width, s, from, open) = (x.width(), slots.places.s, address(&x.values), gate.map_or(0, address));
        let (name, dx) = (precision.kernel("gradient_from_slots", width), g.to(&x.values));
        launch!(name, slots.grid(s), from, open, dh.at(), dx, width, slots.places);
        if let Some(gate) = gate {
            add_narrow_sums(precision, dh.at(), g.to(gate), slots.total * s, width);
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
    let (activates, source, gate) = match input {
        Input::Raw(x) => (false, Source::Hidden(x), None),
        Input::Gelu(source, gate) => (true, source, gate),
    };
    let (x, tape) = source.split();
    let (gate, tape) = gate::join(tape, gate);
    let (width, out) = (x.width(), len(w) / x.width() / k);
    let slots = Slots::new(x.spans(), k, s);
    let windows = slots.windows.clone();

    let seen = x.fill(precision, activates, gate.as_ref(), &slots);
    let (len, taps) = (len(w), gpu().memory(precision, len(w)));
    launch!(precision.kernel("taps_first", 1), for_each(len, 1), address(w), taps.at(), len, k, width);
    let to = gpu().memory(precision, slots.total * out);
    for part in slots.parts(width) {
        let (x, w) = (part.of(&seen, s * width), part.of(&taps, k * width).t());
        product(precision, [slots.count(), out, part.width], x, w, part.sum(View::of(&to, out)));
    }
    let (y, b) = (zeros((windows.total(), out)), bias.map_or(0, address));
    launch!(precision.kernel("from_slots", out), slots.grid(1), to.at(), b, address(&y), out, slots.places);

    let (w, bias) = (w.clone(), bias.cloned());
    record_hidden(y, windows.clone(), tape, move |dy, g| {
        let grad = gpu().memory(precision, slots.total * out);
        let name = precision.kernel("gradient_into_slots", out);
        launch!(name, slots.grid(1), dy, grad.at(), out, slots.places);
        let (grad, dtaps) = (View::of(&grad, out), gpu().memory(Precision::F32, len));
        for part in slots.parts(width) {
            let (shape, seen) = ([out, part.width, slots.count()], part.of(&seen, s * width));
            product(precision, shape, grad.t(), seen, Out::Wide(part.of(&dtaps, k * width)));
        }
        launch!(kernel("taps_last", 1), for_each(len, 1), dtaps.at(), g.to(&w), len, k, width);
        if activates {
            let dh = slots.gradient(precision, grad, &taps, [out, width]);
            x.pull(precision, &dh, gate.as_ref(), &slots, g);
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
#[derive(Clone, Copy, Default)]
pub struct Places {
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
    /// Of the slots, from `grad`, that of what the products gave. The first part writes whole slots, also those that are no
    /// window, whose `grad` is zero.
    fn gradient(&self, precision: Precision, grad: View, taps: &Memory, [out, width]: [usize; 2]) -> Memory {
        let Places { k, s, .. } = self.places;
        let mut dh = gpu().memory(precision, self.total * s * width);
        if k < s {
            dh.clear();
        }
        for part in self.parts(width) {
            let count = if part.from == 0 { self.total } else { self.count() };
            let (shape, taps) = ([count, part.width, out], part.of(taps, k * width));
            product(precision, shape, grad, taps, part.sum(part.of(&dh, s * width)));
        }
        dh
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
        if self.from == 0 { Out::Set(to) } else { Out::Join(to) }
    }
}

#[cfg(test)]
mod tests {
    use crate::cuda::check::both;
    use crate::op::check::{Case, noise};

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

    #[test]
    fn the_first_convolution_is_nowhere_whole() {
        let (waves, width) = ([197, 2, 0, 160].map(|n| noise("wave", n)).to_vec(), 7);
        let case = Case::new(&[1], 1, &[width * 10, width, width, 9 * width * 3, width]);
        both!(agree: &case, |_x, p, tape, precision| {
            let first = Source::First(First::new(waves.clone(), [&p[0], &p[1], &p[2]], 10, 5), tape.clone());
            conv1d(Input::Gelu(first, Some(&put(&p[4], tape))), &p[3], None, 3, 2, precision).values
        });
    }

    #[cfg(feature = "simulated-gpu")]
    #[test]
    fn its_memory_is_that_of_its_slots() {
        use super::*;
        use crate::tensor::cuda::param;
        const WIDTH: usize = 256;
        let [w, gamma, beta, next] = [WIDTH * 10, WIDTH, WIDTH, WIDTH * 3].map(|n| param(noise("p", n)));
        let first = First::new(vec![noise("wave", 4000)], [&w, &gamma, &beta], 10, 5);
        let before = gpu().peak_bytes();
        drop(conv1d(Input::Gelu(Source::First(first, NoneTape), None), &next, None, 3, 2, Precision::Bf16));
        let (more, slots) = (gpu().peak_bytes() - before, 2 * WIDTH * frames_out(4000, 10, 5));
        assert!((more as usize) < slots + slots / 2, "{more} for {slots} bytes of slots");
    }
}
