//! Tensors in a GPU's memory. Their numbers are uploaded and copied back; kernels get their
//! addresses.
use super::{DeviceStorage, Gradients, Grads, Hidden, NoneTape, Spans, Tape, Track, merge, split};
use crate::cuda::elementwise::add;
use crate::cuda::gpu::{Address, ordinal};
use crate::cuda::mask::Mask;
use crate::cuda::pinned;
use crate::cuda::pinned::Landing;
use crate::cuda::refusal::done;
use cudarc::driver::DevicePtr;
use dfdx::prelude::*;
use std::fmt::{self, Write};
use std::ops::Range;

pub use super::{len, record, record_hidden};
pub use dfdx::prelude::{Cuda, Shape, Tensor};

pub type Device = Cuda;
pub type Matrix<T = NoneTape> = super::Matrix<T, Cuda>;
pub type Param = super::Param<Cuda>;
pub type Vector<T = NoneTape> = super::Vector<T, Cuda>;
pub type Number<T = NoneTape> = super::Number<T, Cuda>;

thread_local! {
    // Leaked: a cuBLAS handle cannot be destroyed while the process ends.
    static DEVICE: &'static Cuda = Box::leak(Box::new(done(Cuda::try_build(ordinal(), 0))));
}

/// Uploads `data`, in the order of the stream.
///
/// Much data is copied to pinned memory first: the driver would otherwise block until the GPU has
/// done all that is queued.
pub fn tensor<S: Shape>(data: Vec<f32>, shape: S) -> Tensor<S, f32, Cuda> {
    if data.len() <= pinned::PAGEABLE_NUMBERS {
        return DEVICE.with(|d| done(d.try_tensor_from_vec(data, shape)));
    }
    let uploaded = zeros(shape);
    pinned::upload(&[(&[&data], address(&uploaded))]);
    uploaded
}

/// Uploads a parameter.
pub fn param(data: Vec<f32>) -> Param {
    let len = data.len();
    tensor(data, (len,))
}

/// Uploads rows of frames, (frames of all rows, width).
pub fn hidden(data: Vec<f32>, width: usize, spans: Spans) -> Hidden<NoneTape, Cuda> {
    Hidden {
        values: tensor(data, (spans.total(), width)),
        spans,
    }
}

/// Allocates zeros, for an op to write its result over.
pub fn zeros<S: Shape>(shape: S) -> Tensor<S, f32, Cuda> {
    DEVICE.with(|d| done(d.try_zeros_like(&shape)))
}

/// Allocates zeros in the shape of `t`.
pub fn zeros_like<S: Shape>(t: &Tensor<S, f32, Cuda>) -> Tensor<S, f32, Cuda> {
    zeros(*t.shape())
}

/// Copies the numbers to the host, after all that is queued.
pub fn read<S: Shape, T>(t: &Tensor<S, f32, Cuda, T>) -> Vec<f32> {
    if t.shape().num_elements() == 0 {
        vec![]
    } else {
        t.as_vec()
    }
}

/// Copies the numbers of each tensor to the host; synchronises once.
pub fn read_all<'a, S: Shape, T: Track<Cuda>>(
    tensors: impl IntoIterator<Item = &'a Tensor<S, f32, Cuda, T>>,
) -> Vec<Vec<f32>> {
    let tensors: Vec<_> = tensors.into_iter().map(|t| split(t.clone()).0).collect();
    // A kernel that reads four numbers at once wants an array to begin at a multiple of four.
    let spans = Spans::new(tensors.iter().map(|t| len(t).next_multiple_of(4)));
    let gathered = zeros((spans.total(),));
    for (t, span) in tensors.iter().zip(spans.iter()) {
        let to = address(&gathered) + 4 * span.start as u64;
        add(address(t), to, len(t), Mask::times(1.0));
    }
    let numbers = read(&gathered);
    tensors
        .iter()
        .zip(spans.iter())
        .map(|(t, span)| numbers[span][..len(t)].to_vec())
        .collect()
}

