//! Reads what an earlier version wrote: its cache, its checkpoint, its models, its linear maps, and
//! its unfinished run with the report of all of it.
//!
//! tests/data/earlier was written by the program of November 2026, before its code was moved into
//! crates and folders. The run was stopped by SIGTERM in its second phase.
use crate::program::{Folder, call, read_json, root, stderr, stdout_json};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const GRAPH: &str = "tests/data/earlier/graph.json";

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn parquet_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = vec![];
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            files.extend(parquet_files(&entry.path()));
        } else if entry.path().extension().is_some_and(|e| e == "parquet") {
            files.push(entry.path());
        }
    }
    files.sort();
    files
}

fn metrics(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn an_earlier_run_resumes_with_its_cache() {
    let folder = Folder::new("earlier");
    let run = folder.path().join("run");
    let cache = folder.path().join("cache");
    copy_folder(&root().join("tests/data/earlier/run"), &run);
    copy_folder(&root().join("tests/data/earlier/cache"), &cache);
    let cached_parts = parquet_files(&cache);
    assert_eq!(cached_parts.len(), 2);
    let lines_before = metrics(&run);
    let set_cache = format!("teacher.cache={}", cache.display());

    let resume = [
        "run",
        GRAPH,
        "--resume",
        "--set",
        &set_cache,
        "--out",
        run.to_str().unwrap(),
    ];
    let resumed = call(root(), &resume);
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    let unchecked = "has no checksum: an earlier version of the program wrote it";
    assert_eq!(stderr(&resumed).matches(unchecked).count(), 1);

    assert_eq!(
        parquet_files(&cache),
        cached_parts,
        "every row was found in the earlier cache"
    );
    let lines_after = metrics(&run);
    assert_eq!(
        lines_after[..lines_before.len()],
        lines_before,
        "the lines of 37 updates stay"
    );

    let compared = ["compare", run.to_str().unwrap(), "--format", "json"];
    let compared = &stdout_json(root(), &compared)[0];
    assert_eq!(compared["updates"], 12 + 90);
    assert_eq!(compared["name"], "earlier");
    let report = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(report.contains("prune") && report.contains("</svg>"));

    // The machine that wrote the fixture may have rounded differently, so values are only close.
    let fresh_run = folder.path().join("fresh");
    let run_afresh = [
        "run",
        GRAPH,
        "--set",
        &set_cache,
        "--out",
        fresh_run.to_str().unwrap(),
    ];
    assert!(call(root(), &run_afresh).status.success());
    let expected = metrics(&fresh_run);
    assert_eq!(lines_after.len(), expected.len());
    for (line, fresh) in lines_after.iter().zip(&expected) {
        for key in ["phase", "step", "epoch", "name"] {
            assert_eq!(line[key], fresh[key]);
        }
        if !line["name"].as_str().unwrap().ends_with("audio_per_second") {
            let value = line["value"].as_f64().unwrap();
            let fresh_value = fresh["value"].as_f64().unwrap();
            let tolerance = 1e-2 * fresh_value.abs().max(1e-2);
            assert!(
                (value - fresh_value).abs() <= tolerance,
                "{line} is not {fresh_value}"
            );
        }
    }
}

#[test]
fn an_earlier_cache_is_listed_and_verified() {
    let cache = "tests/data/earlier/cache";
    let verified = call(root(), &["cache", "verify", cache]);
    assert!(verified.status.success(), "{}", stderr(&verified));
    let listed = stdout_json(root(), &["cache", "list", cache, "--format", "json"]);
    assert_eq!(listed[0]["layers"], json!([0, 2]));
    assert_eq!(listed[0]["unreadable"], 0);
}

/// The phase `distill` by itself begins with the earlier student and its linear maps.
#[test]
fn an_earlier_student_and_its_maps_begin_another_run() {
    let folder = Folder::new("earlier-init");
    let mut graph = read_json(&root().join(GRAPH));
    let earlier = root().join("tests/data/earlier/run/prune");
    let nodes = &mut graph["phases"][1]["nodes"];
    nodes["student"]["init"] = earlier.join("student").to_str().into();
    nodes["heads"]["init"] = earlier.join("heads/heads.safetensors").to_str().into();
    nodes["teacher"]["cache"] = Value::Null;
    let graph = json!({ "name": "later", "nodes": nodes });
    let file = folder.path().join("later.json");
    fs::write(&file, graph.to_string()).unwrap();
    let out = folder.path().join("out");
    let run = ["run", file.to_str().unwrap(), "--steps", "1", "--out"];
    let run = call(root(), &[&run[..], &[out.to_str().unwrap()]].concat());
    assert!(run.status.success(), "{}", stderr(&run));
    let hidden = folder.path().join("hidden.parquet");
    let student = out.join("student");
    let audio = root().join("tests/data/audio/61-70968-0000.flac");
    let extract = [
        "extract",
        student.to_str().unwrap(),
        audio.to_str().unwrap(),
    ];
    let options = ["--layers", "all", "--out", hidden.to_str().unwrap()];
    let extracted = call(root(), &[&extract[..], &options].concat());
    assert!(extracted.status.success(), "{}", stderr(&extracted));
}

#[test]
fn an_earlier_model_is_read() {
    let arguments = [
        "inspect",
        "tests/data/earlier/run/prune/student",
        "--format",
        "json",
    ];
    let inspected = call(root(), &arguments);
    assert!(inspected.status.success(), "{}", stderr(&inspected));
    let inspected: Value = serde_json::from_slice(&inspected.stdout).unwrap();
    assert_eq!(inspected["parameters"], 14776);
    let config = read_json(&root().join("tests/data/earlier/run/prune/student/config.json"));
    assert_eq!(inspected["width"], config["hidden_size"]);
}
