//! Files of centroids: safetensors with a tensor `centroids`, and NumPy's `.npy`
//! (<https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>).
use super::Centroids;
use crate::Result;
use crate::data::error::{PathContext, error_at};
use crate::data::{file, regular};
use safetensors::Dtype;
use std::io::Read;
use std::path::Path;

const NAME: &str = "centroids";

impl Centroids {
    /// Writes the tensor `centroids`, (count, width). Errors name the file.
    pub fn save(&self, path: &Path) -> Result<()> {
        let shape = vec![self.count(), self.width];
        let tensor = (NAME.into(), shape, (&self.values).into());
        file::save(path, &[tensor], Default::default())
    }

    /// Reads an `.npy` of 2 dimensions, or the tensor `centroids` of a safetensors file. Errors
    /// name the file.
    pub fn load(path: &Path) -> Result<Centroids> {
        let (shape, values) = if path.extension().is_some_and(|e| e == "npy") {
            let mut bytes = vec![];
            regular::open(path)
                .at(path)?
                .read_to_end(&mut bytes)
                .at(path)?;
            parse_npy(&bytes)
                .ok_or("is no NumPy array of floats in C order")
                .at(path)?
        } else {
            let mut tensors = file::Tensors::read(path)?;
            let centroids = tensors.floats.remove(NAME);
            centroids
                .ok_or_else(|| tensors.why_missing(NAME))
                .at(path)?
        };
        let width = match shape[..] {
            [count, width] if count * width > 0 => width,
            _ => {
                let message = format!("has the shape {shape:?}, not (count, width)");
                return Err(error_at(path, message));
            }
        };
        if !values.iter().all(|x| x.is_finite()) {
            return Err(error_at(path, "a centroid is not finite"));
        }
        Ok(Centroids { values, width })
    }
}

/// Parses the shape and the values of an `.npy`: a magic number, a version, the header's length,
/// the header as a Python dictionary, and the values. Returns `None` unless they are floats in C
/// order.
fn parse_npy(bytes: &[u8]) -> Option<(Vec<usize>, Vec<f32>)> {
    let (version, rest) = bytes.strip_prefix(b"\x93NUMPY")?.split_at_checked(2)?;
    let length_bytes = if version[0] == 1 { 2 } else { 4 };
    let (length, rest) = rest.split_at_checked(length_bytes)?;
    let length = length.iter().rev().fold(0, |n, b| n << 8 | *b as usize);
    let (header, data) = rest.split_at_checked(length)?;
    let header = std::str::from_utf8(header).ok()?;
    let after = |key: &str| {
        let (_, rest) = header.split_once(key)?;
        Some(rest.trim_start_matches([':', ' ']))
    };
    if !after("'fortran_order'")?.starts_with("False") {
        return None;
    }
    let (shape, _) = after("'shape'")?.strip_prefix('(')?.split_once(')')?;
    let shape: Vec<usize> = shape
        .split(',')
        .map(str::trim)
        .filter(|size| !size.is_empty())
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    let dtype = match after("'descr'")?.get(1..4)? {
        "<f2" => Dtype::F16,
        "<f4" => Dtype::F32,
        "<f8" => Dtype::F64,
        _ => return None,
    };
    let count = shape.iter().try_fold(1usize, |n, m| n.checked_mul(*m))?;
    let bytes = count.checked_mul(dtype.bitsize() / 8)?;
    let values = file::decode_floats(dtype, data).filter(|_| data.len() == bytes)?;
    Some((shape, values))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(descr: &str, order: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
        let length = (header.len() as u16).to_le_bytes();
        let magic = b"\x93NUMPY\x01\x00";
        [magic, &length[..], header.as_bytes(), data].concat()
    }

    #[test]
    fn centroids_come_back() {
        let folder = std::env::temp_dir().join(format!("centroids-{}", std::process::id()));
        let three = Centroids {
            values: vec![1.0, -2.0, 0.5, 0.0, 3.0, 4.0],
            width: 2,
        };
        let path = folder.join("c.safetensors");
        three.save(&path).expect("a file");
        assert_eq!(Centroids::load(&path).expect("centroids"), three);

        let doubles: Vec<u8> = three
            .values
            .iter()
            .flat_map(|x| (*x as f64).to_le_bytes())
            .collect();
        let halves: Vec<u8> = [0x3c00u16, 0xc000, 0x3800, 0, 0x4200, 0x4400]
            .iter()
            .flat_map(|half| half.to_le_bytes())
            .collect();
        let path = folder.join("c.npy");
        for (descr, data) in [("<f8", &doubles), ("<f2", &halves)] {
            std::fs::write(&path, npy(descr, "False", "(3, 2)", data)).expect("a file");
            assert_eq!(Centroids::load(&path).expect(descr), three);
        }
        for bytes in [
            npy("<f8", "True", "(3, 2)", &doubles),
            npy("<i8", "False", "(3, 2)", &doubles),
            npy("<f8", "False", "(6,)", &doubles),
            npy("<f8", "False", "(3, 3)", &doubles),
            npy("<f2", "False", "(3, 2)", &[&halves[..], &[0]].concat()),
            npy("<f8", "False", "(3, 2)", &doubles)[..40].to_vec(),
            vec![],
        ] {
            std::fs::write(&path, bytes).expect("a file");
            let error = Centroids::load(&path).expect_err("no centroids");
            let start = path.to_str().expect("text");
            assert!(error.to_string().starts_with(start), "{error}");
        }
        std::fs::remove_dir_all(&folder).expect("the folder");
    }
}
