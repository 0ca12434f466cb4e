//! Codecs of a cache: the same students with and without it, codebooks from an earlier phase, sizes,
//! and what is refused.
use crate::program::{Folder, call, read_json, stderr, stdout, stdout_json};
use crate::sample::{finished, run, sample};
use serde_json::{Value, json};
use std::fs;

const CODEBOOK: &str = r#"{"type": "multi-codebook", "file": "books.safetensors"}"#;

/// Runs a graph of the phase `fit`, which writes books.safetensors for layers 0 and 2.
fn fit_codebooks(folder: &Folder) {
    let graph = read_json(&folder.path().join("g.json"));
    let nodes = &graph["phases"][0]["nodes"];
    let inputs = json!({ "targets": "teacher.targets" });
    let books = json!({ "kind": "codebook", "inputs": inputs, "books": 3, "passes": 1 });
    let nodes = json!({ "speech": nodes["speech"], "teacher": nodes["teacher"], "books": books });
    let fit = json!({ "name": "fit", "nodes": nodes });
    fs::write(folder.path().join("fit.json"), fit.to_string()).unwrap();
    let output = call(folder.path(), &["run", "fit.json", "--out", "fit"]);
    let lines = stderr(&output);
    assert!(output.status.success(), "{lines}");
    assert!(lines.contains("layer 2: 3 codebooks of "), "{lines}");
    let written = folder.path().join("fit/books/codebooks.safetensors");
    fs::copy(written, folder.path().join("books.safetensors")).unwrap();
}

#[test]
fn live_cold_and_full_students_are_the_same() {
    let folder = sample("codecs");
    fit_codebooks(&folder);
    let mut seen = vec![];
    for codec in [
        "\"bf16\"",
        "{\"type\": \"int8\", \"scale\": \"channel\"}",
        CODEBOOK,
    ] {
        let set = format!("teacher.codec={codec}");
        let codec = ["--set", &set, "--steps", "2"];
        let cached = [&codec[..], &["--set", "teacher.cache=c"]].concat();
        let number = seen.len();
        let run = |out: &str, extra: &[&str]| finished(&folder, &format!("{out}-{number}"), extra);
        let live = run("live", &codec);
        assert!(run("cold", &cached) == live);
        assert!(run("full", &cached) == live);
        assert!(!seen.contains(&live));
        seen.push(live);
    }
    let verify = call(folder.path(), &["cache", "verify", "c"]);
    assert!(verify.status.success(), "{}", stderr(&verify));
    let listed = stdout_json(folder.path(), &["cache", "list", "c", "--format", "json"]);
    let mut codecs: Vec<String> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|folder| match &folder["codec"] {
            Value::String(name) => name.clone(),
            codec => codec["type"].as_str().unwrap().to_owned(),
        })
        .collect();
    codecs.sort();
    assert_eq!(codecs, ["bf16", "int8", "multi-codebook"]);
    let merged = call(folder.path(), &["cache", "merge", "c"]);
    assert!(merged.status.success(), "{}", stderr(&merged));
    let why = stdout(
        folder.path(),
        &[
            "cache",
            "why",
            "g.json",
            "--set",
            "teacher.cache=c",
            "--set",
            "teacher.codec=f16",
        ],
    );
    assert!(why.contains("another codec: codec: "), "{why}");
    // A run goes on with its own codec alone.
    let other = [
        "run", "g.json", "--out", "live-0", "--resume", "--steps", "2",
    ];
    let other = call(folder.path(), &other);
    assert_eq!(other.status.code(), Some(1));
    assert!(
        stderr(&other).contains("prune.teacher.codec"),
        "{}",
        stderr(&other)
    );
}

#[test]
fn sizes_are_those_of_the_codec() {
    let folder = sample("codec-sizes");
    let bytes = |codec: &str| {
        let set = format!("prune.teacher.codec={codec}");
        let arguments = ["check", "g.json", "--format", "json", "--set", &set];
        let cache = ["--set", "prune.teacher.cache=c"];
        let plan = stdout_json(folder.path(), &[&arguments[..], &cache].concat());
        plan["phases"][0]["cache_bytes"].clone()
    };
    // 8 rows in two views and 2 of the dev set; two layers of 24 values.
    let f32 = bytes("f32").as_u64().unwrap();
    let frames = f32 / (2 * 24 * 4);
    assert_eq!(bytes("f16"), f32 / 2);
    assert_eq!(bytes("bf16"), f32 / 2);
    assert_eq!(bytes("int8"), frames * 2 * (24 + 4));
    let channel = bytes("{\"type\": \"int8\", \"scale\": \"channel\"}");
    assert_eq!(channel, frames * 2 * 24 + 18 * 2 * 24 * 4);
    assert_eq!(bytes(CODEBOOK), Value::Null); // no file yet
    fit_codebooks(&folder);
    assert_eq!(bytes(CODEBOOK), frames * 2 * 3);
}

/// Codebooks of an earlier phase are planned before they are there.
#[test]
fn codebooks_come_from_an_earlier_phase() {
    let folder = sample("codebook-phase");
    let mut graph = read_json(&folder.path().join("g.json"));
    let speech = graph["phases"][0]["nodes"]["speech"].clone();
    let teacher = graph["phases"][0]["nodes"]["teacher"].clone();
    let books = json!({
        "kind": "codebook",
        "inputs": { "targets": "teacher.targets" },
        "books": 2,
        "passes": 1,
    });
    let nodes = json!({ "speech": speech, "teacher": teacher, "books": books });
    let phases = graph["phases"].as_array_mut().unwrap();
    phases.pop(); // `distill`
    phases.insert(0, json!({ "name": "fit", "nodes": nodes }));
    let file = "$OUT/fit/books/codebooks.safetensors";
    let teacher = &mut phases[1]["nodes"]["teacher"];
    teacher["codec"] = json!({ "type": "multi-codebook", "file": file });
    teacher["cache"] = "c".into();
    fs::write(folder.path().join("g.json"), graph.to_string()).unwrap();
    let plan = stdout_json(folder.path(), &["check", "g.json", "--format", "json"]);
    assert!(plan["phases"][1]["cache_bytes"].is_u64(), "{plan}");
    let output = run(&folder, "out", &["--set", "step.steps=2"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let refused = |sets: &[&str], says: &str| {
        let output = call(folder.path(), &[&["check", "g.json"], sets].concat());
        assert_eq!(output.status.code(), Some(78));
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
    };
    let missing = "prune.teacher.codec={\"type\": \"multi-codebook\", \"file\": \"$OUT/fit/x/y\"}";
    refused(
        &["--set", missing],
        "no earlier phase writes codebooks to `$OUT/fit/x/y`",
    );
    let others = ["--set", "fit.teacher.layers=[1, 2]"];
    refused(&others, "has no codebooks of layer 0");
}
