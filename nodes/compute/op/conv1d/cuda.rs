//! [`crate::op::conv1d`]: the input, activated and gated, is written once into slots of s frames, in the format of products
//! (kernels/convolution.cu); there window w of all rows begins at slot w. cuBLAS takes no matrix whose rows overlap, as
//! windows do that see q = ⌈k / s⌉ slots: those of every q-th slot lie behind each other, and q such products are one call.
//! So a sum over all taps is one sum, in f32.
//!
//! The result stays in slots, in that format, until somebody wants it whole; the next convolution fills its own from them,
//! and its rule hands the gradient back through the slots.
use crate::cuda::gpu::{Address, Memory, for_each, gpu};
use crate::cuda::kernels::{self, Pack, SlotLayout};
use crate::cuda::product::{Out, View, product, products};
use crate::cuda::sums::add_narrow_sums;
use crate::gemm::Precision;
use crate::op::conv_first::cuda::{First, Ready, conv_first};
use crate::op::frames_out;
use crate::op::gate::cuda as gate;
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
    Conv(Box<Conv>, T),
}

impl<T: Track<Cuda>> Source<T> {
    /// All rows at once.
    pub fn whole(self) -> Hidden<T, Cuda> {
        match self {
            Source::Hidden(x) => x,
            Source::First(first, tape) => conv_first(first, tape),
            Source::Conv(conv, tape) => conv.whole(tape),
        }
    }
    fn split(self) -> (Seen, T) {
        match self {
            Source::Hidden(x) => {
                let (x, tape) = x.split();
                (Seen::Hidden(x), tape)
            }
            Source::First(first, tape) => (Seen::First(Box::new(first.ready())), tape),
            Source::Conv(conv, tape) => (Seen::Conv(conv), tape),
        }
    }
}

/// What the slots are filled from.
enum Seen {
    Hidden(Hidden<NoneTape, Cuda>),
    First(Box<Ready>),
    Conv(Box<Conv>),
}

