//! Tensors in a GPU's memory: numbers are sent there and copied back, and rules are told where they lie.
use super::{
    DeviceStorage, Gradients, Grads, Hidden, NoneTape, Number, Spans, Tape, Track, merge, split,
};
use crate::cuda::elementwise::add;
use crate::cuda::gpu::{Address, done, ordinal};
use crate::cuda::mask::Mask;
use crate::cuda::pinned;
use crate::cuda::pinned::Landing;
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

thread_local! {
    // Leaked: a cuBLAS handle cannot be destroyed while the process ends.
    static DEVICE: &'static Cuda = Box::leak(Box::new(done(Cuda::try_build(ordinal(), 0))));
}

/// Sent to the GPU, in the order of all else; what is large from pinned memory, or whoever sends it would wait until the GPU
/// has done what was queued before.
pub fn tensor<S: Shape>(data: Vec<f32>, shape: S) -> Tensor<S, f32, Cuda> {
    if data.len() <= pinned::PAGEABLE_NUMBERS {
        return DEVICE.with(|d| done(d.try_tensor_from_vec(data, shape)));
    }
    let to = zeros(shape);
    pinned::upload(&[(&[&data], address(&to))]);
    to
}

pub fn param(data: Vec<f32>) -> Param {
    let len = data.len();
    tensor(data, (len,))
}

pub fn hidden(data: Vec<f32>, width: usize, spans: Spans) -> Hidden<NoneTape, Cuda> {
    Hidden {
        values: tensor(data, (spans.total(), width)),
        spans,
    }
}

/// Zeros, for an op to write its result over.
pub fn zeros<S: Shape>(shape: S) -> Tensor<S, f32, Cuda> {
    DEVICE.with(|d| done(d.try_zeros_like(&shape)))
}

/// As [`zeros`], of the shape of `t`.
pub fn zeros_like<S: Shape>(t: &Tensor<S, f32, Cuda>) -> Tensor<S, f32, Cuda> {
    zeros(*t.shape())
}

/// A copy of the numbers; waits for them.
pub fn read<S: Shape, T>(t: &Tensor<S, f32, Cuda, T>) -> Vec<f32> {
    if t.shape().num_elements() == 0 {
        vec![]
    } else {
        t.as_vec()
    }
}

/// A copy of the numbers of each of them; waits once.
pub fn read_all<'a, S: Shape, T: Track<Cuda>>(
    of: impl IntoIterator<Item = &'a Tensor<S, f32, Cuda, T>>,
) -> Vec<Vec<f32>> {
    let of: Vec<_> = of.into_iter().map(|t| split(t.clone()).0).collect();
    // Kernels want numbers of which they read four at once to begin at a multiple of four.
    let spans = Spans::new(of.iter().map(|t| len(t).next_multiple_of(4)));
    let all = zeros((spans.total(),));
    for (t, at) in of.iter().zip(spans.iter()) {
        add(
            address(t),
            address(&all) + 4 * at.start as u64,
            len(t),
            Mask::times(1.0),
        );
    }
    let all = read(&all);
    of.iter()
        .zip(spans.iter())
        .map(|(t, at)| all[at][..len(t)].to_vec())
        .collect()
}

/// a + b
pub fn plus(a: Number<Tape<Cuda>, Cuda>, b: Number<Tape<Cuda>, Cuda>) -> Number<Tape<Cuda>, Cuda> {
    let ((a, tape), (b, other), y) = (split(a), split(b), zeros(()));
    for x in [&a, &b] {
        add(address(x), address(&y), 1, Mask::times(1.0));
    }
    let both = [a, b].map(|x| Slot::of(&x));
    record(y, merge(tape, other), move |dy, g| {
        both.iter()
            .for_each(|x| add(dy, g.at(x), 1, Mask::times(1.0)))
    })
}

/// factor · x
pub fn scaled(x: Number<Tape<Cuda>, Cuda>, factor: f32) -> Number<Tape<Cuda>, Cuda> {
    let (x, tape) = split(x);
    let y = zeros(());
    add(address(&x), address(&y), 1, Mask::times(factor));
    let x = Slot::of(&x);
    record(y, tape, move |dy, g| {
        add(dy, g.at(&x), 1, Mask::times(factor))
    })
}

/// What `f` makes of each of so many things, one after the other.
pub fn alone<R>(count: usize, f: impl Fn(usize) -> R) -> Vec<R> {
    (0..count).map(f).collect()
}

