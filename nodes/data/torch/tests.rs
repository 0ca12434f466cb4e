//! Files that PyTorch wrote (tests/golden/formats), and what is left of them after damage.
use super::*;
use crate::data::read_files::ReadFiles;
use std::fs;
use std::io::Cursor;

fn formats(name: &str) -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/golden/formats"
    ))
    .join(name)
}

fn open(bytes: &[u8]) -> Result<TorchFile<Cursor<&[u8]>>, Fault> {
    TorchFile::of(Path::new("damaged"), Cursor::new(bytes), bytes.len() as u64)
}

/// Reads every tensor below a value, and asks for all else.
fn read_all<S: Read + Seek>(file: &mut TorchFile<S>) -> Vec<Result<Vec<f32>>> {
    let root = file.root();
    let mut tensors = vec![];
    for (_, value) in root.entries() {
        tensors.extend(value.tensor().cloned());
        let inner = value.entries().into_iter();
        tensors.extend(inner.filter_map(|(_, value)| value.tensor().cloned()));
    }
    let _ = root.json();
    let _ = root.numbers();
    tensors.iter().map(|tensor| file.read(tensor)).collect()
}

#[test]
fn both_containers_hold_the_same_values() {
    for name in ["values.pt", "values_legacy.pt"] {
        let mut file = TorchFile::open(&formats(name)).expect(name);
        let root = file.root();
        let tensor = |key: &str| {
            let tensor = root.get("tensors").and_then(|tensors| tensors.get(key));
            tensor
                .and_then(|value| value.tensor())
                .unwrap_or_else(|| panic!("{key}"))
                .clone()
        };
        let wanted = [
            "f32",
            "f16",
            "bf16",
            "f64",
            "turned",
            "every_second",
            "scalar",
            "parameter",
        ];
        let tensors = wanted.map(tensor);
        let ints = tensor("i64");
        let config = root
            .get("config")
            .expect("a dictionary")
            .json()
            .expect("plain");
        let expected = serde_json::json!({
            "name": "base", "layers": 12, "rate": 0.5, "flag": true, "none": null,
            "list": [1, [2, 3]], "namespace": {"arch": "hubert", "width": 768}, "big": null,
        });
        assert_eq!(config, expected, "{name}");
        assert_eq!(
            root.get("opaque").and_then(|value| value.class()),
            Some("decimal.Decimal")
        );
        let plain: Vec<f32> = (0..6u8).map(|i| f32::from(i) / 2.0).collect();
        let turned = vec![0.0, 1.5, 0.5, 2.0, 1.0, 2.5];
        let second = vec![0.0, 1.0, 2.0];
        let read = tensors.map(|tensor| file.read(&tensor).expect(name));
        for values in &read[..4] {
            assert_eq!(*values, plain, "{name}");
        }
        assert_eq!(read[4..], [turned, second, vec![7.0], plain], "{name}");
        let error = file.read(&ints).expect_err("integers").to_string();
        assert!(
            error.ends_with("holds I64 where floats are wanted"),
            "{error}"
        );
    }
}

#[test]
fn forms_that_are_not_read_are_named() {
    let error = |name: &str| {
        let opened = TorchFile::open(&formats(name));
        let mut file = match opened {
            Err(error) => return error.to_string(),
            Ok(file) => file,
        };
        let mut read = read_all(&mut file).into_iter();
        let error = read.find_map(Result::err);
        error
            .unwrap_or_else(|| panic!("{name} is read"))
            .to_string()
    };
    assert!(error("script.pt").contains("is a TorchScript archive"));
    assert!(error("big_endian.pt").contains("holds big-endian numbers"));
    assert!(error("expanded.pt").contains("repeats its numbers"));
    assert!(error("compressed.pt").contains("is compressed"));
}

#[test]
fn an_object_of_numpy_is_read() {
    let mut read_files = ReadFiles::default();
    let numbers = read_npy(&formats("global_cmvn.npy"), &mut read_files, |value| {
        let numbers = |key: &str| value.get(key).and_then(|value| value.numbers());
        Ok([numbers("mean"), numbers("std")].map(|n| n.expect("floats").len()))
    });
    assert_eq!(numbers.expect("a dictionary"), [80, 80]);
}

#[test]
fn files_that_were_cut_off_say_so() {
    for name in ["values.pt", "values_legacy.pt"] {
        let whole = fs::read(formats(name)).expect(name);
        for length in (0..whole.len()).step_by(23) {
            let opened = open(&whole[..length]);
            let error = opened
                .err()
                .unwrap_or_else(|| panic!("{name} is read at {length}"));
            let says = ["is cut off", "is no file of torch.save"];
            assert!(
                says.iter().any(|words| error.contains(words)),
                "{name} {length}: {error}"
            );
        }
    }
}

/// Changes some bytes of a file, inserts or removes some.
fn mutated(whole: &[u8], draw: &mut impl FnMut() -> u64) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..=draw() % 4 {
        let place = draw() as usize % bytes.len();
        match draw() % 8 {
            0 => bytes.truncate(place + 1),
            1 => bytes.insert(place, draw() as u8),
            2 => drop(bytes.remove(place)),
            3 => bytes[place] = [0, 0x7f, 0x80, 0xff][draw() as usize % 4],
            4 => {
                let length = 8.min(bytes.len() - place);
                bytes[place..place + length].fill(0xff);
            }
            5 => {
                let from = draw() as usize % bytes.len();
                let length = (draw() as usize % 32).min(bytes.len() - from.max(place));
                bytes.copy_within(from..from + length, place);
            }
            _ => bytes[place] ^= 1 << (draw() % 8),
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
    bytes
}

/// 100,000 damaged files: none panics, none takes memory that it does not have.
#[test]
fn damaged_files_are_errors_and_nothing_worse() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let files = ["tiny.pt", "tiny_legacy.pt"].map(|name| fs::read(formats(name)).expect(name));
    let mut refused = 0;
    for round in 0..100_000 {
        let bytes = mutated(&files[round % files.len()], &mut draw);
        match open(&bytes) {
            Ok(mut file) => drop(read_all(&mut file)),
            Err(_) => refused += 1,
        }
    }
    assert!((10_000..100_000).contains(&refused), "{refused} refused");
}
