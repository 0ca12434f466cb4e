//! The header of a safetensors file: names, types, shapes and places of its tensors.
use super::{FileMetadata, Tensor, TensorError};
use safetensors::tensor::{Dtype, TensorInfo};
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use std::io::{ErrorKind, Read};

/// What is wrong with a file that ends too early, or has another form.
pub(super) const INCOMPLETE: &str = "is no whole safetensors file";
/// The longest header; that of the crate `safetensors`.
const LONGEST: u64 = 100_000_000;

/// Returns a text of a checksum's length.
pub(super) fn placeholder() -> String {
    "0".repeat(2 * blake3::OUT_LEN)
}

/// Returns the header of `tensors`, padded with spaces to a multiple of 8 bytes so that the values
/// are aligned.
pub(super) fn text(tensors: &[Tensor], metadata: &FileMetadata) -> String {
    let mut keys = serde_json::Map::from_iter([("__metadata__".to_owned(), json!(metadata))]);
    let mut start = 0;
    for (name, shape, values) in tensors {
        let end = start + size_of_val(&**values);
        keys.insert(
            name.clone(),
            json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, end] }),
        );
        start = end;
    }
    let text = Json::Object(keys).to_string();
    // A width in `format!` would end at 65535.
    let padding = " ".repeat(text.len().next_multiple_of(8) - text.len());
    text + &padding
}

/// A header whose tensors fill their file to the last byte.
pub(super) struct Header {
    /// The header as it is in the file.
    pub(super) bytes: Vec<u8>,
    pub(super) metadata: FileMetadata,
    /// In the order of their bytes.
    pub(super) tensors: Vec<TensorEntry>,
}

pub(super) struct TensorEntry {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// The number of bytes.
    pub(super) bytes: usize,
}

impl Header {
    /// Reads the header of a file of `size` bytes, up to its first tensor.
    pub(super) fn read(file: &mut impl Read, size: u64) -> Result<Header, TensorError> {
        let incomplete = || TensorError::Damaged(INCOMPLETE.to_owned());
        let mut length = [0; 8];
        file.read_exact(&mut length)
            .map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => incomplete(),
                _ => error.into(),
            })?;
        let length = u64::from_le_bytes(length);
        if length > size.saturating_sub(8).min(LONGEST) {
            return Err(incomplete());
        }
        let mut bytes = vec![0; length as usize];
        file.read_exact(&mut bytes)?;
        let mut keys: serde_json::Map<String, Json> = serde_json::from_slice(&bytes)
            .map_err(|error| TensorError::Damaged(format!("its header is no JSON: {error}")))?;
        let metadata = match keys.remove("__metadata__") {
            Some(metadata) => parse("__metadata__", metadata)?,
            None => FileMetadata::new(),
        };
        let tensors = entries(keys)?;
        let values: usize = tensors.iter().map(|tensor| tensor.bytes).sum();
        if values as u64 != size - 8 - length {
            return Err(incomplete());
        }
        Ok(Header {
            bytes,
            metadata,
            tensors,
        })
    }
}

fn parse<T: DeserializeOwned>(key: &str, value: Json) -> Result<T, TensorError> {
    serde_json::from_value(value)
        .map_err(|error| TensorError::Damaged(format!("its header's `{key}`: {error}")))
}

/// Returns the tensors of a header, which must lie one behind the other.
fn entries(keys: serde_json::Map<String, Json>) -> Result<Vec<TensorEntry>, TensorError> {
    let mut infos: Vec<(String, TensorInfo)> = vec![];
    for (name, value) in keys {
        let info = parse(&name, value)?;
        infos.push((name, info));
    }
    infos.sort_by_key(|(_, info)| info.data_offsets);
    let mut tensors = vec![];
    let mut start = 0;
    for (name, info) in infos {
        let damaged = |what: String| TensorError::Damaged(format!("`{name}` {what}"));
        let (first, end) = info.data_offsets;
        if first != start || end < first {
            let what = format!("has the bytes {first} to {end}, but those before end at {start}");
            return Err(damaged(what));
        }
        let bytes = end - first;
        if expected_bytes(&info) != Some(bytes) {
            let shape = &info.shape;
            let dtype = info.dtype;
            let what = format!("has {bytes} bytes, not those of {shape:?} in {dtype:?}");
            return Err(damaged(what));
        }
        tensors.push(TensorEntry {
            name,
            dtype: info.dtype,
            shape: info.shape,
            bytes,
        });
        start = end;
    }
    Ok(tensors)
}

/// Returns the bytes of a tensor of this shape and type; `None` if they cannot be counted.
fn expected_bytes(info: &TensorInfo) -> Option<usize> {
    let elements = info
        .shape
        .iter()
        .try_fold(1usize, |n, m| n.checked_mul(*m))?;
    let bits = elements.checked_mul(info.dtype.bitsize())?;
    bits.is_multiple_of(8).then_some(bits / 8)
}
