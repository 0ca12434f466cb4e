//! The only border with dfdx: its generics, its tape and its storage are named here and nowhere else.
//!
//! Rows of a batch stand one behind the other without padding ([`Spans`]), so no op ever sees a padded frame.
use dfdx::prelude::*;
use std::{cell::RefCell, ops::Range, rc::Rc, sync::Arc};

#[cfg(feature = "cuda")]
pub mod cuda;

pub use dfdx::prelude::{Merge, NoneTape, Storage, Tape as Taped};

pub type Device = Cpu;
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

impl<T> Hidden<T> {
    /// The numbers, where they lie: (frames of all rows, width), row-major.
    pub fn read(&self) -> &[f32] {
        read(&self.values)
    }
}

impl Hidden {
    pub fn new(values: Vec<f32>, width: usize, spans: Spans) -> Self {
        Hidden { values: tensor(values, (spans.total(), width)), spans }
    }
}

impl<D: Storage<f32>> Hidden<NoneTape, D> {
    pub fn on<T: Track<D>>(&self, tape: &T) -> Hidden<T, D> {
        Hidden { values: put(&self.values, tape), spans: self.spans.clone() }
    }
}

impl<T: Track<D>, D: Storage<f32>> Hidden<T, D> {
    pub fn split(self) -> (Hidden<NoneTape, D>, T) {
        let (values, tape) = self.values.split_tape();
        (Hidden { values, spans: self.spans }, tape)
    }
}

/// What an op may be recorded on: [`Tape`] for what is trained, [`NoneTape`] for what is frozen.
pub trait Track<D: Storage<f32> = Device>: Taped<f32, D> + Merge<Self> + Clone + 'static {
    /// Runs the ops of this tape backward, into these gradients.
    fn replay(self, gradients: &mut Grads<D>);
}

impl Track for NoneTape {
    fn replay(self, _: &mut Grads) {}
}

impl Track for Tape {
    fn replay(self, gradients: &mut Grads) {
        let before = std::mem::replace(gradients.0, dfdx::prelude::Gradients::leaky());
        let (nothing, into) = tensor(vec![0.0], ()).traced(before).split_tape();
        *gradients.0 = nothing.put_tape(self.0.take().merge(into)).backward();
    }
}

/// One tape shared by all tensors of a stage. `Rc` keeps the stage in one thread.
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

/// The tape of two operands.
pub fn merge<T: Track<D>, D: Storage<f32>>(a: T, b: T) -> T {
    Merge::<T>::merge(a, b)
}

thread_local!(static DEVICE: Device = Device::default());

/// Takes the Vec, copies nothing.
pub fn tensor<S: Shape>(data: Vec<f32>, shape: S) -> Tensor<S, f32, Device> {
    DEVICE.with(|d| d.tensor_from_vec(data, shape))
}

pub fn param(data: Vec<f32>) -> Param {
    let len = data.len();
    tensor(data, (len,))
}

pub fn put<S: Shape, T: Track<D>, D: Storage<f32>>(t: &Tensor<S, f32, D>, tape: &T) -> Tensor<S, f32, D, T> {
    t.clone().put_tape(tape.clone())
}

pub fn split<S: Shape, T: Track<D>, D: Storage<f32>>(t: Tensor<S, f32, D, T>) -> (Tensor<S, f32, D>, T) {
    t.split_tape()
}

/// The numbers of a contiguous tensor, where they lie.
pub fn read<S: Shape, T>(t: &Tensor<S, f32, Device, T>) -> &[f32] {
    let len = t.shape().num_elements();
    if len == 0 {
        return &[];
    }
    let (shape, first) = (t.shape().concrete(), &t[S::Concrete::default()] as *const f32);
    let mut stride = 1;
    for axis in (0..S::NUM_DIMS).rev().filter(|&a| shape[a] > 1) {
        let mut one = S::Concrete::default();
        one[axis] = 1;
        assert!(std::ptr::eq(&t[one], first.wrapping_add(stride)), "a tensor that is not contiguous");
        stride *= shape[axis];
    }
    // SAFETY: the strides just checked are those of a contiguous array, whose `len` elements begin at `first`.
    unsafe { std::slice::from_raw_parts(first, len) }
}

/// As [`read`], to change in place; copies first if someone else holds the tensor.
pub fn write<S: Shape>(t: &mut Tensor<S, f32, Device>) -> &mut [f32] {
    let len = read(t).len();
    if len == 0 {
        return &mut [];
    }
    // SAFETY: `read` has checked that the elements are contiguous; the borrow of `t` is exclusive.
    unsafe { std::slice::from_raw_parts_mut(&mut t[S::Concrete::default()], len) }
}

