//! Tensors in memory, as they were read.
use super::{FileMetadata, Loaded, open_file, scan};
use crate::Result;
use crate::data::error::{PathContext, error_at};
use crate::data::file::decode_floats;
use safetensors::tensor::Dtype;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The tensors of a file as they were read.
pub struct Tensors {
    path: PathBuf,
    pub floats: Loaded,
    /// Types of tensors that are not floats.
    other_types: BTreeMap<String, Dtype>,
    pub metadata: FileMetadata,
}

impl Tensors {
    /// Returns no tensors; errors about them name `path`.
    fn none(path: &Path) -> Tensors {
        Tensors {
            path: path.to_owned(),
            floats: Loaded::new(),
            other_types: BTreeMap::new(),
            metadata: FileMetadata::new(),
        }
    }

    /// Reads all tensors of a file: f64, f32, f16 and bf16 as f32. Errors name `path`.
    ///
    /// # Errors
    /// The file cannot be read, or its bytes are not those that were written.
    pub fn read(path: &Path) -> Result<Tensors> {
        let (file, size) = open_file(path).at(path)?;
        Tensors::scan(path, file, size, None)
    }

    /// Reads a file as [`Tensors::read`], and returns BLAKE3 of the bytes that were read.
    pub(crate) fn read_and_hash(path: &Path) -> Result<(Tensors, blake3::Hash)> {
        let (file, size) = open_file(path).at(path)?;
        Tensors::read_opened(path, file, size)
    }

    /// Reads a file as [`Tensors::read_and_hash`], which is opened already and has `size` bytes.
    pub(crate) fn read_opened(
        path: &Path,
        file: impl Read,
        size: u64,
    ) -> Result<(Tensors, blake3::Hash)> {
        let mut hasher = blake3::Hasher::new();
        let tensors = Tensors::scan(path, file, size, Some(&mut hasher))?;
        Ok((tensors, hasher.finalize()))
    }

    fn scan(
        path: &Path,
        file: impl Read,
        size: u64,
        file_hasher: Option<&mut blake3::Hasher>,
    ) -> Result<Tensors> {
        let mut tensors = Tensors::none(path);
        let metadata = scan(file, size, file_hasher, |tensor, bytes| {
            let name = tensor.name.clone();
            match decode_floats(tensor.dtype, bytes) {
                Some(values) => {
                    let shape = tensor.shape.clone();
                    tensors.floats.insert(name, (shape, values));
                }
                None => {
                    tensors.other_types.insert(name, tensor.dtype);
                }
            }
        });
        tensors.metadata = metadata.at(path)?;
        Ok(tensors)
    }

    /// Returns the names and types of tensors that are not floats.
    pub(crate) fn other_types(&self) -> impl Iterator<Item = (&str, Dtype)> {
        self.other_types
            .iter()
            .map(|(name, dtype)| (name.as_str(), *dtype))
    }

    /// Takes the values of a tensor that must have this shape. Errors name the file.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        match self.floats.remove(name) {
            Some((found, values)) if found == shape => Ok(values),
            Some((found, _)) => {
                let message = format!("`{name}` is {found:?}, not {shape:?}");
                Err(error_at(&self.path, message))
            }
            None => Err(error_at(&self.path, self.why_missing(name))),
        }
    }

    /// Says why there are no floats of this name.
    pub fn why_missing(&self, name: &str) -> String {
        match self.other_types.get(name) {
            Some(dtype) => {
                format!("`{name}` is {dtype:?}; this version reads F64, F32, F16 and BF16")
            }
            None => format!("there is no tensor `{name}`"),
        }
    }
}
