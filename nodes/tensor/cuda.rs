//! As [`super`], for tensors in the GPU's memory.
use super::{Gradients, Grads, Hidden, NoneTape, Number, Spans, Tape, Track};
use crate::cuda::gpu::{Address, done};
use crate::cuda::op;
use cudarc::driver::DevicePtr;
use dfdx::prelude::*;
use std::fmt::{self, Write};

pub use dfdx::prelude::{Cuda, Shape, Tensor};

pub type Param = super::Param<Cuda>;
pub type Vector<T = NoneTape> = super::Vector<T, Cuda>;

thread_local!(static DEVICE: Cuda = done(Cuda::try_build(0, 0)));

/// Sent to the GPU.
pub fn tensor<S: Shape>(data: Vec<f32>, shape: S) -> Tensor<S, f32, Cuda> {
    DEVICE.with(|d| done(d.try_tensor_from_vec(data, shape)))
}

pub fn param(data: Vec<f32>) -> Param {
    let len = data.len();
    tensor(data, (len,))
}

pub fn hidden(data: Vec<f32>, width: usize, spans: Spans) -> Hidden<NoneTape, Cuda> {
    Hidden { values: tensor(data, (spans.total(), width)), spans }
}

/// Zeros, for an op to write its result over.
pub fn zeros<S: Shape>(shape: S) -> Tensor<S, f32, Cuda> {
    DEVICE.with(|d| done(d.try_zeros_like(&shape)))
}

/// How many numbers it has.
pub fn len<S: Shape>(t: &Tensor<S, f32, Cuda>) -> usize {
    t.shape().num_elements()
}

/// As [`zeros`], of the shape of `t`.
pub fn zeros_like<S: Shape>(t: &Tensor<S, f32, Cuda>) -> Tensor<S, f32, Cuda> {
    zeros(*t.shape())
}

/// A copy of the numbers; waits for them.
pub fn read<S: Shape, T>(t: &Tensor<S, f32, Cuda, T>) -> Vec<f32> {
    if t.shape().num_elements() == 0 { vec![] } else { t.as_vec() }
}

/// Where a tensor's numbers lie. Only contiguous tensors are made here.
///
/// dfdx keeps the storage to itself, but what `Debug` derives begins with its address: `Tensor { id: UniqueId(7), data:
/// CachableCudaSlice { data: CudaSlice { cu_device_ptr: 140…, len: …`. The formatting is stopped there; dfdx is pinned,
/// and a test writes and reads through the address.
pub fn address<S: Shape>(t: &Tensor<S, f32, Cuda>) -> Address {
    struct Find(String);
    impl Write for Find {
        fn write_str(&mut self, piece: &str) -> fmt::Result {
            let found = piece.starts_with(',') && self.0.contains("cu_device_ptr: ");
            self.0.push_str(if found { "" } else { piece });
            if found { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut find = Find(String::with_capacity(128));
    let _ = write!(find, "{t:?}"); // the error is our own
    let digits = find.0.rsplit(' ').next().and_then(|digits| digits.parse().ok());
    digits.expect("dfdx 0.13 says first where a tensor lies")
}

impl Track<Cuda> for NoneTape {
    fn replay(self, _: &mut Grads<Cuda>) {}
}

impl Track<Cuda> for Tape<Cuda> {
    fn replay(self, gradients: &mut Grads<Cuda>) {
        let before = std::mem::replace(gradients.0, dfdx::prelude::Gradients::leaky());
        let (nothing, into) = zeros(()).traced(before).split_tape();
        *gradients.0 = nothing.put_tape(self.0.take().merge(into)).backward();
    }
}

impl Grads<'_, Cuda> {
    /// Where the gradient of `t` lies, to add to; zeros at first.
    pub fn to<S: Shape>(&mut self, t: &Tensor<S, f32, Cuda>) -> Address {
        *done(self.0.get_or_alloc_mut(t)).device_ptr()
    }
    /// As [`Grads::to`].
    pub fn at(&mut self, slot: &Slot) -> Address {
        (slot.0)(self.0)
    }
}

/// Where the gradient of a tensor goes, for a rule that needs none of its numbers.
pub struct Slot(Box<SlotOf>);
type SlotOf = dyn Fn(&mut dfdx::prelude::Gradients<f32, Cuda>) -> Address;

impl Slot {
    pub fn of<S: Shape>(t: &Tensor<S, f32, Cuda>) -> Slot {
        let ghost = t.ghost();
        Slot(Box::new(move |g| *done(g.get_or_alloc_mut(&ghost)).device_ptr()))
    }
}

impl Gradients<Cuda> {
    /// The gradient of `t`; zeros if nothing reached it.
    pub fn read<S: Shape>(&mut self, t: &Tensor<S, f32, Cuda>) -> Vec<f32> {
        done(self.0.try_alloc_for(t));
        read(&self.0.get(t))
    }
}

/// The result of an op: `y` on `tape`, with the rule that adds to the gradients of its inputs. The rule is given where the
/// gradient of `y` lies, which is freed with it; without a tape it is dropped at once.
pub fn record<S: Shape, T: Track<Cuda>>(
    y: Tensor<S, f32, Cuda>,
    mut tape: T,
    backward: impl FnOnce(Address, &mut Grads<Cuda>) + 'static,
) -> Tensor<S, f32, Cuda, T> {
    let ghost = y.ghost();
    tape.add_backward_op(move |g| {
        let nothing = Storage::<f32>::try_alloc_len(&DEVICE.with(Clone::clone), 1)?;
        let dy = std::mem::replace(g.get_or_alloc_mut(&ghost)?, nothing);
        backward(*dy.device_ptr(), &mut Grads(g));
        Ok(())
    });
    y.put_tape(tape)
}

/// As [`record`], for a result that has frames.
pub fn record_hidden<T: Track<Cuda>>(
    y: super::Matrix<NoneTape, Cuda>,
    spans: Spans,
    tape: T,
    backward: impl FnOnce(Address, &mut Grads<Cuda>) + 'static,
) -> Hidden<T, Cuda> {
    Hidden { values: record(y, tape, backward), spans }
}

/// Runs the tape backward from `loss`, times `scale`.
pub fn backward(loss: Number<Tape<Cuda>, Cuda>, scale: f32) -> Gradients<Cuda> {
    let (loss, tape) = op::scaled(loss, scale).split_tape();
    let owned = std::mem::take(&mut *tape.0.borrow_mut());
    Gradients(loss.put_tape(owned).backward())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::gpu::{for_each, kernel, launch};
    use crate::op::check::noise;

    #[test]
    fn what_is_written_at_the_address_is_what_the_tensor_holds() {
        let (from, to) = (tensor(noise("x", 15), (3, 5)), zeros((3, 5)));
        launch!(kernel("add", 15), for_each(15, 15), address(&from), address(&to), 15usize, op::Mask::times(2.0));
        assert_eq!(read(&to), noise("x", 15).iter().map(|x| 2.0 * x).collect::<Vec<_>>());
    }
}
