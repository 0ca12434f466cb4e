//! No graph, audio file or model folder makes the program panic: each is changed at random and tried. What happens then is
//! an exit code of the contract and a sentence, never a crash.
use crate::program::{Folder, output, pipeline, root, stderr};
use crate::sample::{noise, sample};
use std::fs;
use std::path::Path;

/// Numbers that differ from call to call and are the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n.max(1)
    }

    /// A byte is changed, a piece cut out, doubled or cut off, or a token put in the place of another.
    fn damaged(&mut self, bytes: &[u8], tokens: &[&str]) -> Vec<u8> {
        let mut new = bytes.to_vec();
        for _ in 0..=self.below(3) {
            let (at, len) = (self.below(new.len()), 1 + self.below(20));
            let end = (at + len).min(new.len());
            match self.below(5) {
                0 if !new.is_empty() => new[at] = self.below(256) as u8,
                1 => drop(new.drain(at..end)),
                2 => {
                    let piece = new[at..end].to_vec();
                    new.splice(at..at, piece);
                }
                3 if self.below(4) == 0 => new.truncate(at),
                _ if !tokens.is_empty() => {
                    let token = tokens[self.below(tokens.len())];
                    let numbers: Vec<usize> = (0..new.len())
                        .filter(|i| new[*i].is_ascii_digit())
                        .collect();
                    let at = if numbers.is_empty() {
                        at
                    } else {
                        numbers[self.below(numbers.len())]
                    };
                    new.splice(at..at + 1, token.bytes());
                }
                _ => {}
            }
        }
        new
    }
}

/// Runs the program; it must end with one of `codes` and speak of no crash.
fn survives(folder: &Folder, words: &[&str], codes: &[i32], what: &str) {
    let said = output(&mut pipeline(&folder.0, words));
    let text = stderr(&said);
    let code = said.status.code().unwrap_or(-1);
    let calm = !text.contains("panicked") && !text.contains("this is a bug");
    assert!(
        codes.contains(&code) && calm,
        "{what}: exit code {code}\n{text}"
    );
}

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
    let graph = fs::read(folder.0.join("g.json")).unwrap();
    let mut chance = Chance(1);
    for round in 0..250 {
        let damaged = chance.damaged(&graph, NUMBERS);
        fs::write(folder.0.join("bad.json"), &damaged).unwrap();
        let what = format!("round {round}:\n{}", String::from_utf8_lossy(&damaged));
        survives(
            &folder,
            &["check", "bad.json", "--format", "json"],
            &[0, 78],
            &what,
        );
        if round % 5 == 0 {
            let out = format!("out{round}");
            survives(
                &folder,
                &["run", "bad.json", "--steps", "1", "--out", &out],
                &[0, 1, 78],
                &what,
            );
        }
    }
}

#[test]
fn audio_files() {
    let folder = sample("audio");
    noise(&folder.0.join("a.wav"), 2000, 1);
    let flac = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/sample/audio");
    let flac = fs::read_dir(flac)
        .unwrap()
        .map(|e| e.unwrap().path())
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
            fs::read(folder.0.join("a.wav")).unwrap(),
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
            // Headers are where the decisions fall.
            let head = bytes
                .len()
                .min(if round % 2 == 0 { 80 } else { bytes.len() });
            let damaged = [chance.damaged(&bytes[..head], &[]), bytes[head..].to_vec()].concat();
            fs::write(folder.0.join(name), &damaged).unwrap();
            let words = [
                "extract",
                "teacher",
                name,
                "--layers",
                "0,1",
                "--out",
                "out.parquet",
            ];
            survives(&folder, &words, &[0, 1], &format!("{name}, round {round}"));
        }
    }
}

#[test]
fn manifests() {
    let folder = sample("damaged-manifests");
    let data = root().join("tests/data");
    fs::create_dir_all(folder.0.join("tests/data/audio")).unwrap();
    for file in [
        "61-70968-0000.flac",
        "common_voice_en_651325.mp3",
        "sb_24bit.flac",
        "mono_c0.wav",
    ] {
        let file = Path::new("audio").join(file);
        fs::copy(data.join(&file), folder.0.join("tests/data").join(&file)).unwrap();
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
            // The first is whole.
            let damaged = if round == 0 {
                bytes.clone()
            } else {
                chance.damaged(&bytes, NUMBERS)
            };
            fs::write(folder.0.join(name), damaged).unwrap();
            let words = [
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
            survives(&folder, &words, codes, &format!("{name}, round {round}"));
        }
        fs::write(folder.0.join(name), bytes).unwrap();
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
        let path = folder.0.join("teacher").join(file);
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
                chance.damaged(&bytes[..head], tokens),
                bytes[head..].to_vec(),
            ]
            .concat();
            fs::write(&path, damaged).unwrap();
            let what = format!("{file}, round {round}");
            survives(
                &folder,
                &["inspect", "teacher", "--format", "json"],
                &[0, 1],
                &what,
            );
            let words = [
                "extract",
                "teacher",
                "0.wav",
                "--layers",
                "0,2",
                "--out",
                "out.parquet",
            ];
            survives(&folder, &words, &[0, 1], &what);
            survives(&folder, &["check", "g.json"], &[0, 78], &what);
        }
        fs::write(&path, bytes).unwrap();
    }
}
