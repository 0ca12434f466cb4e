//! The only border with dfdx: its generics, its tape and its storage are named here and nowhere
//! else.
//!
//! Types, tape and recording are written once for any [`DeviceStorage`]. How a device makes, reads
//! and frees tensors stands in [`cpu`] and, under the same names, in `cuda`. A build has one
//! [`Device`] and re-exports that half, so models and losses name no device.
//!
//! Rows of a batch lie one behind the other without padding ([`Spans`]), so no op ever computes a
//! padded frame.
use dfdx::prelude::{HasShape, OwnedTape, PutTape, Rank0, SplitTape};
use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
pub(crate) mod spans;

#[cfg(not(feature = "cuda"))]
use cpu as auto;
#[cfg(feature = "cuda")]
use cuda as auto;

pub use auto::{
    Device, PendingUpload, alone, backward, by_rows, hidden, param, plus, read_all, regrouped,
    scaled, tensor,
};
pub use dfdx::prelude::{Merge, NoneTape, Shape, Storage, Tape as Taped, Tensor};
pub use spans::Spans;

/// Whether this build's tensors live in a GPU's memory, apart from the host's.
pub const ON_GPU: bool = cfg!(feature = "cuda");

/// A tensor of (frames of all rows, width).
pub type Matrix<T = NoneTape, D = Device> = Tensor<(usize, usize), f32, D, T>;
/// A tensor of one axis.
pub type Vector<T = NoneTape, D = Device> = Tensor<(usize,), f32, D, T>;
/// A tensor of one number.
pub type Number<T = NoneTape, D = Device> = Tensor<Rank0, f32, D, T>;
/// A parameter, flat: the op that uses it knows its shape.
pub type Param<D = Device> = Vector<NoneTape, D>;

/// A sequence of frames for each row of a batch: samples, features, a layer's output.
#[derive(Clone)]
pub struct Hidden<T = NoneTape, D: Storage<f32> = Device> {
    pub values: Matrix<T, D>,
    pub spans: Spans,
}

impl<T, D: Storage<f32>> Hidden<T, D> {
    /// Returns the numbers of a frame.
    pub fn width(&self) -> usize {
        self.values.shape().1
    }
}

impl<D: Storage<f32>> Hidden<NoneTape, D> {
    /// Puts a constant on `tape`, so that gradients reach it.
    pub fn on<T: Track<D>>(&self, tape: &T) -> Hidden<T, D> {
        Hidden {
            values: put(&self.values, tape),
            spans: self.spans.clone(),
        }
    }
}

impl<T: Track<D>, D: Storage<f32>> Hidden<T, D> {
    /// Separates the values from their tape.
    pub fn split(self) -> (Hidden<NoneTape, D>, T) {
        let (values, tape) = self.values.split_tape();
        (
            Hidden {
                values,
                spans: self.spans,
            },
            tape,
        )
    }
}

/// What tensors and tape need of a device.
pub trait DeviceStorage: Storage<f32> {
    /// The gradient of an op's result as its backward rule receives it: owned numbers on the CPU,
    /// on a GPU an address that is valid until the rule returns.
    type Upstream;
    /// The gradient of an op's input as its backward rule adds to it.
    type Accumulator<'a>;

    /// Hands a gradient over to a backward rule and frees it when the rule returns.
    fn consume(gradient: Self::Vec, rule: impl FnOnce(Self::Upstream));
    /// Opens a gradient for accumulation.
    fn accumulate(gradient: &mut Self::Vec) -> Self::Accumulator<'_>;
    /// Allocates as little as possible, to stand in place of a gradient that was taken out.
    fn placeholder() -> Result<Self::Vec, Self::Err>;
}

/// A tape that ops may be recorded on: [`Tape`] for what is trained, [`NoneTape`] for what is
/// frozen.
pub trait Track<D: Storage<f32> = Device>: Taped<f32, D> + Merge<Self> + Clone + 'static {
    /// Runs the ops of this tape backward and adds to these gradients.
    fn replay(self, gradients: &mut Grads<D>);
}

impl<D: Storage<f32>> Track<D> for NoneTape {
    fn replay(self, _: &mut Grads<D>) {}
}

/// One tape shared by all tensors of a stage. Its `Rc` keeps the stage in one thread.
#[derive(Clone, Default)]
pub struct Tape<D: Storage<f32> = Device>(Rc<RefCell<OwnedTape<f32, D>>>);

impl<D: Storage<f32>> Taped<f32, D> for Tape<D>
where
    Self: Default,
{
    const OWNS_TAPE: bool = true;
    fn add_backward_op<F>(&mut self, operation: F)
    where
        F: 'static + FnOnce(&mut dfdx::prelude::Gradients<f32, D>) -> Result<(), D::Err>,
    {
        self.0.borrow_mut().add_backward_op(operation)
    }
}

impl<D: Storage<f32>> Merge<NoneTape> for Tape<D> {
    fn merge(self, _: NoneTape) -> Self {
        self
    }
}

impl<D: Storage<f32>> Merge<Tape<D>> for Tape<D> {
    fn merge(self, other: Self) -> Self {
        assert!(Rc::ptr_eq(&self.0, &other.0), "two tapes in one stage");
        self
    }
}

/// Joins the tapes of two operands.
pub fn merge<T: Track<D>, D: Storage<f32>>(a: T, b: T) -> T {
    Merge::<T>::merge(a, b)
}

/// Puts a tensor on `tape`, so that gradients reach it.
pub fn put<S: Shape, T: Track<D>, D: Storage<f32>>(
    t: &Tensor<S, f32, D>,
    tape: &T,
) -> Tensor<S, f32, D, T> {
    t.clone().put_tape(tape.clone())
}

