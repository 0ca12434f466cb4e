//! Random damage to graphs, audio files, manifests and model folders never makes the program panic:
//! it ends with a documented exit code and a message.
use crate::program::{Folder, call, root, stderr};
use crate::sample::{noise, sample};
use std::fs;
use std::path::Path;

/// A linear congruential generator: the same numbers in every run of a test.
struct Chance(u64);

impl Chance {
    /// Returns the next number, from 0 to `n` - 1; 0 if `n` is 0.
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n.max(1)
    }

    /// Returns a copy of `bytes` with one to four damages: a changed byte, a piece removed or
    /// doubled, a lost end, or one of `tokens` in place of a digit.
    fn damage(&mut self, bytes: &[u8], tokens: &[&str]) -> Vec<u8> {
        let mut new = bytes.to_vec();
        for _ in 0..=self.below(3) {
            let start = self.below(new.len());
            let length = 1 + self.below(20);
            let end = (start + length).min(new.len());
            match self.below(5) {
                0 if !new.is_empty() => new[start] = self.below(256) as u8,
                1 => drop(new.drain(start..end)),
                2 => {
                    let piece = new[start..end].to_vec();
                    new.splice(start..start, piece);
                }
                3 if self.below(4) == 0 => new.truncate(start),
                _ if !tokens.is_empty() => {
                    let token = tokens[self.below(tokens.len())];
                    let digits: Vec<usize> = (0..new.len())
                        .filter(|i| new[*i].is_ascii_digit())
                        .collect();
                    let place = if digits.is_empty() {
                        start
                    } else {
                        digits[self.below(digits.len())]
                    };
                    new.splice(place..place + 1, token.bytes());
                }
                _ => {}
            }
        }
        new
    }
}

/// Runs the program: it must end with one of `codes` and without a panic.
///
/// `case` names the damage if it does not.
fn survives(folder: &Folder, arguments: &[&str], codes: &[i32], case: &str) {
    let output = call(folder.path(), arguments);
    let text = stderr(&output);
    let code = output.status.code().unwrap_or(-1);
    let has_panicked = text.contains("panicked") || text.contains("this is a bug");
    assert!(
        codes.contains(&code) && !has_panicked,
        "{case}: exit code {code}\n{text}"
    );
}

/// JSON values that replace digits.
const NUMBERS: &[&str] = &[
    "-1",
    "0",
    "1e308",
    "18446744073709551615",
    "99999999999",
    "0.5",
    "null",
    "\"x\"",
    "[]",
    "{}",
    "[0, 0]",
];

#[test]
fn graphs() {
    let folder = sample("graphs");
    let graph = fs::read(folder.path().join("g.json")).unwrap();
    let mut chance = Chance(1);
    for round in 0..250 {
        let damaged = chance.damage(&graph, NUMBERS);
        fs::write(folder.path().join("bad.json"), &damaged).unwrap();
        let case = format!("round {round}:\n{}", String::from_utf8_lossy(&damaged));
        survives(
            &folder,
            &["check", "bad.json", "--format", "json"],
            &[0, 78],
            &case,
        );
        if round % 5 == 0 {
            let out = format!("out{round}");
            survives(
                &folder,
                &["run", "bad.json", "--steps", "1", "--out", &out],
                &[0, 1, 78],
                &case,
            );
        }
    }
}

