//! Tensors in the CPU's memory, read and written as slices.
use crate::parallel::{map, threads};
use dfdx::prelude::*;
use std::iter;
use std::ops::Range;

pub use super::{NoneTape, Spans, Storage, merge, put, split};
pub use dfdx::prelude::{Cpu, Shape, Tensor};

pub type Device = Cpu;
pub type Matrix<T = NoneTape> = super::Matrix<T, Cpu>;
pub type Vector<T = NoneTape> = super::Vector<T, Cpu>;
pub type Number<T = NoneTape> = super::Number<T, Cpu>;
pub type Param = super::Param<Cpu>;
pub type Hidden<T = NoneTape> = super::Hidden<T, Cpu>;
pub type Tape = super::Tape<Cpu>;
pub type Gradients = super::Gradients<Cpu>;
pub type Grads<'a> = super::Grads<'a, Cpu>;

/// [`super::Track`] on the CPU.
pub trait Track: super::Track<Cpu> {}
impl<T: super::Track<Cpu>> Track for T {}

impl super::Track<Cpu> for Tape {
    fn replay(self, gradients: &mut Grads) {
        let before = std::mem::replace(gradients.0, dfdx::prelude::Gradients::leaky());
        let (nothing, into) = tensor(vec![0.0], ()).traced(before).split_tape();
        *gradients.0 = nothing.put_tape(self.0.take().merge(into)).backward();
    }
}

impl super::DeviceStorage for Cpu {
    type Upstream = Vec<f32>;
    type Accumulator<'a> = &'a mut Vec<f32>;

    fn consume(mut gradient: Self::Vec, rule: impl FnOnce(Vec<f32>)) {
        rule(std::mem::take::<Vec<f32>>(&mut gradient));
    }

    fn accumulate(gradient: &mut Self::Vec) -> &mut Vec<f32> {
        gradient
    }

    fn placeholder() -> Result<Self::Vec, Self::Err> {
        DEVICE.with(|d| Storage::<f32>::try_alloc_len(d, 0))
    }
}

thread_local!(static DEVICE: Device = Device::default());

/// Makes a tensor of `data` without a copy.
pub fn tensor<S: Shape>(data: Vec<f32>, shape: S) -> Tensor<S, f32, Device> {
    DEVICE.with(|d| d.tensor_from_vec(data, shape))
}

/// Makes a parameter of `data` without a copy.
pub fn param(data: Vec<f32>) -> Param {
    let len = data.len();
    tensor(data, (len,))
}

/// Makes rows of frames of `values`, (frames of all rows, width), without a copy.
pub fn hidden(values: Vec<f32>, width: usize, spans: Spans) -> Hidden {
    Hidden {
        values: tensor(values, (spans.total(), width)),
        spans,
    }
}

impl<T> Hidden<T> {
    /// Returns the numbers, (frames of all rows, width), row-major.
    pub fn read(&self) -> &[f32] {
        read(&self.values)
    }
}

/// Returns the numbers of a tensor in place.
///
/// # Panics
/// If the tensor is not contiguous.
pub fn read<S: Shape, T>(t: &Tensor<S, f32, Cpu, T>) -> &[f32] {
    let len = t.shape().num_elements();
    if len == 0 {
        return &[];
    }
    let shape = t.shape().concrete();
    let first = &t[S::Concrete::default()] as *const f32;
    let mut stride = 1;
    for axis in (0..S::NUM_DIMS).rev().filter(|&a| shape[a] > 1) {
        let mut one = S::Concrete::default();
        one[axis] = 1;
        assert!(
            std::ptr::eq(&t[one], first.wrapping_add(stride)),
            "a tensor that is not contiguous"
        );
        stride *= shape[axis];
    }
    // SAFETY: the strides just checked are those of a contiguous array of `len` elements, which
    // begins at `first`.
    unsafe { std::slice::from_raw_parts(first, len) }
}

/// Returns the numbers to change in place, after a copy if another tensor shares them.
///
/// # Panics
/// If the tensor is not contiguous.
pub fn write<S: Shape>(t: &mut Tensor<S, f32, Cpu>) -> &mut [f32] {
    let len = read(t).len();
    if len == 0 {
        return &mut [];
    }
    // SAFETY: `read` has checked that the elements are contiguous; the borrow of `t` is exclusive.
    unsafe { std::slice::from_raw_parts_mut(&mut t[S::Concrete::default()], len) }
}

/// Copies the numbers of each tensor.
pub fn read_all<'a, S: Shape, T: 'a>(
    tensors: impl IntoIterator<Item = &'a Tensor<S, f32, Cpu, T>>,
) -> Vec<Vec<f32>> {
    tensors.into_iter().map(|t| read(t).to_vec()).collect()
}

/// Reads the numbers of each row as frames of another width, without a copy.
///
/// The numbers of every row must be a multiple of `width`.
pub fn regrouped<T: Track>(x: Hidden<T>, width: usize) -> Hidden<T> {
    let spans = x.spans.regrouped(x.width(), width);
    Hidden {
        values: x.values.reshape_like(&(spans.total(), width)),
        spans,
    }
}

/// Returns a + b.
pub fn plus(a: Number<Tape>, b: Number<Tape>) -> Number<Tape> {
    a + b
}

/// Returns factor · x.
pub fn scaled(x: Number<Tape>, factor: f32) -> Number<Tape> {
    x * factor
}

