//! `pipeline probe`.
use crate::program::{call, stderr};
use crate::sample::sample;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Writes a tone of some seconds, `radians` a sample.
fn tone(path: &Path, samples: usize, radians: f32, phase: usize) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(path, spec).unwrap();
    for t in 0..samples {
        let sine = (radians * (t + 37 * phase) as f32).sin();
        wav.write_sample((6000.0 * sine) as i16).unwrap();
    }
    wav.finalize().unwrap();
}

/// Utterances of a low tone are told from those of a high one, of other lengths and phases than
/// those in training; a label that was not in training is never right.
#[test]
fn the_probe_predicts_a_label_an_utterance() {
    let folder = sample("probe-label");
    let mut lines = String::from("path\tspeaker\tlabel\tsplit\n");
    for i in 0..16 {
        let (label, radians) = [("low", 0.05), ("high", 0.8)][i % 2];
        let split = ["train", "dev", "other-test"][usize::from(i >= 8) + usize::from(i >= 14)];
        let label = if i == 15 { "new" } else { label };
        tone(
            &folder.path().join(format!("t{i}.wav")),
            5000 + 300 * i,
            radians,
            i,
        );
        lines += &format!("t{i}.wav\t{i}\t{label}\t{split}\n");
    }
    lines += "missing.wav\t99\t\ttrain\n";
    fs::write(folder.path().join("labels.tsv"), &lines).unwrap();
    let probe = |extra: &[&str]| {
        let arguments = [&["probe", "teacher", "--labels", "labels.tsv"][..], extra].concat();
        call(folder.path(), &arguments)
    };
    let output = probe(&["--format", "json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        [
            &found["labels"],
            &found["train_utterances"],
            &found["utterances"]
        ],
        [&json!(2), &json!(8), &json!({ "dev": 6, "other-test": 2 })]
    );
    assert_eq!(found["constant"]["dev"], 0.5);
    let layers = found["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 3);
    for layer in layers {
        let expected = json!({ "dev": 1.0, "other-test": 0.5 });
        assert_eq!(layer["accuracy"], expected, "{found}");
    }
    let text = String::from_utf8(probe(&["--layers", "2"]).stdout).unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    let expected = [
        "layer",
        "dev",
        "other-test",
        "utterances",
        "6",
        "2",
        "constant",
        "50.0",
    ];
    assert_eq!(words[..8], expected, "{text}");
    let fbank = call(folder.path(), &["probe", "fbank", "--labels", "labels.tsv"]);
    assert!(fbank.status.success(), "{}", stderr(&fbank));

    tone(&folder.path().join("t3.wav"), 300, 0.1, 0);
    let output = probe(&[]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(
        text.starts_with("t3.wav: is too short for a frame"),
        "{text}"
    );
}

/// Every layer of a random model distinguishes a low and a high tone, at other phases than those it
/// was trained on.
#[test]
fn the_probe_distinguishes_tones() {
    let folder = sample("probe");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut lines = String::from("path\tsplit\tspeaker\tphones\n");
    for i in 0..10 {
        let mut wav =
            hound::WavWriter::create(folder.path().join(format!("t{i}.wav")), spec).unwrap();
        for t in 0..8000 {
            let radians_per_sample = if t < 4000 { 0.05 } else { 0.8 };
            wav.write_sample(
                (6000.0 * (radians_per_sample * (t % 4000 + 37 * i) as f32).sin()) as i16,
            )
            .unwrap();
        }
        wav.finalize().unwrap();
        let split = if i < 6 { "train" } else { "dev" };
        lines += &format!("t{i}.wav\t{split}\t{i}\t0:0.25:A 0.25:0.5:B\n");
    }
    fs::write(folder.path().join("phones.tsv"), &lines).unwrap();
    let probe = |extra: &[&str]| {
        let arguments = [&["probe", "teacher", "--labels", "phones.tsv"][..], extra].concat();
        call(folder.path(), &arguments)
    };
    let output = probe(&["--format", "json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (
            &found["phones"],
            &found["train_frames"],
            &found["frames"]["dev"]
        ),
        (&2.into(), &144.into(), &96.into())
    );
    assert_eq!(
        (
            found["layers"].as_array().unwrap().len(),
            &found["constant"]["dev"]
        ),
        (3, &0.5.into())
    );
    assert!(
        found["layers"]
            .as_array()
            .unwrap()
            .iter()
            .all(|l| l["accuracy"]["dev"].as_f64() > Some(0.85)),
        "{found}"
    );
    let text = String::from_utf8(probe(&["--layers", "2"]).stdout).unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(
        words[..7],
        ["layer", "dev", "frames", "96", "constant", "50.0", "2"],
        "{text}"
    );
    assert_eq!(probe(&["--layers", "9"]).status.code(), Some(1));
    assert_eq!(probe(&["--layers", "x"]).status.code(), Some(2));
    fs::write(
        folder.path().join("phones.tsv"),
        lines.replace("dev\t9", "dev\t1"),
    )
    .unwrap();
    let output = probe(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "phones.tsv: line 11: the speaker `1` is in `train` and in another split\n"
    );
    fs::write(
        folder.path().join("phones.tsv"),
        lines.replace("\tdev\t", "\ttrain\t"),
    )
    .unwrap();
    let output = probe(&[]);
    assert_eq!(output.status.code(), Some(1));
    let says = stderr(&output);
    assert!(
        says.contains("all its utterances are in the split `train`"),
        "{says}"
    );
}