impl Seen {
    fn spans(&self) -> &Spans {
        match self {
            Seen::Hidden(x) => &x.spans,
            Seen::First(first) => &first.spans,
            Seen::Conv(conv) => &conv.made.slots.windows,
        }
    }
    fn width(&self) -> usize {
        match self {
            Seen::Hidden(x) => x.width(),
            Seen::First(first) => first.width(),
            Seen::Conv(conv) => conv.made.out,
        }
    }
    /// The slots, in this format.
    fn fill(
        &self,
        precision: Precision,
        activates: bool,
        gate: Option<&Param>,
        slots: &Slots,
    ) -> Memory {
        let (width, s, open) = (self.width(), slots.places.s, gate.map_or(0, address));
        let to = gpu().memory(precision, slots.room() * s * width);
        match self {
            Seen::Hidden(x) => {
                let from = address(&x.values);
                kernels::into_slots(
                    precision,
                    Pack::of(width),
                    slots.grid(s),
                    from,
                    open,
                    to.at(),
                    width,
                    activates,
                    slots.places,
                );
            }
            Seen::First(first) => {
                first.fill(precision, open, to.at(), slots.longest * s, slots.places)
            }
            Seen::Conv(conv) => {
                let Conv { z, made } = &**conv;
                let (from, bias) = (made.slots.places, made.bias());
                kernels::slots_into_slots(
                    precision,
                    Pack::of(width),
                    slots.grid(s),
                    z.at(),
                    bias,
                    open,
                    to.at(),
                    width,
                    from,
                    slots.places,
                );
            }
        }
        to
    }
    /// Adds to the gradients of x and gate, from that of the slots.
    fn pull(
        self,
        precision: Precision,
        dh: Memory,
        gate: Option<&Param>,
        slots: &Slots,
        g: &mut Grads<Cuda>,
    ) {
        let (width, s, open) = (self.width(), slots.places.s, gate.map_or(0, address));
        let of_gate = |dh: &Memory, g: &mut Grads<Cuda>| {
            if let Some(gate) = gate {
                add_narrow_sums(precision, dh.at(), g.to(gate), slots.total * s, width);
            }
        };
        match self {
            Seen::First(first) => first.pull(precision, dh.at(), gate, Some(slots.places), g),
            Seen::Hidden(x) => {
                let (from, dx) = (address(&x.values), g.to(&x.values));
                kernels::gradient_from_slots(
                    precision,
                    Pack::of(width),
                    slots.grid(s),
                    from,
                    open,
                    dh.at(),
                    dx,
                    width,
                    slots.places,
                );
                of_gate(&dh, g);
            }
            Seen::Conv(conv) => {
                let Conv { z, made } = *conv;
                let (grad, own) = (made.gradient(), &made.slots);
                let (bias, to) = (made.bias(), made.place(&grad));
                kernels::gradient_between_slots(
                    precision,
                    Pack::of(width),
                    own.grid(1),
                    z.at(),
                    bias,
                    open,
                    dh.at(),
                    to,
                    width,
                    own.places,
                    slots.places,
                );
                of_gate(&dh, g);
                drop((z, dh));
                made.pull(grad, g);
            }
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
) -> Source<T> {
    let (activates, source, gate) = match input {
        Input::Raw(x) => (false, Source::Hidden(x), None),
        Input::Gelu(Source::Conv(conv, tape), gate) if conv.made.precision != precision => {
            (true, Source::Hidden(conv.whole(tape)), gate)
        }
        Input::Gelu(source, gate) => (true, source, gate),
    };
    let (x, tape) = source.split();
    let (gate, tape) = gate::join(tape, gate);
    let (width, out) = (x.width(), len(w) / x.width() / k);
    let slots = Slots::new(x.spans(), k, s);
    let seen = x.fill(precision, activates, gate.as_ref(), &slots);
    let (n, taps) = (len(w), gpu().memory(precision, len(w)));
    kernels::taps_first(
        precision,
        for_each(n, 1),
        address(w),
        taps.at(),
        n,
        k,
        width,
    );
    let z = gpu().memory(precision, slots.total * out);
    let (q, of_slot) = (slots.seen(), s * width);
    let windows = View::of(&seen, q * of_slot).batch_stride(of_slot);
    let (shape, to) = (
        [slots.count().div_ceil(q), out, k * width],
        View::of(&z, q * out).batch_stride(out),
    );
    products(
        precision,
        q,
        shape,
        windows,
        View::of(&taps, k * width).t(),
        Out::Set(to),
    );
    let back = T::OWNS_TAPE.then(|| Back {
        x,
        seen,
        gate,
        activates,
        w: w.clone(),
    });
    Source::Conv(
        Box::new(Conv {
            z,
            made: Made {
                slots,
                out,
                width,
                bias: bias.cloned(),
                precision,
                back,
            },
        }),
        tape,
    )
}

/// A convolution's result in its slots, without the bias.
pub struct Conv {
    z: Memory,
    made: Made,
}

/// How it was made.
struct Made {
    slots: Slots,
    width: usize,
    out: usize,
    bias: Option<Param>,
    precision: Precision,
    back: Option<Back>,
}

/// What its gradients need.
struct Back {
    x: Seen,
    /// The slots, as they were filled from x.
    seen: Memory,
    gate: Option<Param>,
    activates: bool,
    w: Param,
}

impl Conv {
    fn whole<T: Track<Cuda>>(self, tape: T) -> Hidden<T, Cuda> {
        let Conv { z, made } = self;
        let (out, slots, precision) = (made.out, &made.slots, made.precision);
        let (windows, y) = (slots.windows.clone(), zeros((slots.windows.total(), out)));
        let bias = made.bias();
        kernels::from_slots(
            precision,
            Pack::of(out),
            slots.grid(1),
            z.at(),
            bias,
            address(&y),
            out,
            slots.places,
        );
        record_hidden(y, windows, tape, move |dy, g| {
            let (grad, slots) = (made.gradient(), &made.slots);
            kernels::gradient_into_slots(
                precision,
                Pack::of(out),
                slots.grid(1),
                dy,
                made.place(&grad),
                out,
                slots.places,
            );
            made.pull(grad, g);
        })
    }
}

impl Made {
    fn bias(&self) -> Address {
        self.bias.as_ref().map_or(0, address)
    }

    /// Memory for the gradient of the result, a frame a slot, behind as many zero slots as a window sees before its own.
    fn gradient(&self) -> Memory {
        let lead = self.slots.seen() - 1;
        let mut grad = gpu().memory(self.precision, (lead + self.slots.room()) * self.out);
        grad.clear(lead * self.out);
        grad
    }
    /// Where its first slot lies.
    fn place(&self, grad: &Memory) -> Address {
        grad.element((self.slots.seen() - 1) * self.out)
    }

    /// Adds to the gradients of all that the result came from.
    fn pull(self, grad: Memory, g: &mut Grads<Cuda>) {
        let own = self.place(&grad);
        let Some(Back {
            x,
            seen,
            gate,
            activates,
            ref w,
        }) = self.back
        else {
            return;
        };
        let (slots, precision, width, out, n) =
            (&self.slots, self.precision, self.width, self.out, len(w));
        let SlotLayout { k, s, .. } = slots.places;
        let dtaps = gpu().memory(Precision::F32, n);
        for tap in (0..k).step_by(s) {
            let (from, wide) = (tap * width, s.min(k - tap) * width);
            let to = Out::Wide(View::rows(dtaps.element(from), k * width));
            let seen = View::rows(seen.element(from), s * width);
            product(
                precision,
                [out, wide, slots.count()],
                View::rows(own, out).t(),
                seen,
                to,
            );
        }
        kernels::taps_last(for_each(n, 1), dtaps.at(), g.to(w), n, k, width);
        drop((seen, dtaps));
        if let Some(bias) = &self.bias {
            add_narrow_sums(precision, own, g.to(bias), slots.total, out);
        }
        if activates {
            let dh = slots.gradient(precision, &grad, w, [out, width]);
            drop(grad);
            x.pull(precision, dh, gate.as_ref(), slots, g);
        }
    }
}

/// Where the rows of a batch lie as slots of s frames: a slot for each window, and for what the last windows see beyond.
struct Slots {
    windows: Spans,
    total: usize,
    longest: usize,
    places: SlotLayout,
    _memory: [Memory; 3],
}

impl Slots {
    fn new(spans: &Spans, k: usize, s: usize) -> Slots {
        let windows = Spans::new(spans.lengths().map(|frames| frames_out(frames, k, s)));
        let of_windows = |n: usize| if n == 0 { 0 } else { n + (k - 1) / s };
        let slots = Spans::new(windows.lengths().map(of_windows));
        let memory = [spans, &windows, &slots].map(|spans| gpu().starts(spans));
        let [starts, of_windows, of_slots] = memory.each_ref().map(Memory::at);
        let places = SlotLayout {
            starts,
            windows: of_windows,
            slots: of_slots,
            k,
            s,
        };
        let longest = slots.lengths().max().unwrap_or(0);
        Slots {
            windows,
            total: slots.total(),
            longest,
            places,
            _memory: memory,
        }
    }

    /// Slots that a window sees.
    fn seen(&self) -> usize {
        self.places.k.div_ceil(self.places.s)
    }
    /// Slots but for those that the last row has beyond its windows.
    fn count(&self) -> usize {
        self.total.saturating_sub(self.seen() - 1)
    }
    /// Slots that there is memory for: products of every q-th window are equally many, and the last ones may see beyond.
    fn room(&self) -> usize {
        self.total + self.seen() - 1
    }
    /// Blocks of a kernel with a warp for each frame, so many a slot.
    fn grid(&self, frames: usize) -> [usize; 2] {
        [(self.longest * frames).div_ceil(8), self.windows.rows()]
    }

    /// Of the slots, from `grad`, that of what the products gave: of each frame of a slot one product, over all windows that
    /// see it.
    fn gradient(
        &self,
        precision: Precision,
        grad: &Memory,
        w: &Param,
        [out, width]: [usize; 2],
    ) -> Memory {
        let (SlotLayout { k, s, .. }, n) = (self.places, len(w));
        let taps = gpu().memory(precision, n);
        kernels::taps_by_frame(
            precision,
            for_each(n, 1),
            address(w),
            taps.at(),
            n,
            out,
            k,
            width,
            s,
        );
        let mut dh = gpu().memory(precision, self.room() * s * width);
        if k < s {
            dh.clear(self.total * s * width);
        }
        let mut from = 0;
        for frame in 0..s.min(k) {
            let q = (k - frame).div_ceil(s);
            let windows =
                View::rows(grad.element((self.seen() - q) * out), q * out).batch_stride(out);
            let to = View::rows(dh.element(frame * width), q * s * width).batch_stride(s * width);
            let (shape, taps) = (
                [self.total.div_ceil(q), width, q * out],
                View::rows(taps.element(from), width),
            );
            products(precision, q, shape, windows, taps, Out::Set(to));
            from += q * out * width;
        }
        dh
    }
}

#[cfg(test)]
mod tests {
    use crate::cuda::check::both;
    use crate::op::check::{Case, noise};

    #[test]
    fn conv1d_is_that_of_the_cpu() {
        for ((k, s), width, out) in [
            ((3, 2), 5, 7),
            ((2, 2), 8, 4),
            ((10, 5), 4, 8),
            ((3, 1), 4, 5),
            ((2, 3), 5, 8),
        ] {
            let case = Case::new(&[1, 0, 13, 38, 11], width, &[out * width * k, out, width]);
            both!(&case, |x, p, tape, precision| {
                let gate = put(&p[2], tape);
                conv1d(
                    Input::Gelu(Source::Hidden(x), Some(&gate)),
                    &p[0],
                    Some(&p[1]),
                    k,
                    s,
                    precision,
                )
                .whole()
                .values
            });
            both!(&case, |x, p, _tape, precision| {
                conv1d(
                    Input::Gelu(Source::Hidden(x), None),
                    &p[0],
                    None,
                    k,
                    s,
                    precision,
                )
                .whole()
                .values
            });
            let wave = case.x.read().to_vec();
            both!(&case, |_x, p, tape, precision| {
                let wave = hidden(wave.clone(), width, case.x.spans.clone());
                conv1d(
                    Input::Raw(wave.on(tape)),
                    &p[0],
                    Some(&p[1]),
                    k,
                    s,
                    precision,
                )
                .whole()
                .values
            });
        }
    }

    #[test]
    fn one_after_the_other_is_that_of_the_cpu() {
        for ((k, s), width) in [((3, 2), 5), ((2, 2), 8), ((3, 1), 4)] {
            let case = Case::new(
                &[1, 0, 23, 58, 11],
                width,
                &[8 * width * k, 8, 6 * 8 * 3, width, 8, 4 * 6 * 2],
            );
            both!(&case, |x, p, tape, precision| {
                let gates = [3, 4].map(|i| put(&p[i], tape));
                let x = conv1d(
                    Input::Gelu(Source::Hidden(x), Some(&gates[0])),
                    &p[0],
                    Some(&p[1]),
                    k,
                    s,
                    precision,
                );
                let x = conv1d(
                    Input::Gelu(x, Some(&gates[1])),
                    &p[2],
                    None,
                    3,
                    2,
                    precision,
                );
                conv1d(Input::Gelu(x, None), &p[5], None, 2, 2, Precision::F32)
                    .whole()
                    .values
            });
        }
    }

    #[test]
    fn the_first_convolution_is_nowhere_whole() {
        let (waves, width) = ([197, 2, 0, 160].map(|n| noise("wave", n)).to_vec(), 7);
        let case = Case::new(&[1], 1, &[width * 10, width, width, 9 * width * 3, width]);
        both!(agree: &case, |_x, p, tape, precision| {
            let first = Source::First(First::new(waves.clone(), [&p[0], &p[1], &p[2]], 10, 5), tape.clone());
            conv1d(Input::Gelu(first, Some(&put(&p[4], tape))), &p[3], None, 3, 2, precision).whole().values
        });
    }

    #[cfg(feature = "simulated-gpu")]
    #[test]
    fn its_memory_is_that_of_its_slots() {
        use super::*;
        use crate::tensor::cuda::param;
        const WIDTH: usize = 256;
        let [w, gamma, beta, next] =
            [WIDTH * 10, WIDTH, WIDTH, WIDTH * 3].map(|n| param(noise("p", n)));
        let first = First::new(vec![noise("wave", 4000)], [&w, &gamma, &beta], 10, 5);
        let before = gpu().peak_bytes();
        drop(conv1d(
            Input::Gelu(Source::First(first, NoneTape), None),
            &next,
            None,
            3,
            2,
            Precision::Bf16,
        ));
        let (more, slots) = (
            gpu().peak_bytes() - before,
            2 * WIDTH * frames_out(4000, 10, 5),
        );
        assert!(
            (more as usize) < slots + slots / 2,
            "{more} for {slots} bytes of slots"
        );
    }
}
