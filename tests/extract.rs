//! `pipeline extract` in another precision, into a wrong place, and of a broken model.
use crate::program::{Folder, call, last_line, pipeline, root, stderr};
use crate::sample::sample;
use arrow::array::AsArray;
use arrow::datatypes::{Float32Type, Int32Type};
use compute::gemm::Precision;
use nodes::data::file::{load, save};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::process::Output;

const MODEL: &str = "data/sample/teacher";
const AUDIO: &str = "data/sample/audio/254-12312-0000.flac";

/// Extracts all layers in a precision.
fn extract(folder: &Folder, precision: &str) -> Output {
    let mut command = pipeline(root(), &["extract", MODEL, AUDIO, "--layers", "all"]);
    let out = folder.path().join(precision);
    command.args(["--precision", precision]).arg("--out");
    command.arg(out).output().unwrap()
}

/// Returns the hidden states of each layer.
fn states(folder: &Folder, precision: &str) -> Vec<Vec<f32>> {
    let file = fs::File::open(folder.path().join(precision)).unwrap();
    let batches = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let mut states = vec![];
    for batch in batches.build().unwrap() {
        let batch = batch.unwrap();
        let hidden = batch.column_by_name("hidden").unwrap().as_list::<i32>();
        let layers = hidden.iter().flatten();
        states.extend(layers.map(|layer| layer.as_primitive::<Float32Type>().values().to_vec()));
    }
    states
}

/// Where a machine has no bf16, f32 is computed and a line says so.
#[test]
fn hidden_states_in_bf16_are_near_those_in_f32() {
    let folder = Folder::new("extract-bf16");
    assert!(extract(&folder, "f32").status.success());
    let output = extract(&folder, "bf16");
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    let has_bf16 = Precision::Bf16.on_device() == Precision::Bf16;
    assert_eq!(said.contains("it computes in f32"), !has_bf16, "{said}");
    let pairs = states(&folder, "f32").into_iter();
    for (layer, (exact, rounded)) in pairs.zip(states(&folder, "bf16")).enumerate() {
        assert_eq!(exact.len(), rounded.len());
        let squares = exact.iter().map(|x| x * x).sum::<f32>();
        let differences = exact.iter().zip(&rounded);
        let differences = differences.map(|(a, b)| (a - b).powi(2)).sum::<f32>();
        let share = (differences / squares).sqrt();
        let range = if has_bf16 { 1e-5..5e-2 } else { 0.0..1e-30 };
        assert!(range.contains(&share), "layer {layer}: {share}");
    }
}

/// From layer 1 on a student that joins two frames has half of them, without an odd last one.
#[test]
fn joined_frames_are_half_as_many() {
    let folder = sample("extract-joined");
    let model = root().join("tests/golden/fit");
    let samples = [9000, 9000 + 1700]; // of the sample's first two files
    let mut command = pipeline(folder.path(), &["extract", model.to_str().unwrap()]);
    command.args(["0.wav", "1.wav", "--layers", "all", "--out", "o.parquet"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let file = fs::File::open(folder.path().join("o.parquet")).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let mut found = vec![];
    for batch in reader.build().unwrap() {
        let batch = batch.unwrap();
        let column = |name: &str| batch[name].as_primitive::<Int32Type>().values().to_vec();
        found.extend(column("layer").into_iter().zip(column("frames")));
    }
    let mut expected = vec![];
    for samples in samples {
        let frames = (samples - 400) / 320 + 1;
        expected.push((0, frames));
        expected.extend((1..=4).map(|layer| (layer, frames / 2)));
    }
    assert_eq!(found, expected);
}

/// tf32 is of a GPU's products alone, and what is exported is checked in f32.
#[test]
fn a_precision_that_is_none_of_a_command_is_refused() {
    let folder = Folder::new("extract-precision");
    let output = extract(&folder, "tf32");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("[possible values: f32, bf16]"));
    assert!(!folder.path().join("tf32").exists());
    let arguments = [
        "export",
        MODEL,
        "--format",
        "hf",
        "--out",
        "o",
        "--precision",
        "bf16",
    ];
    let output = call(root(), &arguments);
    assert_eq!(output.status.code(), Some(2), "{}", last_line(&output));
}

#[test]
fn a_folder_is_no_file_to_write() {
    let folder = Folder::new("extract-folder");
    let out = folder.path().to_str().unwrap();
    let output = call(
        root(),
        &["extract", MODEL, AUDIO, "--layers", "0", "--out", out],
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(
        last_line(&output).ends_with("is a folder"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn hidden_states_that_are_not_finite_are_told() {
    let folder = Folder::new("extract-nan");
    let golden = root().join("tests/golden/base");
    for file in ["config.json", "preprocessor_config.json"] {
        if golden.join(file).exists() {
            fs::copy(golden.join(file), folder.path().join(file)).unwrap();
        }
    }
    let tensors = load(&golden.join("model.safetensors")).unwrap();
    let broken = tensors.iter().map(|(name, (shape, values))| {
        let mut values = values.clone();
        if name == "encoder.layers.1.attention.q_proj.bias" {
            values[0] = f32::NAN;
        }
        (name.clone(), shape.clone(), Cow::Owned(values))
    });
    let broken: Vec<_> = broken.collect();
    let file = folder.path().join("model.safetensors");
    save(&file, &broken, BTreeMap::new()).unwrap();
    let model = folder.path().to_str().unwrap();
    let out = folder.path().join("out.parquet");
    let out = out.to_str().unwrap();
    let output = call(
        root(),
        &["extract", model, AUDIO, "--layers", "all", "--out", out],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(
        said.contains("layer 2 has numbers that are not finite"),
        "{said}"
    );
}

/// What is no regular file stays, and so does what is read; a link leads to the file that is replaced.
#[cfg(unix)]
#[test]
fn only_a_file_that_is_not_read_is_replaced() {
    let folder = sample("extract-over");
    let path = |name: &str| folder.path().join(name);
    let extract = |out: &str| {
        let arguments = ["extract", "teacher", "0.wav", "--layers", "0", "--out", out];
        call(folder.path(), &arguments)
    };
    let is_table = |name: &str| fs::read(path(name)).unwrap().starts_with(b"PAR1");
    let made = std::process::Command::new("mkfifo")
        .arg(path("pipe"))
        .status();
    assert!(made.unwrap().success());
    std::os::unix::fs::symlink("nowhere", path("dangling")).unwrap();
    let audio = fs::read(path("0.wav")).unwrap();
    for (out, says) in [
        ("pipe", "pipe: is no regular file"),
        ("dangling", "dangling: is a link to nothing"),
        ("0.wav", "0.wav: is one of the files that are read"),
        (
            "teacher/config.json",
            "config.json: is one of the files that are read",
        ),
    ] {
        let output = extract(out);
        assert_eq!(output.status.code(), Some(1), "{out}");
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
    }
    assert!(fs::read(path("0.wav")).unwrap() == audio);
    fs::write(path("real.pq"), "old").unwrap();
    std::os::unix::fs::symlink("real.pq", path("link.pq")).unwrap();
    fs::write(path("real.pq.tmp-0123456789abcdef"), "of a killed writer").unwrap();
    assert!(extract("link.pq").status.success());
    assert!(path("link.pq").is_symlink() && is_table("real.pq"));
    assert!(!path("real.pq.tmp-0123456789abcdef").exists());
    assert!(extract("real.pq").status.success());
    fs::write(path("new.pq.tmp-0123456789abcdef"), "of a killed writer").unwrap();
    assert!(extract("new.pq").status.success());
    assert!(!path("new.pq.tmp-0123456789abcdef").exists());
}
