//! Files that `torch.save` writes, and NumPy's files of objects: containers, numbers and tensors,
//! without running what the file asks for.
//!
//! A pickle is a program for a stack machine, which may call any function of Python. The machine
//! here ([`pickle`]) builds plain values and the few calls that tensors consist of
//! ([`call`]); an object of another class, and what another call returns, is kept as an
//! [`Object`](values::Object) that says its class. Tensors are described, not read: their numbers
//! stay in the file until [`TorchFile::read`] asks for them.
mod archive;
mod bytes;
mod call;
mod element;
mod json;
mod legacy;
mod machine;
mod npy;
mod numpy;
mod operands;
mod pickle;
mod reduce;
mod tensor;
#[cfg(test)]
mod tests;
mod values;

use crate::Result;
use crate::data::error::PathContext;
use crate::data::regular;
use archive::Archive;
use legacy::Legacy;
pub(crate) use npy::read_npy;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
pub(crate) use tensor::TorchTensor;
use values::Pickle;
pub(crate) use values::Value;

/// A sentence about what is wrong with a file.
type Fault = String;

/// An open file of `torch.save`.
pub(crate) struct TorchFile<S = File> {
    path: PathBuf,
    file: S,
    pickle: Pickle,
    storages: Storages,
}

/// Where the numbers of tensors are.
enum Storages {
    /// Records of a zip archive (PyTorch 1.6 and later).
    Archive(Archive),
    /// Behind the pickles (before PyTorch 1.6).
    Legacy(Legacy),
}

/// Whether a file begins as one of `torch.save` does: as a zip archive, or as a pickle of PyTorch's
/// magic number.
pub(crate) fn is_torch_file(path: &Path) -> bool {
    let mut start = [0; 32];
    let Ok(mut file) = regular::open(path) else {
        return false;
    };
    let mut read = 0;
    while let Ok(n) = file.read(&mut start[read..]) {
        read += n;
        if n == 0 {
            break;
        }
    }
    archive::begins(&start[..read]) || legacy::begins(&start[..read])
}

impl TorchFile {
    /// Opens a file and runs its pickle; reads no tensor. Errors name `path`.
    ///
    /// # Errors
    /// The file cannot be read, is cut off or damaged, or has a form that this program does not
    /// read.
    pub(crate) fn open(path: &Path) -> Result<TorchFile> {
        let file = regular::open(path).at(path)?;
        let size = file.metadata().at(path)?.len();
        TorchFile::of(path, file, size).at(path)
    }

    /// Returns the open file once more, so that its bytes can be hashed later, whatever has its name
    /// by then.
    pub(crate) fn reopened(&self) -> Result<File> {
        self.file.try_clone().at(&self.path)
    }
}

impl<S: Read + Seek> TorchFile<S> {
    /// Runs the pickle of a file of `size` bytes.
    fn of(path: &Path, mut file: S, size: u64) -> Result<TorchFile<S>, Fault> {
        let mut start = [0; 4];
        let is_archive = file.read_exact(&mut start).is_ok() && archive::begins(&start);
        file.seek(SeekFrom::Start(0))
            .map_err(|error| error.to_string())?;
        let (pickle, storages) = if is_archive {
            let archive = Archive::read(&mut file, size)?;
            let pickle = archive.pickle(&mut file)?;
            (pickle, Storages::Archive(archive))
        } else {
            let (pickle, legacy) = Legacy::read(&mut file, size)?;
            (pickle, Storages::Legacy(legacy))
        };
        Ok(TorchFile {
            path: path.to_owned(),
            file,
            pickle,
            storages,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the value that was saved.
    pub(crate) fn root(&self) -> Value<'_> {
        self.pickle.root()
    }

    /// Reads the numbers of a tensor as f32, row by row of its shape whatever its strides. Errors
    /// name the file, not the tensor.
    ///
    /// # Errors
    /// The tensor holds no floats, does not lie within its storage, or the file is damaged.
    pub(crate) fn read(&mut self, tensor: &TorchTensor) -> Result<Vec<f32>> {
        let file = &mut self.file;
        let values = match &mut self.storages {
            Storages::Archive(archive) => archive.read_tensor(file, tensor),
            Storages::Legacy(legacy) => legacy.read_tensor(file, tensor),
        };
        values.at(&self.path)
    }
}