/// Copies the numbers of each row to frames of another width. (A reshape of dfdx compiles its kernel
/// at run time.)
///
/// The numbers of every row must be a multiple of `width`.
pub fn regrouped<T: Track<Cuda>>(x: Hidden<T, Cuda>, width: usize) -> Hidden<T, Cuda> {
    let spans = x.spans.regrouped(x.width(), width);
    let (x, tape) = split(x.values);
    let y = zeros((spans.total(), width));
    let count = len(&x);
    add(address(&x), address(&y), count, Mask::times(1.0));
    let slot = Slot::of(&x);
    record_hidden(y, spans, tape, move |dy, g| {
        add(dy, g.at(&slot), count, Mask::times(1.0));
    })
}

/// Returns a + b.
pub fn plus(a: Number<Tape<Cuda>>, b: Number<Tape<Cuda>>) -> Number<Tape<Cuda>> {
    let (a, a_tape) = split(a);
    let (b, b_tape) = split(b);
    let y = zeros(());
    for x in [&a, &b] {
        add(address(x), address(&y), 1, Mask::times(1.0));
    }
    let slots = [Slot::of(&a), Slot::of(&b)];
    record(y, merge(a_tape, b_tape), move |dy, g| {
        for slot in &slots {
            add(dy, g.at(slot), 1, Mask::times(1.0));
        }
    })
}

/// Returns factor · x.
pub fn scaled(x: Number<Tape<Cuda>>, factor: f32) -> Number<Tape<Cuda>> {
    let (x, tape) = split(x);
    let y = zeros(());
    add(address(&x), address(&y), 1, Mask::times(factor));
    let slot = Slot::of(&x);
    record(y, tape, move |dy, g| {
        add(dy, g.at(&slot), 1, Mask::times(factor));
    })
}

/// Maps `f` over 0..count in order, on the thread that owns the tensors.
pub fn alone<R>(count: usize, f: impl Fn(usize) -> R) -> Vec<R> {
    (0..count).map(f).collect()
}

/// Computes the `features` of all rows and `encode`s them, which gives a tensor for each layer.
///
/// All rows go together, since one row leaves most of a GPU idle.
pub fn by_rows(
    rows: usize,
    features: impl Fn(Range<usize>) -> Hidden<NoneTape, Cuda>,
    encode: impl Fn(Range<usize>, Hidden<NoneTape, Cuda>) -> Vec<Hidden<NoneTape, Cuda>>,
) -> Vec<Hidden<NoneTape, Cuda>> {
    encode(0..rows, features(0..rows))
}

/// Hidden states of the same rows, a tensor for each layer, whose upload may overlap with kernels.
#[derive(Clone)]
pub struct PendingUpload {
    /// Dropped before the tensors, whose memory must not be freed before the upload has ended.
    landing: Option<Landing>,
    layers: Vec<Hidden<NoneTape, Cuda>>,
}

impl PendingUpload {
    /// Wraps tensors that need no upload.
    pub fn ready(layers: Vec<Hidden<NoneTape, Cuda>>) -> PendingUpload {
        PendingUpload {
            landing: None,
            layers,
        }
    }

    /// Queues an upload of the numbers of each (layer)(row), beside the stream of kernels.
    pub fn send(layers: &[Vec<&[f32]>], width: usize, spans: Spans) -> PendingUpload {
        let tensors: Vec<_> = layers
            .iter()
            .map(|_| Hidden {
                values: zeros((spans.total(), width)),
                spans: spans.clone(),
            })
            .collect();
        let parts: Vec<_> = layers
            .iter()
            .zip(&tensors)
            .map(|(rows, to)| (&rows[..], address(&to.values)))
            .collect();
        PendingUpload {
            landing: Some(pinned::upload_async(&parts)),
            layers: tensors,
        }
    }

    /// Makes kernels that are queued from now on wait for the upload, and returns the tensors.
    pub fn wait(&self) -> &[Hidden<NoneTape, Cuda>] {
        self.landing.iter().for_each(Landing::wait);
        &self.layers
    }
}

/// Returns the address of a tensor's numbers. Every tensor of this module is contiguous.
pub fn address<S: Shape>(t: &Tensor<S, f32, Cuda>) -> Address {
    debug_number(t, 1)
}

