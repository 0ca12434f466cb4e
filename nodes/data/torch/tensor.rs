//! A tensor as a pickle describes it, and its numbers from the bytes of its storage.
use super::Fault;
use super::element::Element;
use crate::data::file::decode_floats;
use safetensors::tensor::Dtype;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

/// Where the numbers of a tensor lie.
#[derive(Clone, Debug)]
pub(crate) struct TorchTensor {
    /// The key of its storage.
    pub(super) key: Arc<str>,
    pub(super) element: Element,
    /// The first number, counted in numbers from the storage's.
    pub(super) start: u64,
    pub(crate) shape: Vec<usize>,
    /// Distances of neighbours along each dimension, in numbers.
    pub(super) strides: Vec<u64>,
}

impl TorchTensor {
    pub(crate) fn dtype(&self) -> Dtype {
        self.element.0
    }

    /// Returns the block of this shape, from row `first` of the first dimension and from the
    /// beginning of the others.
    pub(crate) fn block(&self, first: usize, shape: &[usize]) -> TorchTensor {
        let stride = self.strides.first().copied().unwrap_or(0);
        let skipped = stride.saturating_mul(first as u64);
        TorchTensor {
            start: self.start.saturating_add(skipped),
            shape: shape.to_vec(),
            ..self.clone()
        }
    }

    /// Returns the tensor with a dimension, a multiple of `parts`, as two: the parts, and the entries
    /// of a part.
    pub(crate) fn in_parts(&self, dim: usize, parts: usize) -> TorchTensor {
        let mut view = self.clone();
        let size = self.shape[dim] / parts;
        let stride = self.strides[dim];
        view.shape.splice(dim..=dim, [parts, size]);
        let strides = [stride.saturating_mul(size as u64), stride];
        view.strides.splice(dim..=dim, strides);
        view
    }

    /// Returns the number of elements; `None` beyond the storage of any machine.
    fn count(&self) -> Option<u64> {
        let mut shape = self.shape.iter();
        shape.try_fold(1u64, |n, size| n.checked_mul(*size as u64))
    }

    /// Returns the bytes of the storage that hold the tensor, from its first number to its last.
    ///
    /// # Errors
    /// They are not within the storage, which has `available` bytes; or the tensor has more numbers
    /// than they hold, as a view has that repeats one.
    pub(super) fn bytes(&self, available: u64) -> Result<Range<u64>, Fault> {
        let outside = || "is cut off or damaged: a tensor lies outside of its storage".to_owned();
        let count = self.count().ok_or_else(outside)?;
        if count == 0 {
            return Ok(0..0);
        }
        let mut last = self.start;
        for (size, stride) in self.shape.iter().zip(&self.strides) {
            let step = (*size as u64 - 1)
                .checked_mul(*stride)
                .ok_or_else(outside)?;
            last = last.checked_add(step).ok_or_else(outside)?;
        }
        let size = self.element.size();
        let start = self.start.checked_mul(size).ok_or_else(outside)?;
        let end = last.checked_add(1).and_then(|end| end.checked_mul(size));
        let end = end.filter(|end| *end <= available).ok_or_else(outside)?;
        if count > last + 1 - self.start {
            return Err(
                "holds a tensor that repeats its numbers (an expanded view); save a \
                        contiguous copy"
                    .into(),
            );
        }
        Ok(start..end)
    }

    /// Reads the tensor from a file in which its storage begins at `place` and has `available`
    /// bytes.
    pub(super) fn read(
        &self,
        file: &mut (impl Read + Seek),
        place: u64,
        available: u64,
    ) -> Result<Vec<f32>, Fault> {
        let range = self.bytes(available)?;
        let mut bytes = vec![0; (range.end - range.start) as usize];
        file.seek(SeekFrom::Start(place + range.start))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|error| error.to_string())?;
        self.decode(bytes)
    }

    /// Decodes the bytes from the tensor's first number to its last.
    pub(super) fn decode(&self, bytes: Vec<u8>) -> Result<Vec<f32>, Fault> {
        let values = decode_floats(self.element.0, &bytes)
            .ok_or_else(|| format!("holds {:?} where floats are wanted", self.element.0))?;
        if values.is_empty() || self.is_contiguous() {
            return Ok(values);
        }
        Ok(self.gathered(&values))
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        for (size, stride) in self.shape.iter().zip(&self.strides).rev() {
            if *size != 1 && *stride != expected {
                return false;
            }
            expected *= *size as u64;
        }
        true
    }

    /// Brings numbers that lie by strides into the order of the shape.
    fn gathered(&self, values: &[f32]) -> Vec<f32> {
        let mut out = vec![];
        let mut index = vec![0; self.shape.len()];
        loop {
            let steps = index.iter().zip(&self.strides);
            let place: u64 = steps.map(|(i, stride)| i * stride).sum();
            out.push(values[place as usize]);
            let mut dimension = self.shape.len();
            loop {
                if dimension == 0 {
                    return out;
                }
                dimension -= 1;
                index[dimension] += 1;
                if index[dimension] < self.shape[dimension] as u64 {
                    break;
                }
                index[dimension] = 0;
            }
        }
    }
}
