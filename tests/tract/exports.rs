//! ONNX graphs that the program exports, run in tract: hidden states are PyTorch's, at any length and
//! for several rows.
//!
//! tract 0.22 reads neither WavLM's buckets of positions nor an LSTM whose number of rows is open.
//!
//! `cargo build --release && cargo test --release --manifest-path tests/tract/Cargo.toml`
use safetensors::SafeTensors;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, process};
use tract_onnx::prelude::*;

/// A small model of tests/golden, and where its hidden states stand in a golden file.
struct Golden {
    model: &'static str,
    file: &'static str,
    /// Keys of a waveform as the model reads it, and of its hidden states without their numbers.
    rows: &'static [(&'static str, &'static str)],
    layers: Range<usize>,
}

const GOLDENS: [Golden; 4] = [
    Golden {
        model: "base",
        file: "base_hidden",
        rows: &[("400/audio", "400/hf"), ("4000/audio", "4000/hf")],
        layers: 0..3,
    },
    Golden {
        model: "large",
        file: "large_hidden",
        rows: &[("400/normalised", "400/hf"), ("4000/normalised", "4000/hf")],
        layers: 0..3,
    },
    Golden {
        model: "arm",
        file: "arm",
        rows: &[("audio/a", "paper/hidden/a"), ("audio/b", "paper/hidden/b")],
        layers: 1..5,
    },
    Golden {
        model: "star",
        file: "star",
        rows: &[("audio/a", "hidden/a"), ("audio/b", "hidden/b")],
        layers: 0..5,
    },
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Exports a model of tests/golden and returns its graph as tract plans it.
fn plan(model: &str, layers: Range<usize>) -> TypedRunnableModel<TypedModel> {
    let out = env::temp_dir().join(format!("onnx-in-tract-{}-{model}", process::id()));
    let output = Command::new(root().join("target/release/pipeline"))
        .args(["export", "--format", "onnx", "--out"])
        .arg(&out)
        .args([
            "--layers",
            &layers
                .map(|layer| layer.to_string())
                .collect::<Vec<_>>()
                .join(","),
        ])
        .arg(root().join("tests/golden").join(model))
        .output()
        .expect("cargo build --release");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let graph = tract_onnx::onnx().model_for_path(out.join("model.onnx"));
    fs::remove_dir_all(&out).unwrap();
    graph
        .and_then(|graph| graph.into_optimized()?.into_runnable())
        .unwrap_or_else(|error| panic!("{model}: {error:?}"))
}

fn numbers(file: &SafeTensors, key: &str) -> Vec<f32> {
    let tensor = file.tensor(key).unwrap_or_else(|_| panic!("no `{key}`"));
    let words = tensor.data().chunks_exact(4);
    words
        .map(|word| f32::from_le_bytes(word.try_into().unwrap()))
        .collect()
}

#[test]
fn hidden_states_are_pytorchs() {
    for golden in &GOLDENS {
        let plan = plan(golden.model, golden.layers.clone());
        let path = root()
            .join("tests/golden")
            .join(golden.file)
            .with_extension("safetensors");
        let bytes = fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        for (waveform, states) in golden.rows {
            let waveform = numbers(&file, waveform);
            let samples = waveform.len();
            let twice = [&waveform[..], &waveform].concat();
            let input = Tensor::from_shape(&[2, samples], &twice).unwrap();
            let outputs = plan.run(tvec!(input.into())).unwrap();
            assert_eq!(outputs.len(), golden.layers.len(), "{}", golden.model);
            for (layer, output) in golden.layers.clone().zip(&outputs) {
                let expected = numbers(&file, &format!("{states}/{layer}"));
                let found = output.as_slice::<f32>().unwrap();
                assert_eq!(
                    found.len(),
                    2 * expected.len(),
                    "{} {states}/{layer}",
                    golden.model
                );
                let expected = expected.iter().cycle();
                let worst = found
                    .iter()
                    .zip(expected)
                    .map(|(a, b)| (a - b).abs())
                    .fold(0.0, f32::max);
                println!("{} {states}/{layer}: {worst:.1e}", golden.model);
                assert!(worst < 1e-4, "{} {states}/{layer}: {worst}", golden.model);
            }
        }
    }
}