/// Returns the number that this tensor shares with its clones alone.
pub fn id<S: Shape>(t: &Tensor<S, f32, Cuda>) -> u64 {
    debug_number(t, 0)
}

/// Returns a number of the `Debug` text of a tensor, by its place among the numbers there.
///
/// dfdx keeps the storage private, but its derived `Debug` text begins with the id and the address:
/// `Tensor { id: UniqueId(7), data: CachableCudaSlice { data: CudaSlice { cu_device_ptr: 140…, len:
/// …`. A number is a piece of its own, at which formatting stops, since every launch asks. dfdx is
/// pinned, and a test writes and reads through the address.
fn debug_number<S: Shape>(t: &Tensor<S, f32, Cuda>, place: usize) -> u64 {
    struct Numbers {
        before: usize,
        found: Option<u64>,
    }
    impl Write for Numbers {
        fn write_str(&mut self, piece: &str) -> fmt::Result {
            let Ok(number) = piece.parse() else {
                return Ok(());
            };
            if self.before == 0 {
                self.found = Some(number);
                return Err(fmt::Error);
            }
            self.before -= 1;
            Ok(())
        }
    }
    let mut numbers = Numbers {
        before: place,
        found: None,
    };
    let _ = write!(numbers, "{t:?}"); // fails where `numbers` stops it
    numbers
        .found
        .expect("dfdx 0.13 writes id and address first")
}

impl Track<Cuda> for Tape<Cuda> {
    fn replay(self, gradients: &mut Grads<Cuda>) {
        let before = std::mem::replace(gradients.0, dfdx::prelude::Gradients::leaky());
        let (nothing, into) = zeros(()).traced(before).split_tape();
        let tape = self.0.take().merge(into);
        *gradients.0 = done(nothing.put_tape(tape).try_backward());
    }
}

impl DeviceStorage for Cuda {
    type Upstream = Address;
    type Accumulator<'a> = Address;

    fn consume(gradient: Self::Vec, rule: impl FnOnce(Address)) {
        rule(*gradient.device_ptr());
    }

    fn accumulate(gradient: &mut Self::Vec) -> Address {
        *gradient.device_ptr()
    }

    fn placeholder() -> Result<Self::Vec, Self::Err> {
        DEVICE.with(|d| Storage::<f32>::try_alloc_len(*d, 1))
    }
}

impl Grads<'_, Cuda> {
    /// Opens the gradient of `t`, as [`Grads::of`].
    pub fn to<S: Shape>(&mut self, t: &Tensor<S, f32, Cuda>) -> Address {
        self.of(t)
    }
}

pub type Slot = super::Slot<Cuda>;

impl Gradients<Cuda> {
    /// Takes out the gradient of `t`, or zeros if no gradient reached it.
    pub fn of<S: Shape>(&mut self, t: &Tensor<S, f32, Cuda>) -> Tensor<S, f32, Cuda> {
        done(self.0.try_alloc_for(t));
        let gradient = self.0.get(t);
        *done(self.0.get_or_alloc_mut(t)) = done(Cuda::placeholder());
        gradient
    }
}

/// Computes the gradients of scale · loss with respect to all that is on its tape.
pub fn backward(loss: Number<Tape<Cuda>>, scale: f32) -> Gradients<Cuda> {
    let (loss, tape) = scaled(loss, scale).split_tape();
    let owned = std::mem::take(&mut *tape.0.borrow_mut());
    Gradients(done(loss.put_tape(owned).try_backward()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::grid::for_each;
    use crate::cuda::kernels::{self, Pack};
    use crate::op::check::noise;

    #[test]
    fn a_tensor_holds_what_is_written_at_its_address() {
        let from = tensor(noise("x", 15), (3, 5));
        let to = zeros((3, 5));
        kernels::add(
            Pack::of(15),
            for_each(15, 15),
            address(&from),
            address(&to),
            15,
            Mask::times(2.0),
        );
        assert_eq!(
            read(&to),
            noise("x", 15).iter().map(|x| 2.0 * x).collect::<Vec<_>>()
        );
        assert!(id(&to) == id(&to.clone()) && id(&to) != id(&from));
    }
}
