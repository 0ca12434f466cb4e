//! Tensors of floats in safetensors files: the header's length as a u64, the header in JSON, then
//! the values, all little-endian (<https://huggingface.co/docs/safetensors>).
//!
//! The crate `safetensors` reads the header but does not write it: it orders the metadata by a hash
//! map, and equal runs must write equal bytes.
use super::write_atomic_with;
use crate::Result;
use crate::data::error::{PathContext, error_at};
use safetensors::tensor::{Dtype, Metadata};
use serde_json::{Value as Json, json};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The name, shape and values of a tensor to write.
pub type Tensor<'a> = (String, Vec<usize>, Cow<'a, [f32]>);

/// The tensors of a file: shape and values by name.
pub type Loaded = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Writes `tensors` as f32, with `metadata`, to `path` atomically. Errors name `path`.
///
/// A copy of one tensor at a time is made in memory.
pub fn save(path: &Path, tensors: &[Tensor], metadata: BTreeMap<String, String>) -> Result<()> {
    write_atomic_with(path, |file| {
        let header = header(tensors, metadata);
        let mut writer = BufWriter::new(file);
        writer.write_all(&(header.len() as u64).to_le_bytes())?;
        writer.write_all(header.as_bytes())?;
        for (.., values) in tensors {
            let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
            writer.write_all(&bytes)?;
        }
        writer.flush()
    })
}

/// Returns the header, padded with spaces to a multiple of 8 bytes so that the values are aligned.
fn header(tensors: &[Tensor], metadata: BTreeMap<String, String>) -> String {
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

/// Reads all tensors of a file, which may be f32, f16 or bf16. Errors name `path`.
pub fn load(path: &Path) -> Result<Loaded> {
    let TensorFile {
        mut file,
        header,
        data_start,
    } = TensorFile::open(path)?;
    let mut tensors = Loaded::new();
    for (name, info) in header.tensors() {
        let (start, end) = info.data_offsets;
        let mut bytes = vec![0; end - start];
        file.seek(SeekFrom::Start(data_start + start as u64))
            .at(path)?;
        file.read_exact(&mut bytes).at(path)?;
        let Some(values) = decode_floats(info.dtype, &bytes) else {
            let message = format!("`{name}` is {:?}, not floats", info.dtype);
            return Err(error_at(path, message));
        };
        tensors.insert(name, (info.shape.clone(), values));
    }
    Ok(tensors)
}

/// Reads the metadata of a file. Errors name `path`; an incomplete file is one.
pub fn metadata(path: &Path) -> Result<HashMap<String, String>> {
    let file = TensorFile::open(path)?;
    Ok(file.header.metadata().clone().unwrap_or_default())
}

/// An open file that its tensors fill to the last byte.
struct TensorFile {
    file: File,
    header: Metadata,
    /// The offset of the first value, in bytes.
    data_start: u64,
}

impl TensorFile {
    fn open(path: &Path) -> Result<TensorFile> {
        let incomplete = || error_at(path, "is no whole safetensors file");
        let mut file = File::open(path).at(path)?;
        let size = file.metadata().at(path)?.len();
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(|_| incomplete())?;
        let length = u64::from_le_bytes(length);
        if length > size.saturating_sub(8) {
            return Err(incomplete());
        }
        let mut bytes = vec![0; length as usize];
        file.read_exact(&mut bytes).at(path)?;
        let header: Metadata = serde_json::from_slice(&bytes).at(path)?;
        let data_start = 8 + length;
        if data_start + header.data_len() as u64 != size {
            return Err(incomplete());
        }
        Ok(TensorFile {
            file,
            header,
            data_start,
        })
    }
}

/// Decodes little-endian f32, f16 or bf16; returns `None` for other types.
pub(crate) fn decode_floats(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let halves = || {
        let pairs = bytes.as_chunks::<2>().0;
        pairs.iter().map(|pair| u16::from_le_bytes(*pair))
    };
    match dtype {
        Dtype::F32 => {
            let words = bytes.as_chunks::<4>().0;
            Some(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
        }
        Dtype::F16 => Some(halves().map(half_to_float).collect()),
        Dtype::BF16 => Some(halves().map(|h| f32::from_bits((h as u32) << 16)).collect()),
        _ => None,
    }
}

/// Converts IEEE 754 binary16: 1 sign bit, 5 bits of exponent (bias 15), 10 bits of fraction.
fn half_to_float(half: u16) -> f32 {
    let sign = (half as u32 & 0x8000) << 16;
    let exponent = half >> 10 & 31;
    let fraction = half as u32 & 1023;
    match exponent {
        0 => f32::from_bits(sign | (fraction as f32 / 16_777_216.0).to_bits()), // fraction 2^-24
        31 => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        e => f32::from_bits(sign | (e as u32 + 112) << 23 | fraction << 13),
    }
}

#[cfg(test)]
mod tests {
    use super::{half_to_float, load, save};

    #[test]
    fn a_header_may_be_long() {
        let name = format!("long-header-{}.safetensors", std::process::id());
        let path = std::env::temp_dir().join(name);
        let values = [0.5f32, -1.0];
        let mut tensors = vec![];
        for layer in 0..1000 {
            let name = format!("weight.student.layer-{layer}");
            tensors.push((name, vec![2], (&values[..]).into()));
        }
        save(&path, &tensors, Default::default()).unwrap();
        let loaded = load(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!(loaded.len(), 1000);
        for (shape, loaded_values) in loaded.values() {
            assert_eq!(shape, &[2]);
            assert_eq!(loaded_values[..], values);
        }
    }

    #[test]
    fn halves() {
        let cases = [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x0001, 5.960_464_5e-8),
            (0x7bff, 65504.0),
            (0x8000, 0.0),
        ];
        for (bits, value) in cases {
            assert_eq!(half_to_float(bits), value);
        }
        assert!(half_to_float(0x7c00).is_infinite());
        assert!(half_to_float(0x7e00).is_nan());
    }
}