/// Maps `f` over 0..count in parallel.
pub fn alone<R: Send>(count: usize, f: impl Fn(usize) -> R + Sync) -> Vec<R> {
    map(count, &f)
}

/// Computes the `features` of all rows and `encode`s them, which gives a tensor for each layer.
///
/// Each thread gets consecutive rows, so that a layer's weights are packed once for all of them.
/// Features are computed row by row, since convolutions are wide. The numbers of a row do not
/// depend on its neighbours.
pub fn by_rows(
    rows: usize,
    features: impl Fn(Range<usize>) -> Hidden + Sync,
    encode: impl Fn(Range<usize>, Hidden) -> Vec<Hidden> + Sync,
) -> Vec<Hidden> {
    let rows_per_part = rows.div_ceil(threads()).max(1);
    let mut parts = map(rows.div_ceil(rows_per_part).max(1), |part| {
        let range = part * rows_per_part..rows.min((part + 1) * rows_per_part);
        let features = if range.len() < 2 {
            features(range.clone())
        } else {
            let each: Vec<Hidden> = range.clone().map(|row| features(row..row + 1)).collect();
            concatenated(each.iter())
        };
        encode(range, features)
    });
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let mut parts: Vec<_> = parts.into_iter().map(Vec::into_iter).collect();
    let next_layer = || -> Option<Hidden> {
        let of_layer: Option<Vec<Hidden>> = parts.iter_mut().map(Iterator::next).collect();
        Some(concatenated(of_layer?.iter()))
    };
    iter::from_fn(next_layer).collect() // each layer's parts are freed before the next is joined
}

/// Returns the rows of all parts in one tensor.
fn concatenated<'a>(parts: impl Iterator<Item = &'a Hidden> + Clone) -> Hidden {
    let values: Vec<&[f32]> = parts.clone().map(Hidden::read).collect();
    let width = parts.clone().next().map_or(0, Hidden::width);
    hidden(
        values.concat(),
        width,
        Spans::new(parts.flat_map(|part| part.spans.lengths())),
    )
}

/// Hidden states of the same rows, a tensor for each layer, which a GPU may still be receiving. In
/// the CPU's memory they need no upload.
#[derive(Clone)]
pub struct PendingUpload(Vec<Hidden>);

impl PendingUpload {
    /// Wraps tensors that need no upload.
    pub fn ready(layers: Vec<Hidden>) -> PendingUpload {
        PendingUpload(layers)
    }

    /// Copies the numbers of each (layer)(row) into tensors.
    pub fn send(layers: &[Vec<&[f32]>], width: usize, spans: Spans) -> PendingUpload {
        PendingUpload(
            layers
                .iter()
                .map(|rows| hidden(rows.concat(), width, spans.clone()))
                .collect(),
        )
    }

    /// Returns the tensors.
    pub fn wait(&self) -> &[Hidden] {
        &self.0
    }
}

impl Grads<'_> {
    /// Takes the gradient of `t` out, for an op that needs several at once; it is given back with
    /// `*g.of(t) = ...`.
    pub fn take<S: Shape>(&mut self, t: &Tensor<S, f32, Cpu>) -> Vec<f32> {
        std::mem::take(self.of(t))
    }
}

impl Gradients {
    /// Takes out the gradient of `t`, or zeros if no gradient reached it.
    pub fn of<S: Shape>(&mut self, t: &Tensor<S, f32, Cpu>) -> Tensor<S, f32, Cpu> {
        tensor(self.take(t), *t.shape())
    }

    /// Takes out the numbers of the gradient of `t`.
    pub fn take<S: Shape>(&mut self, t: &Tensor<S, f32, Cpu>) -> Vec<f32> {
        super::Grads(&mut self.0).take(t)
    }
}

pub type Slot = super::Slot<Cpu>;

/// Records an op whose result is `y`, as [`super::record`].
pub fn record<S: Shape, T: Track>(
    y: Vec<f32>,
    shape: S,
    tape: T,
    backward: impl FnOnce(Vec<f32>, &mut Grads) + 'static,
) -> Tensor<S, f32, Cpu, T> {
    super::record(tensor(y, shape), tape, backward)
}

/// Records an op whose rule reads y, as [`super::record`].
pub fn record_kept<S: Shape, T: Track>(
    y: Vec<f32>,
    shape: S,
    tape: T,
    backward: impl FnOnce(&[f32], Vec<f32>, &mut Grads) + 'static,
) -> Tensor<S, f32, Cpu, T> {
    let y = tensor(y, shape);
    let saved = y.clone();
    super::record(y, tape, move |dy, g| backward(read(&saved), dy, g))
}

/// Records an op whose result has frames, as [`super::record`].
pub fn record_hidden<T: Track>(
    y: Vec<f32>,
    width: usize,
    spans: Spans,
    tape: T,
    backward: impl FnOnce(Vec<f32>, &mut Grads) + 'static,
) -> Hidden<T> {
    Hidden {
        values: record(y, (spans.total(), width), tape, backward),
        spans,
    }
}

/// Computes the gradients of scale · loss with respect to all that is on its tape.
pub fn backward(loss: Number<Tape>, scale: f32) -> Gradients {
    let (loss, tape) = (loss * scale).split_tape();
    let owned = std::mem::take(&mut *tape.0.borrow_mut());
    super::Gradients(loss.put_tape(owned).backward())
}
