//! Files that appear whole or not at all, and tensors in them.
use crate::Result;
use safetensors::tensor::{Dtype, Metadata};
use serde_json::{Value as Json, json};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::{fs, path::Path, path::PathBuf};

/// Where a path of the shipped graphs lies, for whoever works elsewhere.
pub fn hint(path: &str) -> &'static str {
    match path.starts_with("data/sample") {
        true => {
            " (it lies in the project's repository; paths are relative to the working directory)"
        }
        false => "",
    }
}

/// The name under which `path` grows before it is there.
pub fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".tmp{}", std::process::id()));
    path.with_file_name(name)
}

/// Write, sync, rename, sync the folder.
pub fn whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let at = |e: std::io::Error| format!("{}: {e}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(at)?;
    }
    let growing = temporary(path);
    (|| {
        let mut file = fs::File::create(&growing)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        settle(&growing, path)
    })()
    .map_err(|e| {
        let _ = fs::remove_file(&growing);
        at(e).into()
    })
}

/// Renames what has been written and synced to its final name.
pub fn settle(growing: &Path, path: &Path) -> std::io::Result<()> {
    fs::rename(growing, path)?;
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}

/// Removes what a killed run left half-written in `folder` and below.
pub fn remove_leftovers(folder: &Path, stale: &dyn Fn(u32) -> bool) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let of = name
            .to_str()
            .and_then(|n| n.rsplit_once(".tmp"))
            .and_then(|(_, pid)| pid.parse().ok());
        let is_folder = entry.file_type().is_ok_and(|t| t.is_dir()); // not a link to one
        match (of, is_folder) {
            (Some(pid), true) if stale(pid) => drop(fs::remove_dir_all(&path)),
            (Some(pid), false) if stale(pid) => drop(fs::remove_file(&path)),
            (None, true) => remove_leftovers(&path, stale),
            _ => (),
        }
    }
}

/// Puts a folder that has been written whole in the place of `folder`.
pub fn replace_folder(growing: &Path, folder: &Path) -> Result<()> {
    let at = |e: std::io::Error| format!("{}: {e}", folder.display());
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(at)?;
    }
    Ok(settle(growing, folder).map_err(at)?)
}

/// Name, shape and values of what is to be written.
pub type Tensor<'a> = (String, Vec<usize>, Cow<'a, [f32]>);
/// Shape and values by name.
pub type Loaded = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// safetensors, f32: 8 bytes of length, a JSON header of that length, the numbers. Written here and not by the crate, whose
/// metadata stands in the order of a hash map: equal runs are to leave equal bytes. One tensor at a time is in memory twice.
pub fn save(path: &Path, tensors: &[Tensor], about: BTreeMap<String, String>) -> Result<()> {
    let at = |e: std::io::Error| format!("{}: {e}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(at)?;
    }
    let growing = temporary(path);
    let written = (|| {
        let mut file = BufWriter::new(fs::File::create(&growing)?);
        let header = header(tensors, about);
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        for (.., values) in tensors {
            file.write_all(
                &values
                    .iter()
                    .flat_map(|x| x.to_le_bytes())
                    .collect::<Vec<u8>>(),
            )?;
        }
        file.into_inner()?.sync_all()?;
        settle(&growing, path)
    })();
    written.map_err(|e| {
        let _ = fs::remove_file(&growing);
        at(e).into()
    })
}

/// Padded with spaces to a multiple of 8, so that the numbers are aligned.
fn header(tensors: &[Tensor], about: BTreeMap<String, String>) -> String {
    let mut keys = serde_json::Map::from_iter([("__metadata__".to_owned(), json!(about))]);
    let mut from = 0;
    for (name, shape, values) in tensors {
        let to = from + size_of_val(&**values);
        keys.insert(
            name.clone(),
            json!({ "dtype": "F32", "shape": shape, "data_offsets": [from, to] }),
        );
        from = to;
    }
    let text = Json::Object(keys).to_string();
    let spaces = text.len().next_multiple_of(8) - text.len(); // no format width: those end at 65535
    text + &" ".repeat(spaces)
}