#[test]
fn audio_files() {
    let folder = sample("audio");
    noise(&folder.path().join("a.wav"), 2000, 1);
    let flac = fs::read_dir(root().join("data/sample/audio"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .min()
        .unwrap();
    let mut chance = Chance(2);
    let other = |name: &str| {
        (
            format!("bad-{name}"),
            fs::read(root().join("tests/data/audio").join(name)).unwrap(),
            20,
        )
    };
    let ours = [
        (
            "bad.wav".into(),
            fs::read(folder.path().join("a.wav")).unwrap(),
            60,
        ),
        ("bad.flac".into(), fs::read(flac).unwrap(), 60),
    ];
    let others = [
        "vbr.mp3",
        "vorbis.ogg",
        "aac.m4a",
        "alac.m4a",
        "pcm.aiff",
        "pcm.caf",
    ]
    .map(other);
    for (name, bytes, rounds) in ours.iter().chain(&others) {
        for round in 0..*rounds {
            // Every other round damages the header only, where most decisions fall.
            let head = bytes
                .len()
                .min(if round % 2 == 0 { 80 } else { bytes.len() });
            let damaged = [chance.damage(&bytes[..head], &[]), bytes[head..].to_vec()].concat();
            fs::write(folder.path().join(name), &damaged).unwrap();
            let arguments = [
                "extract",
                "teacher",
                name,
                "--layers",
                "0,1",
                "--out",
                "out.parquet",
            ];
            survives(
                &folder,
                &arguments,
                &[0, 1],
                &format!("{name}, round {round}"),
            );
        }
    }
}

#[test]
fn manifests() {
    let folder = sample("damaged-manifests");
    let data = root().join("tests/data");
    fs::create_dir_all(folder.path().join("tests/data/audio")).unwrap();
    for file in [
        "61-70968-0000.flac",
        "common_voice_en_651325.mp3",
        "sb_24bit.flac",
        "mono_c0.wav",
    ] {
        let file = Path::new("audio").join(file);
        fs::copy(
            data.join(&file),
            folder.path().join("tests/data").join(&file),
        )
        .unwrap();
    }
    let mut chance = Chance(4);
    for (name, from) in [
        ("wav.scp", "kaldi-pieces/wav.scp"),
        ("segments", "kaldi-pieces/segments"),
        ("x.tsv", "whole.tsv"),
        ("x.jsonl", "pieces.jsonl"),
        ("x.jsonl.gz", "whole.jsonl.gz"),
        ("x.parquet", "bytes.parquet"),
        ("y.parquet", "paths.parquet"),
    ] {
        let bytes = fs::read(data.join("manifests").join(from)).unwrap();
        let manifest = format!(
            "speech.manifest={}",
            if name == "segments" { "wav.scp" } else { name }
        );
        for round in 0..15 {
            // The first round is without damage.
            let damaged = if round == 0 {
                bytes.clone()
            } else {
                chance.damage(&bytes, NUMBERS)
            };
            fs::write(folder.path().join(name), damaged).unwrap();
            let arguments = [
                "run",
                "g.json",
                "--steps",
                "1",
                "--set",
                &manifest,
                "--out",
                &format!("{name}-{round}"),
            ];
            let codes: &[i32] = if round == 0 { &[0] } else { &[0, 1] };
            survives(
                &folder,
                &arguments,
                codes,
                &format!("{name}, round {round}"),
            );
        }
        fs::write(folder.path().join(name), bytes).unwrap();
    }
}

#[test]
fn model_folders() {
    let folder = sample("models");
    let mut chance = Chance(3);
    for file in [
        "config.json",
        "preprocessor_config.json",
        "model.safetensors",
    ] {
        let path = folder.path().join("teacher").join(file);
        let bytes = fs::read(&path).unwrap();
        for round in 0..80 {
            let head = bytes.len().min(if file.ends_with("tensors") {
                2000
            } else {
                bytes.len()
            });
            let tokens = if file.ends_with("json") {
                NUMBERS
            } else {
                &["9", "77", "-", "\"F64\""]
            };
            let damaged = [
                chance.damage(&bytes[..head], tokens),
                bytes[head..].to_vec(),
            ]
            .concat();
            fs::write(&path, damaged).unwrap();
            let case = format!("{file}, round {round}");
            survives(
                &folder,
                &["inspect", "teacher", "--format", "json"],
                &[0, 1],
                &case,
            );
            let arguments = [
                "extract",
                "teacher",
                "0.wav",
                "--layers",
                "0,2",
                "--out",
                "out.parquet",
            ];
            survives(&folder, &arguments, &[0, 1], &case);
            survives(&folder, &["check", "g.json"], &[0, 78], &case);
        }
        fs::write(&path, bytes).unwrap();
    }
}
