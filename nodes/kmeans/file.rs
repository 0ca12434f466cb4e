//! Centroids as files: `centroids.safetensors`, and NumPy's `.npy`.
use super::Centroids;
use crate::Result;
use crate::data::file;
use std::path::Path;

const NAME: &str = "centroids";

impl Centroids {
    /// Writes them as the tensor `centroids`, (count, width).
    pub fn save(&self, path: &Path) -> Result<()> {
        file::save(
            path,
            &[(
                NAME.into(),
                vec![self.count(), self.width],
                (&self.values).into(),
            )],
            Default::default(),
        )
    }

    /// Reads `.safetensors` with a tensor `centroids`, or `.npy` of 2 dimensions. Errors name the file.
    pub fn load(path: &Path) -> Result<Centroids> {
        let (shape, values) = if path.extension().is_some_and(|e| e == "npy") {
            let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
            npy(&bytes).ok_or_else(|| {
                format!("{}: is no NumPy array of floats in C order", path.display())
            })?
        } else {
            let none = || format!("{}: there is no tensor `{NAME}`", path.display());
            file::load(path)?.remove(NAME).ok_or_else(none)?
        };
        let at = |says: String| format!("{}: {says}", path.display());
        match shape[..] {
            [count, width] if count * width > 0 => match values.iter().all(|x| x.is_finite()) {
                true => Ok(Centroids { values, width }),
                false => Err(at("a centroid is not finite".into()).into()),
            },
            _ => Err(at(format!("has the shape {shape:?}, not (count, width)")).into()),
        }
    }
}

/// Shape and numbers: magic, version, length of a header that is a Python dict, the numbers.
fn npy(bytes: &[u8]) -> Option<(Vec<usize>, Vec<f32>)> {
    let (version, rest) = bytes.strip_prefix(b"\x93NUMPY")?.split_at_checked(2)?;
    let (length, rest) = rest.split_at_checked(if version[0] == 1 { 2 } else { 4 })?;
    let length = length.iter().rev().fold(0, |n, b| n << 8 | *b as usize);
    let (header, numbers) = rest.split_at_checked(length)?;
    let header = std::str::from_utf8(header).ok()?;
    let after = |key: &str| {
        header
            .split_once(key)
            .map(|(_, after)| after.trim_start_matches([':', ' ']))
    };
    let shape = after("'shape'")?.strip_prefix('(')?.split_once(')')?.0;
    let shape: Vec<usize> = shape
        .split(',')
        .map(str::trim)
        .filter(|n| !n.is_empty())
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    let descr = after("'descr'")?.get(1..4)?;
    let doubles = || {
        numbers
            .as_chunks::<8>()
            .0
            .iter()
            .map(|b| f64::from_le_bytes(*b) as f32)
            .collect()
    };
    let values: Vec<f32> = match descr {
        "<f2" => file::floats(safetensors::Dtype::F16, numbers)?,
        "<f4" => file::floats(safetensors::Dtype::F32, numbers)?,
        "<f8" => doubles(),
        _ => return None,
    };
    let all = shape.iter().try_fold(1usize, |n, m| n.checked_mul(*m))?;
    (after("'fortran_order'")?.starts_with("False") && values.len() == all)
        .then_some((shape, values))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(descr: &str, order: &str, shape: &str, numbers: &[u8]) -> Vec<u8> {
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
        [
            b"\x93NUMPY\x01\x00",
            &(header.len() as u16).to_le_bytes()[..],
            header.as_bytes(),
            numbers,
        ]
        .concat()
    }

    #[test]
    fn centroids_come_back() {
        let folder = std::env::temp_dir().join(format!("centroids-{}", std::process::id()));
        let three = Centroids {
            values: vec![1.0, -2.0, 0.5, 0.0, 3.0, 4.0],
            width: 2,
        };
        three.save(&folder.join("c.safetensors")).expect("a file");
        assert_eq!(
            Centroids::load(&folder.join("c.safetensors")).expect("centroids"),
            three
        );
        let doubles: Vec<u8> = three
            .values
            .iter()
            .flat_map(|x| (*x as f64).to_le_bytes())
            .collect();
        let halves: Vec<u8> = [0x3c00u16, 0xc000, 0x3800, 0, 0x4200, 0x4400]
            .iter()
            .flat_map(|h| h.to_le_bytes())
            .collect();
        let path = folder.join("c.npy");
        for (descr, numbers) in [("<f8", &doubles), ("<f2", &halves)] {
            std::fs::write(&path, array(descr, "False", "(3, 2)", numbers)).expect("a file");
            assert_eq!(Centroids::load(&path).expect(descr), three);
        }
        for bytes in [
            array("<f8", "True", "(3, 2)", &doubles),
            array("<i8", "False", "(3, 2)", &doubles),
            array("<f8", "False", "(6,)", &doubles),
            array("<f8", "False", "(3, 3)", &doubles),
            array("<f8", "False", "(3, 2)", &doubles)[..40].to_vec(),
            vec![],
        ] {
            std::fs::write(&path, bytes).expect("a file");
            let says = Centroids::load(&path)
                .expect_err("no centroids")
                .to_string();
            assert!(says.starts_with(path.to_str().expect("text")), "{says}");
        }
        std::fs::remove_dir_all(&folder).expect("the folder");
    }
}
