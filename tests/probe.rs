//! `pipeline probe`.
use crate::program::{call, stderr};
use crate::sample::sample;
use serde_json::Value;
use std::fs;

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
}