/// What `encode` makes of the `features` of a batch: a tensor a layer. All rows together, since one row keeps a large
/// GPU idle.
pub fn by_rows(
    rows: usize,
    features: impl Fn(Range<usize>) -> Hidden<NoneTape, Cuda>,
    encode: impl Fn(Range<usize>, Hidden<NoneTape, Cuda>) -> Vec<Hidden<NoneTape, Cuda>>,
) -> Vec<Hidden<NoneTape, Cuda>> {
    encode(0..rows, features(0..rows))
}

/// Hidden states of the same rows, a tensor a layer, that may be on their way to the GPU, beside what it computes.
#[derive(Clone)]
pub struct PendingUpload {
    /// Goes before the tensors, whose memory is not free until what is sent there has landed.
    landing: Option<Landing>,
    layers: Vec<Hidden<NoneTape, Cuda>>,
}

impl PendingUpload {
    /// What was computed here.
    pub fn here(layers: Vec<Hidden<NoneTape, Cuda>>) -> PendingUpload {
        PendingUpload {
            landing: None,
            layers,
        }
    }
    /// Of the numbers of each (layer)(row).
    pub fn send(layers: &[Vec<&[f32]>], width: usize, spans: Spans) -> PendingUpload {
        let own = |_| Hidden {
            values: zeros((spans.total(), width)),
            spans: spans.clone(),
        };
        let tensors: Vec<_> = layers.iter().map(own).collect();
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
    /// To be read by what is queued from now on.
    pub fn wait(&self) -> &[Hidden<NoneTape, Cuda>] {
        self.landing.iter().for_each(Landing::wait);
        &self.layers
    }
}

/// Where a tensor's numbers lie. Only contiguous tensors are made here.
pub fn address<S: Shape>(t: &Tensor<S, f32, Cuda>) -> Address {
    told(t, "cu_device_ptr: ")
}

/// What no other tensor is called by, but for the clones of this one.
pub fn id<S: Shape>(t: &Tensor<S, f32, Cuda>) -> u64 {
    told(t, "id: UniqueId(")
}

/// The number behind `label` in what a tensor says of itself.
///
/// dfdx keeps the storage to itself, but what `Debug` derives begins with its address: `Tensor { id: UniqueId(7), data:
/// CachableCudaSlice { data: CudaSlice { cu_device_ptr: 140…, len: …`. The formatting is stopped there; dfdx is pinned,
/// and a test writes and reads through the address.
fn told<S: Shape>(t: &Tensor<S, f32, Cuda>, label: &'static str) -> u64 {
    struct Find(String, &'static str);
    impl Write for Find {
        fn write_str(&mut self, piece: &str) -> fmt::Result {
            let found = piece.starts_with(',') && self.0.contains(self.1);
            self.0.push_str(if found { "" } else { piece });
            if found { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut find = Find(String::with_capacity(128), label);
    let _ = write!(find, "{t:?}"); // the error is our own
    let digits = find
        .0
        .rsplit([' ', '('])
        .next()
        .and_then(|digits| digits.trim_end_matches(')').parse().ok());
    digits.expect("dfdx 0.13 says first which tensor it is, and where it lies")
}

impl Track<Cuda> for Tape<Cuda> {
    fn replay(self, gradients: &mut Grads<Cuda>) {
        let before = std::mem::replace(gradients.0, dfdx::prelude::Gradients::leaky());
        let (nothing, into) = zeros(()).traced(before).split_tape();
        *gradients.0 = nothing.put_tape(self.0.take().merge(into)).backward();
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
    /// Returns where the gradient of `t` lies, to add to; it begins as zeros.
    pub fn to<S: Shape>(&mut self, t: &Tensor<S, f32, Cuda>) -> Address {
        self.of(t)
    }
}

pub type Slot = super::Slot<Cuda>;

impl Gradients<Cuda> {
    /// The gradient of `t`, taken out; zeros if nothing reached it.
    pub fn of<S: Shape>(&mut self, t: &Tensor<S, f32, Cuda>) -> Tensor<S, f32, Cuda> {
        done(self.0.try_alloc_for(t));
        let own = self.0.get(t);
        *done(self.0.get_or_alloc_mut(t)) = done(Cuda::placeholder());
        own
    }
}

/// Runs the tape backward from `loss`, times `scale`.
pub fn backward(loss: Number<Tape<Cuda>, Cuda>, scale: f32) -> Gradients<Cuda> {
    let (loss, tape) = scaled(loss, scale).split_tape();
    let owned = std::mem::take(&mut *tape.0.borrow_mut());
    Gradients(loss.put_tape(owned).backward())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::gpu::for_each;
    use crate::cuda::kernels::{self, Pack};
    use crate::op::check::noise;

    #[test]
    fn what_is_written_at_the_address_is_what_the_tensor_holds() {
        let (from, to) = (tensor(noise("x", 15), (3, 5)), zeros((3, 5)));
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
