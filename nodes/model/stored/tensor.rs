//! One tensor of a checkpoint: its shape, and where its numbers are.
use crate::data::torch::{TorchTensor, Value};
use safetensors::tensor::Dtype;
use std::collections::BTreeMap;

/// One tensor.
pub(in crate::model) struct StoredTensor {
    /// Its name in the file.
    pub(in crate::model) saved_as: String,
    pub(in crate::model) shape: Vec<usize>,
    pub(in crate::model) numbers: Numbers,
}

/// Where the numbers of a tensor are.
pub(in crate::model) enum Numbers {
    Read(Vec<f32>),
    /// In a file of torch.save, by its place among the checkpoint's files.
    Torch(usize, TorchTensor),
    /// They are no floats, or what holds them is no tensor; a sentence says what it is.
    Unreadable(String),
}

impl StoredTensor {
    /// Returns some rows of the first dimension.
    pub(in crate::model) fn rows(&self, first: usize, rows: usize) -> StoredTensor {
        let mut shape = self.shape.clone();
        if let Some(size) = shape.first_mut() {
            *size = rows;
        }
        self.block(first, &shape)
    }

    /// Returns the leading entries of each of `parts` equal parts of a dimension, and of the other
    /// dimensions: a tensor of this shape, each of whose sizes must be at most the tensor's own.
    pub(in crate::model) fn leading_of_parts(
        &self,
        dim: usize,
        parts: usize,
        shape: &[usize],
    ) -> StoredTensor {
        let in_parts = |shape: &[usize]| {
            let mut sizes = shape.to_vec();
            sizes.splice(dim..=dim, [parts, shape[dim] / parts]);
            sizes
        };
        let numbers = match &self.numbers {
            Numbers::Read(values) => Numbers::Read(values.clone()),
            Numbers::Torch(file, tensor) => Numbers::Torch(*file, tensor.in_parts(dim, parts)),
            Numbers::Unreadable(what) => Numbers::Unreadable(what.clone()),
        };
        let view = StoredTensor {
            saved_as: self.saved_as.clone(),
            shape: in_parts(&self.shape),
            numbers,
        };
        StoredTensor {
            shape: shape.to_vec(),
            ..view.block(0, &in_parts(shape))
        }
    }

    /// Returns the block of this shape, from row `first` of the first dimension and from the
    /// beginning of the others. It must lie in the tensor.
    pub(in crate::model) fn block(&self, first: usize, shape: &[usize]) -> StoredTensor {
        let numbers = match &self.numbers {
            Numbers::Read(values) => Numbers::Read(block(values, &self.shape, first, shape)),
            Numbers::Torch(file, tensor) => Numbers::Torch(*file, tensor.block(first, shape)),
            Numbers::Unreadable(what) => Numbers::Unreadable(what.clone()),
        };
        StoredTensor {
            saved_as: self.saved_as.clone(),
            shape: shape.to_vec(),
            numbers,
        }
    }
}

/// Copies the block that [`StoredTensor::block`] describes out of the values of a tensor, row-major.
fn block(values: &[f32], whole: &[usize], first: usize, part: &[usize]) -> Vec<f32> {
    let (&[rows, ref inner @ ..], Some(size)) = (part, whole.first()) else {
        return values.to_vec();
    };
    if inner.is_empty() {
        return values[first..first + rows].to_vec();
    }
    let width = values.len() / (*size).max(1);
    let rows = (first..first + rows).map(|row| &values[row * width..(row + 1) * width]);
    rows.flat_map(|row| block(row, &whole[1..], 0, inner))
        .collect()
}

pub(super) fn not_floats(dtype: Dtype) -> String {
    format!("is {dtype:?}; this version reads F64, F32, F16 and BF16")
}

/// Lists the tensors of a dictionary of torch.save, which is the first file of its checkpoint.
pub(in crate::model) fn described(state: Value) -> BTreeMap<String, StoredTensor> {
    let mut tensors = BTreeMap::new();
    for (name, value) in state.entries() {
        let tensor = match (value.tensor(), value.class()) {
            (Some(tensor), _) => {
                let numbers = match tensor.dtype() {
                    Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16 => {
                        Numbers::Torch(0, tensor.clone())
                    }
                    other => Numbers::Unreadable(not_floats(other)),
                };
                StoredTensor {
                    saved_as: name.to_owned(),
                    shape: tensor.shape.clone(),
                    numbers,
                }
            }
            (None, Some(class)) => StoredTensor {
                saved_as: name.to_owned(),
                shape: vec![],
                numbers: Numbers::Unreadable(format!(
                    "is made by `{class}`, which is not run; save a plain tensor"
                )),
            },
            (None, None) => continue,
        };
        tensors.insert(name.to_owned(), tensor);
    }
    tensors
}
