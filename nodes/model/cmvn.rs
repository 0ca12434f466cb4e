//! Mean and standard deviation of log-mel frames over a training set, which bring each bin to zero
//! mean and unit variance (cepstral mean and variance normalisation).
use crate::Result;
use crate::data::error::PathContext;
use crate::data::file::{self, Tensors};
use crate::data::read_files::ReadFiles;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// The file that holds the statistics: `mean` and `std`, (bins) each.
pub const CMVN_FILE: &str = "cmvn.safetensors";

#[derive(Clone, Debug, PartialEq)]
pub struct Cmvn {
    pub mean: Vec<f32>,
    pub std: Vec<f32>,
}

impl Cmvn {
    /// Reads a file.
    ///
    /// # Errors
    /// A tensor is missing, is not one number a bin, or a standard deviation is not above 0.
    pub fn load(path: &Path, bins: usize) -> Result<Cmvn> {
        Cmvn::read(path, bins, &mut ReadFiles::default())
    }

    /// Reads a file as [`Cmvn::load`], and remembers its hash.
    pub(crate) fn read(path: &Path, bins: usize, read_files: &mut ReadFiles) -> Result<Cmvn> {
        let (tensors, hash) = Tensors::read_and_hash(path)?;
        read_files.insert(path, hash);
        let mut tensors = tensors.floats;
        let mut take = |name: &str| -> Result<Vec<f32>> {
            let (shape, values) = tensors
                .remove(name)
                .ok_or_else(|| format!("{}: there is no tensor `{name}`", path.display()))?;
            if shape != [bins] {
                return Err(format!(
                    "{}: `{name}` is {shape:?}, but the model reads {bins} bins",
                    path.display()
                )
                .into());
            }
            Ok(values)
        };
        let cmvn = Cmvn {
            mean: take("mean")?,
            std: take("std")?,
        };
        cmvn.validate().at(path)?;
        Ok(cmvn)
    }

    /// Fails if frames cannot be normalised by these numbers.
    pub(super) fn validate(&self) -> Result<(), &'static str> {
        let sound = self.mean.iter().all(|mean| mean.is_finite())
            && self.std.iter().all(|std| *std > 0.0 && std.is_finite());
        if !sound {
            return Err("a mean is not finite, or a standard deviation is not above 0");
        }
        Ok(())
    }

    /// Writes a file.
    pub fn save(&self, path: &Path) -> Result<()> {
        file::save(path, &self.tensors(), BTreeMap::new())
    }

    /// Returns the tensors of the file.
    pub(crate) fn tensors(&self) -> [file::Tensor<'_>; 2] {
        let tensors = [("mean", &self.mean), ("std", &self.std)];
        tensors.map(|(name, values)| {
            let values = Cow::Borrowed(values.as_slice());
            (name.to_owned(), vec![values.len()], values)
        })
    }

    /// Normalises frames, (frames, bins).
    pub fn apply(&self, frames: &mut [f32]) {
        for frame in frames.chunks_exact_mut(self.mean.len()) {
            for ((x, mean), std) in frame.iter_mut().zip(&self.mean).zip(&self.std) {
                *x = (*x - mean) / std;
            }
        }
    }
}
