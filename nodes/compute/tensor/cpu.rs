//! Tensors in the CPU's memory, whose numbers are slices.
use crate::parallel::{map, threads};
use dfdx::prelude::*;
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

/// Takes the Vec, copies nothing.
pub fn tensor<S: Shape>(data: Vec<f32>, shape: S) -> Tensor<S, f32, Device> {
    DEVICE.with(|d| d.tensor_from_vec(data, shape))
}

pub fn param(data: Vec<f32>) -> Param {
    let len = data.len();
    tensor(data, (len,))
}

pub fn hidden(values: Vec<f32>, width: usize, spans: Spans) -> Hidden {
    Hidden {
        values: tensor(values, (spans.total(), width)),
        spans,
    }
}

impl<T> Hidden<T> {
    /// The numbers, where they lie: (frames of all rows, width), row-major.
    pub fn read(&self) -> &[f32] {
        read(&self.values)
    }
}

/// The numbers of a contiguous tensor, where they lie.
pub fn read<S: Shape, T>(t: &Tensor<S, f32, Cpu, T>) -> &[f32] {
    let len = t.shape().num_elements();
    if len == 0 {
        return &[];
    }
    let (shape, first) = (
        t.shape().concrete(),
        &t[S::Concrete::default()] as *const f32,
    );
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
    // SAFETY: the strides just checked are those of a contiguous array, whose `len` elements begin at `first`.
    unsafe { std::slice::from_raw_parts(first, len) }
}

/// As [`read`], to change in place; copies first if someone else holds the tensor.
pub fn write<S: Shape>(t: &mut Tensor<S, f32, Cpu>) -> &mut [f32] {
    let len = read(t).len();
    if len == 0 {
        return &mut [];
    }
    // SAFETY: `read` has checked that the elements are contiguous; the borrow of `t` is exclusive.
    unsafe { std::slice::from_raw_parts_mut(&mut t[S::Concrete::default()], len) }
}

/// The numbers of each of them.
pub fn read_all<'a, S: Shape, T: 'a>(
    of: impl IntoIterator<Item = &'a Tensor<S, f32, Cpu, T>>,
) -> Vec<Vec<f32>> {
    of.into_iter().map(|t| read(t).to_vec()).collect()
}

/// a + b
pub fn plus(a: Number<Tape>, b: Number<Tape>) -> Number<Tape> {
    a + b
}

/// factor · x
pub fn scaled(x: Number<Tape>, factor: f32) -> Number<Tape> {
    x * factor
}

/// What `f` makes of each of so many things, apart from the others: as many at once as there are threads.
pub fn alone<R: Send>(count: usize, f: impl Fn(usize) -> R + Sync) -> Vec<R> {
    map(count, &f)
}

/// What `encode` makes of the `features` of a batch: a tensor a layer. Each thread gets rows that follow each other, so
/// that a layer's weights are packed once for all of them; convolutions are wide, so features are made of one row after
/// the other. A row's numbers do not depend on its neighbours.
pub fn by_rows(
    rows: usize,
    features: impl Fn(Range<usize>) -> Hidden + Sync,
    encode: impl Fn(Range<usize>, Hidden) -> Vec<Hidden> + Sync,
) -> Vec<Hidden> {
    let each = rows.div_ceil(threads()).max(1);
    let parts = alone(rows.div_ceil(each).max(1), |part| {
        let of = part * each..rows.min((part + 1) * each);
        let features = if of.len() < 2 {
            features(of.clone())
        } else {
            let of_rows: Vec<Hidden> = of.clone().map(|row| features(row..row + 1)).collect();
            joined(of_rows.iter())
        };
        encode(of, features)
    });
    alone(parts[0].len(), |layer| {
        joined(parts.iter().map(|part| &part[layer]))
    })
}

/// The rows of all of them.
fn joined<'a>(parts: impl Iterator<Item = &'a Hidden> + Clone) -> Hidden {
    let values: Vec<&[f32]> = parts.clone().map(Hidden::read).collect();
    let width = parts.clone().next().map_or(0, Hidden::width);
    hidden(
        values.concat(),
        width,
        Spans::new(parts.flat_map(|part| part.spans.lengths())),
    )
}

/// Hidden states of the same rows, a tensor a layer, on their way to where tensors lie: here they have always arrived.
#[derive(Clone)]
pub struct PendingUpload(Vec<Hidden>);

impl PendingUpload {
    /// What was computed here.
    pub fn here(layers: Vec<Hidden>) -> PendingUpload {
        PendingUpload(layers)
    }
    /// Of the numbers of each (layer)(row).
    pub fn send(layers: &[Vec<&[f32]>], width: usize, spans: Spans) -> PendingUpload {
        PendingUpload(
            layers
                .iter()
                .map(|rows| hidden(rows.concat(), width, spans.clone()))
                .collect(),
        )
    }
    /// To be read from now on.
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
    /// The gradient of `t`, taken out; zeros if nothing reached it.
    pub fn of<S: Shape>(&mut self, t: &Tensor<S, f32, Cpu>) -> Tensor<S, f32, Cpu> {
        tensor(self.take(t), *t.shape())
    }
    /// Its numbers alone.
    pub fn take<S: Shape>(&mut self, t: &Tensor<S, f32, Cpu>) -> Vec<f32> {
        super::Grads(&mut self.0).take(t)
    }
}

pub type Slot = super::Slot<Cpu>;

/// The result of an op: `y` on `tape`, with the rule that turns the gradient of `y` into those of its inputs.
/// The gradient of `y` is handed over and so freed with the rule; without a tape the rule is dropped at once.
pub fn record<S: Shape, T: Track>(
    y: Vec<f32>,
    shape: S,
    tape: T,
    backward: impl FnOnce(Vec<f32>, &mut Grads) + 'static,
) -> Tensor<S, f32, Cpu, T> {
    super::record(tensor(y, shape), tape, backward)
}

/// As [`record`], with a rule that reads y again.
pub fn record_kept<S: Shape, T: Track>(
    y: Vec<f32>,
    shape: S,
    tape: T,
    backward: impl FnOnce(&[f32], Vec<f32>, &mut Grads) + 'static,
) -> Tensor<S, f32, Cpu, T> {
    let y = tensor(y, shape);
    let kept = y.clone();
    super::record(y, tape, move |dy, g| backward(read(&kept), dy, g))
}

/// As [`record`], for a result that has frames.
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

/// Runs the tape backward from `loss`, times `scale`.
pub fn backward(loss: Number<Tape>, scale: f32) -> Gradients {
    let (loss, tape) = (loss * scale).split_tape();
    let owned = std::mem::take(&mut *tape.0.borrow_mut());
    super::Gradients(loss.put_tape(owned).backward())
}
