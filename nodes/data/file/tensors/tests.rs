//! What is written comes back, and damage does not pass.
use super::*;
use crate::data::file::create_temporary_folder;
use std::fs;
use std::path::PathBuf;

/// A file of a test, removed with its folder.
struct TestFile(PathBuf);

impl TestFile {
    fn new() -> TestFile {
        let folder = create_temporary_folder(&std::env::temp_dir().join("tensors")).unwrap();
        TestFile(folder.join("x.safetensors"))
    }

    fn save(&self) -> Vec<u8> {
        let matrix = (
            "a.weight".to_owned(),
            vec![2, 1],
            (&[0.5f32, -1.0][..]).into(),
        );
        let vector = ("a.bias".to_owned(), vec![1], (&[3.0f32][..]).into());
        let metadata = [("update".to_owned(), "3".to_owned())].into();
        save(&self.0, &[matrix, vector], metadata).unwrap();
        fs::read(&self.0).unwrap()
    }

    /// Writes a file of one tensor, as another program may write it.
    fn write(&self, info: &str, bytes: &[u8]) {
        let header = format!(r#"{{"x": {info}}}"#);
        let length = (header.len() as u64).to_le_bytes();
        fs::write(&self.0, [&length[..], header.as_bytes(), bytes].concat()).unwrap();
    }

    fn error(&self) -> String {
        Tensors::read(&self.0).err().expect("an error").to_string()
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.parent().unwrap());
    }
}

#[test]
fn a_file_carries_the_checksum_of_its_values() {
    let file = TestFile::new();
    let bytes = file.save();
    let (read, hash) = Tensors::read_and_hash(&file.0).unwrap();
    assert_eq!(hash, blake3::hash(&bytes));
    assert_eq!(read.floats["a.weight"], (vec![2, 1], vec![0.5, -1.0]));
    assert_eq!(read.metadata["update"], "3");
    let values = [0.5f32, -1.0, 3.0].map(f32::to_le_bytes).concat();
    assert!(bytes.ends_with(&values));
    assert_eq!(
        read.metadata["blake3"],
        blake3::hash(&values).to_hex().as_str()
    );
}

#[test]
fn damaged_values_and_lost_ends_are_errors() {
    let file = TestFile::new();
    let bytes = file.save();
    let values = bytes.len() - 12;
    for offset in values..bytes.len() {
        let mut bad = bytes.clone();
        bad[offset] ^= 1;
        fs::write(&file.0, bad).unwrap();
        assert!(
            file.error().contains("their checksum differs"),
            "byte {offset}"
        );
        assert!(matches!(verify(&file.0), Err(TensorError::Damaged(_))));
    }
    for length in 0..bytes.len() {
        fs::write(&file.0, &bytes[..length]).unwrap();
        assert!(
            file.error().ends_with("is no whole safetensors file"),
            "{length}"
        );
    }
    fs::remove_file(&file.0).unwrap();
    assert!(matches!(verify(&file.0), Err(TensorError::Io(_))));
    fs::create_dir(&file.0).unwrap();
    assert!(file.error().ends_with("it is a folder, not a file"));
}

#[test]
fn damaged_headers_are_errors_or_change_a_name() {
    let file = TestFile::new();
    let bytes = file.save();
    for offset in 0..bytes.len() - 12 {
        for bits in [1, 4, 0x80, 0xff] {
            let mut bad = bytes.clone();
            bad[offset] ^= bits;
            fs::write(&file.0, bad).unwrap();
            if let Ok(read) = Tensors::read(&file.0) {
                let sizes = read.floats.values().map(|(_, values)| values.len());
                assert_eq!(sizes.sum::<usize>(), 3, "byte {offset}");
            }
        }
    }
}

#[test]
fn types_and_sizes_of_other_programs() {
    let file = TestFile::new();
    file.write(
        r#"{"dtype": "F64", "shape": [2], "data_offsets": [0, 16]}"#,
        &[0.25f64, -7.0].map(f64::to_le_bytes).concat(),
    );
    assert_eq!(load(&file.0).unwrap()["x"].1, [0.25, -7.0]);

    file.write(
        r#"{"dtype": "I64", "shape": [], "data_offsets": [0, 8]}"#,
        &[0; 8],
    );
    let mut integers = Tensors::read(&file.0).unwrap();
    assert!(integers.floats.is_empty());
    let error = integers.take("x", &[]).unwrap_err().to_string();
    assert!(error.contains("`x` is I64; this version reads"), "{error}");

    for (dtype, shape, bytes) in [
        ("F16", "[3]", 4),
        ("BF16", "[3]", 5),
        ("F32", "[2]", 12),
        ("F32", "[18446744073709551615, 2]", 8),
    ] {
        let info =
            format!(r#"{{"dtype": "{dtype}", "shape": {shape}, "data_offsets": [0, {bytes}]}}"#);
        file.write(&info, &vec![0; bytes]);
        let error = file.error();
        assert!(error.contains(&format!("`x` has {bytes} bytes")), "{error}");
    }
    file.write(
        r#"{"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}"#,
        &[0; 4],
    );
    assert!(file.error().contains("`x` has the bytes 4 to 0"));
}

#[test]
fn a_header_may_be_long() {
    let file = TestFile::new();
    let values = [0.5f32, -1.0];
    let mut tensors = vec![];
    for layer in 0..1000 {
        let name = format!("weight.student.layer-{layer}");
        tensors.push((name, vec![2], (&values[..]).into()));
    }
    save(&file.0, &tensors, Default::default()).unwrap();
    let loaded = load(&file.0).unwrap();
    assert_eq!(loaded.len(), 1000);
    for (shape, loaded_values) in loaded.values() {
        assert_eq!(shape, &[2]);
        assert_eq!(loaded_values[..], values);
    }
}
