//! A small task for the program: ten utterances of noise, a HuBERT of 15,000 parameters, a graph of two phases.
use crate::program::{Folder, output, pipeline};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Output;

const GRAPH: &str = r#"{
  "name": "g",
  "seed": 3,
  "phases": [
    { "name": "prune", "nodes": {
        "speech":  { "kind": "decode", "manifest": "train.tsv", "dev": "dev.tsv", "dev_every": 10, "seconds_per_batch": 2, "crop": "bucket", "bucket_seconds": 0.2, "views": 2 },
        "teacher": { "kind": "teacher", "inputs": { "speech": "speech.speech" }, "model": "teacher", "layers": [0, 2] },
        "gates":   { "kind": "prune-step", "model": "teacher", "units": ["conv", "head", "ffn"], "sparsity": 0.5, "warmup_steps": 10 },
        "student": { "kind": "student", "inputs": { "speech": "speech.speech", "gates": "gates.gates" }, "init": "teacher", "layers": [0, 2], "architecture": { "hidden_dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.1 } },
        "heads":   { "kind": "project", "inputs": { "hiddens": "student.hiddens" }, "width": 24, "init": "identity" },
        "match":   { "kind": "loss", "inputs": { "student": "heads.hiddens", "target": "teacher.targets" }, "terms": [{ "type": "l1" }, { "type": "cosine" }] },
        "step":    { "kind": "optimize", "inputs": { "losses": ["match.loss", "gates.penalty"] }, "steps": 24, "accumulate": 2, "checkpoint_every": 7, "rates": { "student": 1e-3, "heads": 1e-3, "gates": 1e-1 }, "clip_norm": 10 },
        "log":     { "kind": "log", "inputs": { "metrics": "step.metrics" } } } },
    { "name": "distill", "nodes": {
        "speech":  { "kind": "decode", "manifest": "train.tsv", "seconds_per_batch": 2, "crop": "bucket", "bucket_seconds": 0.2, "views": 2 },
        "teacher": { "kind": "teacher", "inputs": { "speech": "speech.speech" }, "model": "teacher", "layers": [0, 2] },
        "student": { "kind": "student", "inputs": { "speech": "speech.speech" }, "init": "$OUT/prune/student", "layers": [0, 2] },
        "heads":   { "kind": "project", "inputs": { "hiddens": "student.hiddens" }, "width": 24, "init": "$OUT/prune/heads/heads.safetensors" },
        "match":   { "kind": "loss", "inputs": { "student": "heads.hiddens", "target": "teacher.targets" }, "terms": [{ "type": "mse" }], "reduce": "sum" },
        "step":    { "kind": "optimize", "inputs": { "losses": ["match.loss"] }, "steps": 20, "checkpoint_every": 7, "rates": { "student": 1e-3, "heads": 0 }, "schedule": { "type": "tri-stage", "warmup_steps": 3, "hold_steps": 5 }, "optimizer": "adamw-s3prl", "weight_decay": 0.01 } } } ] }"#;

/// The folder with everything the graph `g.json` needs.
pub fn sample(name: &str) -> Folder {
    let folder = Folder::new(name);
    fs::write(folder.0.join("g.json"), GRAPH).unwrap();
    for (manifest, range) in [("train.tsv", 0..8), ("dev.tsv", 8..10)] {
        let mut lines = String::from(".\n");
        for i in range {
            let samples = 9000 + 1700 * i;
            lines += &format!("{i}.wav\t{samples}\n");
            noise(&folder.0.join(format!("{i}.wav")), samples, i as u32);
        }
        fs::write(folder.0.join(manifest), lines).unwrap();
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/base");
    fs::create_dir(folder.0.join("teacher")).unwrap();
    for file in fs::read_dir(golden).unwrap().map(|f| f.unwrap()) {
        fs::copy(file.path(), folder.0.join("teacher").join(file.file_name())).unwrap();
    }
    folder
}

pub fn noise(path: &Path, samples: usize, seed: u32) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(path, spec).unwrap();
    let mut state = seed.wrapping_mul(747_796_405).wrapping_add(1);
    for i in 0..samples {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let tone = ((i as f32) * 0.01 * (seed as f32 + 1.0)).sin() * 6000.0;
        wav.write_sample((tone + (state >> 20) as f32 - 2048.0) as i16)
            .unwrap();
    }
    wav.finalize().unwrap();
}

pub fn run(folder: &Folder, out: &str, more: &[&str]) -> Output {
    output(pipeline(&folder.0, &["run", "g.json", "--out", out]).args(more))
}

/// Every file of a run that must not depend on how it went.
pub fn left(run: &Path) -> Vec<Vec<u8>> {
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let line = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line["wall_time"] = Value::Null;
        if line["name"].as_str().unwrap().ends_with("audio_per_second") {
            String::new()
        } else {
            format!("{line}\n")
        }
    };
    let models = ["prune", "distill"].into_iter().flat_map(|phase| {
        [
            "student/config.json",
            "student/model.safetensors",
            "heads/heads.safetensors",
        ]
        .map(|f| format!("{phase}/{f}"))
    });
    let files = models.map(|file| fs::read(run.join(file)).unwrap());
    [metrics.lines().map(line).collect::<String>().into_bytes()]
        .into_iter()
        .chain(files)
        .collect()
}