/// Gradients during and after the backward pass.
pub struct Gradients<D: Storage<f32> = Device>(dfdx::prelude::Gradients<f32, D>);

/// Gradients as an op's rule sees them.
pub struct Grads<'a, D: Storage<f32> = Device>(&'a mut dfdx::prelude::Gradients<f32, D>);

impl Grads<'_> {
    /// The gradient of `t`, to add to; zeros at first.
    pub fn of<S: Shape>(&mut self, t: &Tensor<S, f32, Device>) -> &mut Vec<f32> {
        self.0.get_or_alloc_mut(t).expect("memory for a gradient")
    }
    /// As [`Grads::of`].
    pub fn at(&mut self, slot: &Slot) -> &mut Vec<f32> {
        (slot.0)(self.0)
    }
    /// Takes it out, where an op needs several at once; give it back with `*g.of(t) = ..`.
    pub fn take<S: Shape>(&mut self, t: &Tensor<S, f32, Device>) -> Vec<f32> {
        std::mem::take(self.of(t))
    }
}

impl Gradients {
    /// The gradient of `t`, taken out; zeros if nothing reached it.
    pub fn take<S: Shape>(&mut self, t: &Tensor<S, f32, Device>) -> Vec<f32> {
        Grads(&mut self.0).take(t)
    }
}

/// Where the gradient of a tensor goes, for a rule that needs none of its numbers.
pub struct Slot(Box<SlotOf>);
type SlotOf = dyn for<'a> Fn(&'a mut dfdx::prelude::Gradients<f32, Device>) -> &'a mut Vec<f32>;

impl Slot {
    pub fn of<S: Shape>(t: &Tensor<S, f32, Device>) -> Slot {
        let ghost = t.ghost();
        Slot(Box::new(move |g| g.get_or_alloc_mut(&ghost).expect("memory for a gradient")))
    }
}

/// The result of an op: `y` on `tape`, with the rule that turns the gradient of `y` into those of its inputs.
/// The gradient of `y` is handed over and so freed with the rule; without a tape the rule is dropped at once.
pub fn record<S: Shape, T: Track>(
    y: Vec<f32>,
    shape: S,
    tape: T,
    backward: impl FnOnce(Vec<f32>, &mut Grads) + 'static,
) -> Tensor<S, f32, Device, T> {
    recorded(tensor(y, shape), tape, backward)
}

fn recorded<S: Shape, T: Track>(
    y: Tensor<S, f32, Device>,
    mut tape: T,
    backward: impl FnOnce(Vec<f32>, &mut Grads) + 'static,
) -> Tensor<S, f32, Device, T> {
    let ghost = y.ghost();
    tape.add_backward_op(move |g| {
        let dy = std::mem::take::<Vec<f32>>(g.get_or_alloc_mut(&ghost)?);
        backward(dy, &mut Grads(g));
        Ok(())
    });
    y.put_tape(tape)
}

/// As [`record`], for a result that has frames.
pub fn record_hidden<T: Track>(
    y: Vec<f32>,
    width: usize,
    spans: Spans,
    tape: T,
    backward: impl FnOnce(Vec<f32>, &mut Grads) + 'static,
) -> Hidden<T> {
    Hidden { values: record(y, (spans.total(), width), tape, backward), spans }
}

/// The result of `f`, which computes it on the tape it is given. What `f` keeps for its rules is dropped; the backward
/// pass runs `f` once more, on a tape of its own, and then that tape.
pub fn recomputed<T: Track>(tape: T, f: impl Fn(T) -> Hidden<T> + 'static) -> Hidden<T> {
    if !T::OWNS_TAPE {
        return f(tape);
    }
    let (Hidden { values, spans }, _) = f(T::default()).split();
    let again = move |dy, g: &mut Grads| {
        let (y, tape) = f(T::default()).split();
        *g.of(&y.values) = dy;
        tape.replay(g);
    };
    Hidden { values: recorded(values, tape, again), spans }
}

/// Runs the tape backward from `loss`, times `scale`.
pub fn backward(loss: Number<Tape>, scale: f32) -> Gradients {
    let (loss, tape) = (loss * scale).split_tape();
    let owned = std::mem::take(&mut *tape.0.borrow_mut());
    Gradients(loss.put_tape(owned).backward())
}