/// Separates a tensor from its tape.
pub fn split<S: Shape, T: Track<D>, D: Storage<f32>>(
    t: Tensor<S, f32, D, T>,
) -> (Tensor<S, f32, D>, T) {
    t.split_tape()
}

/// Returns how many numbers a tensor has.
pub fn len<S: Shape, T, D: Storage<f32>>(t: &Tensor<S, f32, D, T>) -> usize {
    t.shape().num_elements()
}

/// Returns frames and width of a matrix.
pub fn dimensions<T, D: Storage<f32>>(x: &Matrix<T, D>) -> (usize, usize) {
    *x.shape()
}

/// Reads a tensor: in place on the CPU, as a copy from a GPU, which is synchronised for it.
pub fn read<S: Shape, T>(t: &Tensor<S, f32, Device, T>) -> Cow<'_, [f32]> {
    auto::read(t).into()
}

/// Gradients after the backward pass.
pub struct Gradients<D: Storage<f32> = Device>(dfdx::prelude::Gradients<f32, D>);

/// Gradients during the backward pass, as an op's rule sees them.
pub struct Grads<'a, D: Storage<f32> = Device>(&'a mut dfdx::prelude::Gradients<f32, D>);

impl<D: DeviceStorage> Grads<'_, D> {
    /// Opens the gradient of `t` to add to it; it begins as zeros.
    pub fn of<S: Shape>(&mut self, t: &Tensor<S, f32, D>) -> D::Accumulator<'_> {
        D::accumulate(expect_memory(self.0.get_or_alloc_mut(t)))
    }

    /// Opens the gradient behind a slot, as [`Grads::of`].
    pub fn at(&mut self, slot: &Slot<D>) -> D::Accumulator<'_> {
        D::accumulate((slot.0)(self.0))
    }
}

/// Names the gradient of a tensor without keeping its numbers alive.
pub struct Slot<D: DeviceStorage = Device>(Box<OpenSlot<D>>);
type OpenSlot<D> =
    dyn for<'a> Fn(&'a mut dfdx::prelude::Gradients<f32, D>) -> &'a mut <D as Storage<f32>>::Vec;

impl<D: DeviceStorage> Slot<D> {
    pub fn of<S: Shape>(t: &Tensor<S, f32, D>) -> Self {
        let ghost = t.ghost();
        Slot(Box::new(move |g| expect_memory(g.get_or_alloc_mut(&ghost))))
    }
}

/// Unwraps an allocation of a gradient. An op cannot go on without it: its node ends and says why.
fn expect_memory<T, E: std::fmt::Debug>(allocated: Result<T, E>) -> T {
    allocated.unwrap_or_else(|e| match format!("{e:?}") {
        e if e.contains("OUT_OF_MEMORY") => {
            panic!("the GPU's memory is full: smaller batches need less")
        }
        e => panic!("no memory for a gradient: {e}"),
    })
}

/// Records an op: puts its result `y` on `tape` with the rule that adds to its inputs' gradients.
///
/// The rule consumes the gradient of `y`, whose memory is freed with it. Without a tape the rule,
/// and all that it keeps, is dropped at once.
pub fn record<S: Shape, T: Track<D>, D: DeviceStorage>(
    y: Tensor<S, f32, D>,
    tape: T,
    backward: impl FnOnce(D::Upstream, &mut Grads<D>) + 'static,
) -> Tensor<S, f32, D, T> {
    record_storage(y, tape, |gradient, g| {
        D::consume(gradient, |dy| backward(dy, g))
    })
}

/// Records an op whose result has frames, as [`record`].
pub fn record_hidden<T: Track<D>, D: DeviceStorage>(
    y: Matrix<NoneTape, D>,
    spans: Spans,
    tape: T,
    backward: impl FnOnce(D::Upstream, &mut Grads<D>) + 'static,
) -> Hidden<T, D> {
    Hidden {
        values: record(y, tape, backward),
        spans,
    }
}

fn record_storage<S: Shape, T: Track<D>, D: DeviceStorage>(
    y: Tensor<S, f32, D>,
    mut tape: T,
    backward: impl FnOnce(D::Vec, &mut Grads<D>) + 'static,
) -> Tensor<S, f32, D, T> {
    if len(&y) == 0 {
        // An empty result has no gradient, and so no product has to be one over no frames.
        return y.put_tape(tape);
    }
    let ghost = y.ghost();
    tape.add_backward_op(move |g| {
        let gradient = std::mem::replace(g.get_or_alloc_mut(&ghost)?, D::placeholder()?);
        backward(gradient, &mut Grads(g));
        Ok(())
    });
    y.put_tape(tape)
}

/// Computes `f` now, keeps nothing of it, and computes it once more for its gradients.
///
/// The backward pass runs `f` on a tape of its own and then that tape (gradient checkpointing).
pub fn recomputed<T: Track<D>, D: DeviceStorage>(
    tape: T,
    f: impl Fn(T) -> Hidden<T, D> + 'static,
) -> Hidden<T, D> {
    if !T::OWNS_TAPE {
        return f(tape);
    }
    let (y, _) = f(T::default()).split();
    let rule = move |gradient, g: &mut Grads<D>| {
        let (again, tape) = f(T::default()).split();
        *expect_memory(g.0.get_or_alloc_mut(&again.values)) = gradient;
        tape.replay(g);
    };
    Hidden {
        values: record_storage(y.values, tape, rule),
        spans: y.spans,
    }
}
