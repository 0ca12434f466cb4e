//! A small task for the program: ten utterances of noise, a HuBERT of 15,000 parameters, and a
//! graph of two phases.
use crate::program::{Folder, execute, pipeline, root, stderr};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Output;

/// The graph `g.json`: pruning, then distillation.
const GRAPH: &str = include_str!("data/sample-graph.json");

/// Creates a folder with everything that the graph `g.json` needs.
pub(crate) fn sample(name: &str) -> Folder {
    let folder = Folder::new(name);
    fs::write(folder.path().join("g.json"), GRAPH.trim_end()).unwrap();
    for (manifest, range) in [("train.tsv", 0..8), ("dev.tsv", 8..10)] {
        let mut lines = String::from(".\n");
        for i in range {
            let samples = 9000 + 1700 * i;
            lines += &format!("{i}.wav\t{samples}\n");
            noise(&folder.path().join(format!("{i}.wav")), samples, i as u32);
        }
        fs::write(folder.path().join(manifest), lines).unwrap();
    }
    let golden = root().join("tests/golden/base");
    fs::create_dir(folder.path().join("teacher")).unwrap();
    for file in fs::read_dir(golden).unwrap().map(Result::unwrap) {
        fs::copy(
            file.path(),
            folder.path().join("teacher").join(file.file_name()),
        )
        .unwrap();
    }
    folder
}

/// Returns what a run says that is not resumed because of these differences.
pub(crate) fn refusal(out: &str, differences: &str) -> String {
    format!(
        "cannot resume {out}: these settings differ from the run's: {differences}; undo the change, \
         or begin another run with `--out`\n"
    )
}

/// Writes a WAV file of a tone with noise.
pub(crate) fn noise(path: &Path, samples: usize, seed: u32) {
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

/// Runs `g.json` into the folder `out`, with more arguments.
pub(crate) fn run(folder: &Folder, out: &str, extra: &[&str]) -> Output {
    execute(pipeline(folder.path(), &["run", "g.json", "--out", out]).args(extra))
}

/// Runs `g.json` into the folder `out`, with more arguments, and returns its [`results`]; it must
/// succeed.
pub(crate) fn finished(folder: &Folder, out: &str, extra: &[&str]) -> Vec<Vec<u8>> {
    let output = run(folder, out, extra);
    assert!(output.status.success(), "{}", stderr(&output));
    results(&folder.path().join(out))
}

/// Returns what a run must leave no matter how often it is interrupted: its metrics without times,
/// its models and its projection heads.
pub(crate) fn results(run: &Path) -> Vec<Vec<u8>> {
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let mut steady_metrics = String::new();
    for line in metrics.lines() {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line["wall_time"] = Value::Null;
        if !line["name"].as_str().unwrap().ends_with("audio_per_second") {
            steady_metrics += &format!("{line}\n");
        }
    }
    let mut files = vec![steady_metrics.into_bytes()];
    for phase in ["prune", "distill"] {
        for file in [
            "student/config.json",
            "student/model.safetensors",
            "heads/heads.safetensors",
        ] {
            files.push(fs::read(run.join(phase).join(file)).unwrap());
        }
    }
    files
}
