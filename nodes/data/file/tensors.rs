//! Tensors of floats in safetensors files: the header's length as a u64, the header in JSON, then
//! the values, all little-endian (<https://huggingface.co/docs/safetensors>).
//!
//! Files that this program writes carry `blake3` in their metadata: the BLAKE3 of all bytes after
//! the header. It is compared whenever such a file is read. Files of other programs have none.
//!
//! The crate `safetensors` reads the header but does not write it: it orders the metadata by a hash
//! map, and equal runs must write equal bytes.
mod header;
mod loaded;

use super::write_atomic_with;
use crate::Result;
use crate::data::error::PathContext;
use crate::data::regular;
use header::{Header, placeholder, text};
pub use loaded::Tensors;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use thiserror::Error;

/// The name, shape and values of a tensor to write.
pub type Tensor<'a> = (String, Vec<usize>, Cow<'a, [f32]>);

/// The tensors of a file: shape and values by name.
pub type Loaded = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Pairs of keys and values in the header of a file.
pub type FileMetadata = BTreeMap<String, String>;

/// The key of the metadata for the checksum.
const CHECKSUM: &str = "blake3";

/// Why a file's tensors cannot be read.
#[derive(Debug, Error)]
pub enum TensorError {
    /// The file could not be read; its bytes may be right.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its bytes are not those of a safetensors file, or not those that were written.
    #[error("{0}")]
    Damaged(String),
}

/// Writes `tensors` as f32, with `metadata` and their checksum, to `path` atomically. Errors name
/// `path`.
///
/// A copy of one tensor at a time is made in memory.
pub fn save(path: &Path, tensors: &[Tensor], metadata: FileMetadata) -> Result<()> {
    write_atomic_with(path, |file| write_tensors(file, tensors, metadata))
}

/// Writes tensors as [`save`], into a new file.
pub(crate) fn write_tensors(
    file: &mut File,
    tensors: &[Tensor],
    mut metadata: FileMetadata,
) -> io::Result<()> {
    let mut hasher = blake3::Hasher::new();
    // The checksum is known only when the values are written, and its length is fixed.
    metadata.insert(CHECKSUM.to_owned(), placeholder());
    let header = text(tensors, &metadata);
    let mut writer = BufWriter::new(&mut *file);
    writer.write_all(&(header.len() as u64).to_le_bytes())?;
    writer.write_all(header.as_bytes())?;
    for (.., values) in tensors {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        hasher.update(&bytes);
        writer.write_all(&bytes)?;
    }
    writer.flush()?;
    drop(writer);
    metadata.insert(CHECKSUM.to_owned(), hasher.finalize().to_hex().to_string());
    file.seek(SeekFrom::Start(size_of::<u64>() as u64))?;
    file.write_all(text(tensors, &metadata).as_bytes())
}

/// Reads all floats of a file, as [`Tensors::read`].
pub fn load(path: &Path) -> Result<Loaded> {
    Ok(Tensors::read(path)?.floats)
}

/// Reads the metadata of a file. Errors name `path`; an incomplete file is one.
pub fn metadata(path: &Path) -> Result<FileMetadata> {
    let (_, header) = open(path).at(path)?;
    Ok(header.metadata)
}

/// Reads the names of the tensors of a file. Errors name `path`; an incomplete file is one.
pub fn tensor_names(path: &Path) -> Result<Vec<String>> {
    let (_, header) = open(path).at(path)?;
    Ok(header.tensors.into_iter().map(|t| t.name).collect())
}

/// What [`verify`] finds in a file whose bytes are right.
pub struct Verified {
    pub metadata: FileMetadata,
    /// Whether the metadata has a checksum.
    pub has_checksum: bool,
    /// Shapes by name.
    pub shapes: BTreeMap<String, Vec<usize>>,
}

/// Reads a file to the end and compares its tensors with their checksum, without keeping them.
pub fn verify(path: &Path) -> Result<Verified, TensorError> {
    let mut shapes = BTreeMap::new();
    let (file, size) = open_file(path)?;
    let metadata = scan(file, size, None, |tensor, _| {
        shapes.insert(tensor.name.clone(), tensor.shape.clone());
    })?;
    Ok(Verified {
        has_checksum: metadata.contains_key(CHECKSUM),
        metadata,
        shapes,
    })
}

fn open(path: &Path) -> Result<(BufReader<File>, Header), TensorError> {
    let (file, size) = open_file(path)?;
    let mut reader = BufReader::new(file);
    let header = Header::read(&mut reader, size)?;
    Ok((reader, header))
}

/// Opens a file on a disk, and returns its size.
fn open_file(path: &Path) -> io::Result<(File, u64)> {
    let file = regular::open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

/// Reads a file of `size` bytes from its first byte to its last, hands each tensor's bytes to `each` in the order
/// of the file, and compares the checksum. `file_hasher` gets all bytes of the file.
fn scan(
    file: impl Read,
    size: u64,
    mut file_hasher: Option<&mut blake3::Hasher>,
    mut each: impl FnMut(&header::TensorEntry, &[u8]),
) -> Result<FileMetadata, TensorError> {
    let mut reader = BufReader::new(file);
    let header = Header::read(&mut reader, size)?;
    if let Some(hasher) = &mut file_hasher {
        hasher.update(&(header.bytes.len() as u64).to_le_bytes());
        hasher.update(&header.bytes);
    }
    let mut data_hasher = blake3::Hasher::new();
    let checksum = header.metadata.get(CHECKSUM);
    for tensor in &header.tensors {
        let mut bytes = vec![0; tensor.bytes];
        reader.read_exact(&mut bytes).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                TensorError::Damaged(header::INCOMPLETE.to_owned())
            } else {
                TensorError::Io(error)
            }
        })?;
        if checksum.is_some() {
            data_hasher.update(&bytes);
        }
        if let Some(hasher) = &mut file_hasher {
            hasher.update(&bytes);
        }
        each(tensor, &bytes);
    }
    let hash = data_hasher.finalize().to_hex();
    if checksum.is_some_and(|checksum| *checksum != hash.as_str()) {
        let message = "its tensors are not those that were written: their checksum differs";
        return Err(TensorError::Damaged(message.to_owned()));
    }
    Ok(header.metadata)
}

#[cfg(test)]
mod tests;