/// Reads safetensors of f32, f16 or bf16, a tensor at a time.
pub fn load(path: &Path) -> Result<Loaded> {
    let at = |e: std::io::Error| format!("{}: {e}", path.display());
    let (mut file, begin, header) = open(path)?;
    let mut all = Loaded::new();
    for (name, info) in header.tensors() {
        let (from, to) = info.data_offsets;
        let mut bytes = vec![0; to - from];
        file.seek(SeekFrom::Start(begin + from as u64))
            .map_err(at)?;
        file.read_exact(&mut bytes).map_err(at)?;
        let values = floats(info.dtype, &bytes).ok_or_else(|| {
            format!(
                "{}: `{name}` is {:?}, not floats",
                path.display(),
                info.dtype
            )
        })?;
        all.insert(name, (info.shape.clone(), values));
    }
    Ok(all)
}

/// The metadata of a safetensors file that is whole: its tensors fill it to the last byte.
pub fn about(path: &Path) -> Result<HashMap<String, String>> {
    Ok(open(path)?.2.metadata().clone().unwrap_or_default())
}

/// The file, where its numbers begin, and its header, which fits the file's length.
fn open(path: &Path) -> Result<(fs::File, u64, Metadata)> {
    let at = |e: std::io::Error| format!("{}: {e}", path.display());
    let broken = || format!("{}: is no whole safetensors file", path.display());
    let mut file = fs::File::open(path).map_err(at)?;
    let size = file.metadata().map_err(at)?.len();
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|_| broken())?;
    let length = u64::from_le_bytes(length);
    if length > size.saturating_sub(8) {
        return Err(broken().into());
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header).map_err(at)?;
    let header: Metadata =
        serde_json::from_slice(&header).map_err(|e| format!("{}: {e}", path.display()))?;
    let begin = 8 + length;
    if begin + header.data_len() as u64 != size {
        return Err(broken().into());
    }
    Ok((file, begin, header))
}

/// Little-endian numbers; None if they are no floats.
pub(crate) fn floats(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let halves = || {
        bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|b| u16::from_le_bytes(*b))
    };
    Some(match dtype {
        Dtype::F32 => bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect(),
        Dtype::F16 => halves().map(half_to_float).collect(),
        Dtype::BF16 => halves().map(|h| f32::from_bits((h as u32) << 16)).collect(),
        _ => return None,
    })
}

/// IEEE 754 binary16: 1 sign bit, 5 of exponent (bias 15), 10 of fraction.
fn half_to_float(h: u16) -> f32 {
    let (sign, exponent, fraction) = ((h as u32 & 0x8000) << 16, h >> 10 & 31, h as u32 & 1023);
    match exponent {
        0 => f32::from_bits(sign | (fraction as f32 / 16_777_216.0).to_bits()), // subnormal: fraction 2^-24
        31 => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        e => f32::from_bits(sign | (e as u32 + 112) << 23 | fraction << 13),
    }
}

#[cfg(test)]
mod tests {
    use super::{half_to_float, load, save};

    #[test]
    fn a_header_may_be_long() {
        let path =
            std::env::temp_dir().join(format!("long-header-{}.safetensors", std::process::id()));
        let values = [0.5f32, -1.0];
        let tensors: Vec<_> = (0..1000)
            .map(|i| {
                (
                    format!("weight.student.layer-{i}"),
                    vec![2],
                    (&values[..]).into(),
                )
            })
            .collect();
        save(&path, &tensors, Default::default()).unwrap();
        let read = load(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        assert!(
            read.len() == 1000
                && read
                    .values()
                    .all(|(shape, v)| shape == &[2] && v[..] == values)
        );
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
        assert!(half_to_float(0x7c00).is_infinite() && half_to_float(0x7e00).is_nan());
    }
}
