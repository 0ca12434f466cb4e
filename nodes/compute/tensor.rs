//! The only border with dfdx: its generics, its tape and its storage are named here and nowhere else.
//!
//! What tensors are stands here, for any device; how they are made, read and recorded, in [`cpu`] and, with the same
//! names, in `cuda`. A build has one [`Device`], and re-exports that device's half: nodes, models and losses are written
//! once, against `crate::tensor` and `crate::op`. The ops are each device's own, against `tensor::cpu` or `tensor::cuda`.
//!
//! Rows of a batch stand one behind the other without padding ([`Spans`]), so no op ever sees a padded frame.
use dfdx::prelude::*;
use std::{borrow::Cow, cell::RefCell, ops::Range, rc::Rc, sync::Arc};

pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;

#[cfg(not(feature = "cuda"))]
use cpu as here;
#[cfg(feature = "cuda")]
use cuda as here;

pub use dfdx::prelude::{Merge, NoneTape, Shape, Storage, Tape as Taped, Tensor};
pub use here::{
    Device, PendingUpload, alone, backward, by_rows, hidden, param, plus, read_all, scaled, tensor,
};

/// Whether tensors lie in a GPU's memory, apart from the host's.
pub const ON_GPU: bool = cfg!(feature = "cuda");

/// (frames of all rows, width).
pub type Matrix<T = NoneTape, D = Device> = Tensor<(usize, usize), f32, D, T>;
/// One number a unit.
pub type Vector<T = NoneTape, D = Device> = Tensor<(usize,), f32, D, T>;
/// One number.
pub type Number<T = NoneTape, D = Device> = Tensor<Rank0, f32, D, T>;
/// A parameter, flat; whoever uses it knows its shape.
pub type Param<D = Device> = Vector<NoneTape, D>;

/// Where each row of a batch begins: frames of row `i` are `spans.of(i)`. A row may have no frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spans(Arc<[usize]>);

impl Spans {
    pub fn new(lengths: impl IntoIterator<Item = usize>) -> Self {
        let mut starts = vec![0];
        for length in lengths {
            starts.push(starts[starts.len() - 1] + length);
        }
        Spans(starts.into())
    }
    pub fn rows(&self) -> usize {
        self.0.len() - 1
    }
    /// Frames of all rows.
    pub fn total(&self) -> usize {
        self.0[self.rows()]
    }
    pub fn of(&self, row: usize) -> Range<usize> {
        self.0[row]..self.0[row + 1]
    }
    pub fn iter(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.0.windows(2).map(|w| w[0]..w[1])
    }
    pub fn lengths(&self) -> impl Iterator<Item = usize> + '_ {
        self.iter().map(|s| s.len())
    }
}

/// A sequence of frames for each row of a batch: samples, features of a convolution, a layer's output.
#[derive(Clone)]
pub struct Hidden<T = NoneTape, D: Storage<f32> = Device> {
    pub values: Matrix<T, D>,
    pub spans: Spans,
}

impl<T, D: Storage<f32>> Hidden<T, D> {
    pub fn width(&self) -> usize {
        self.values.shape().1
    }
}

impl<D: Storage<f32>> Hidden<NoneTape, D> {
    pub fn on<T: Track<D>>(&self, tape: &T) -> Hidden<T, D> {
        Hidden {
            values: put(&self.values, tape),
            spans: self.spans.clone(),
        }
    }
}

impl<T: Track<D>, D: Storage<f32>> Hidden<T, D> {
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

/// What an op may be recorded on: [`Tape`] for what is trained, [`NoneTape`] for what is frozen.
pub trait Track<D: Storage<f32> = Device>: Taped<f32, D> + Merge<Self> + Clone + 'static {
    /// Runs the ops of this tape backward, into these gradients.
    fn replay(self, gradients: &mut Grads<D>);
}

impl<D: Storage<f32>> Track<D> for NoneTape {
    fn replay(self, _: &mut Grads<D>) {}
}

/// One tape shared by all tensors of a stage. `Rc` keeps the stage in one thread.
#[derive(Clone, Default)]
pub struct Tape<D: Storage<f32> = Device>(Rc<RefCell<OwnedTape<f32, D>>>);

/// What the tape wants of a device.
pub trait DeviceStorage: Storage<f32> {
    /// Stands for a gradient that was taken out.
    fn nothing() -> Result<Self::Vec, Self::Err>;
}

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

/// The tape of two operands.
pub fn merge<T: Track<D>, D: Storage<f32>>(a: T, b: T) -> T {
    Merge::<T>::merge(a, b)
}

pub fn put<S: Shape, T: Track<D>, D: Storage<f32>>(
    t: &Tensor<S, f32, D>,
    tape: &T,
) -> Tensor<S, f32, D, T> {
    t.clone().put_tape(tape.clone())
}

pub fn split<S: Shape, T: Track<D>, D: Storage<f32>>(
    t: Tensor<S, f32, D, T>,
) -> (Tensor<S, f32, D>, T) {
    t.split_tape()
}

/// How many numbers it has.
pub fn len<S: Shape, T, D: Storage<f32>>(t: &Tensor<S, f32, D, T>) -> usize {
    t.shape().num_elements()
}

/// The numbers of a tensor: where they lie on the CPU, a copy of what lies on a GPU, which is waited for.
pub fn read<S: Shape, T>(t: &Tensor<S, f32, Device, T>) -> Cow<'_, [f32]> {
    here::read(t).into()
}

/// Gradients during and after the backward pass.
pub struct Gradients<D: Storage<f32> = Device>(dfdx::prelude::Gradients<f32, D>);

/// Gradients as an op's rule sees them.
pub struct Grads<'a, D: Storage<f32> = Device>(&'a mut dfdx::prelude::Gradients<f32, D>);

/// `y` on `tape`, with its rule. The gradient of `y` is handed over, and so freed with it.
fn recorded<S: Shape, T: Track<D>, D: DeviceStorage>(
    y: Tensor<S, f32, D>,
    mut tape: T,
    backward: impl FnOnce(D::Vec, &mut Grads<D>) + 'static,
) -> Tensor<S, f32, D, T> {
    if len(&y) == 0 {
        return y.put_tape(tape); // no gradient comes from nothing, and no product has to be one over no frames
    }
    let ghost = y.ghost();
    tape.add_backward_op(move |g| {
        let dy = std::mem::replace(g.get_or_alloc_mut(&ghost)?, D::nothing()?);
        backward(dy, &mut Grads(g));
        Ok(())
    });
    y.put_tape(tape)
}

/// The result of `f`, which computes it on the tape it is given. What `f` keeps for its rules is dropped; the backward
/// pass runs `f` once more, on a tape of its own, and then that tape.
pub fn recomputed<T: Track<D>, D: DeviceStorage>(
    tape: T,
    f: impl Fn(T) -> Hidden<T, D> + 'static,
) -> Hidden<T, D> {
    if !T::OWNS_TAPE {
        return f(tape);
    }
    let (Hidden { values, spans }, _) = f(T::default()).split();
    let again = move |dy, g: &mut Grads<D>| {
        let (y, tape) = f(T::default()).split();
        *g.0.get_or_alloc_mut(&y.values)
            .expect("memory for a gradient") = dy;
        tape.replay(g);
    };
    Hidden {
        values: recorded(values, tape, again),
        spans,
    }
}
