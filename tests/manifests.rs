//! Manifests of all formats: the same utterances give the same samples.
use crate::program::{Folder, execute, pipeline, read_json, root, stderr};
use arrow::array::AsArray;
use arrow::datatypes::UInt32Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Output;

/// Runs a graph that fills a cache from `manifest`, with more options of `decode`, in the folder
/// that the paths in the manifests are relative to.
fn fill(folder: &Folder, out: &str, manifest: &str, options: Value) -> Output {
    let mut speech = json!({ "kind": "decode", "manifest": manifest, "seconds_per_batch": 20 });
    for (key, value) in options.as_object().unwrap() {
        speech[key] = value.clone();
    }
    let cache = folder.path().join(out).with_extension("cache");
    let teacher = json!({
        "kind": "teacher",
        "inputs": { "speech": "speech.speech" },
        "model": "tests/golden/base",
        "layers": [0],
        "cache": cache.to_str(),
    });
    let graph = json!({ "name": "fill", "nodes": { "speech": speech, "teacher": teacher } });
    let file = folder.path().join(out).with_extension("json");
    fs::write(&file, graph.to_string()).unwrap();
    execute(
        pipeline(root(), &["run", file.to_str().unwrap(), "--out"]).arg(folder.path().join(out)),
    )
}

/// Returns key (a hash of the samples), id and number of samples of each row in the cache, sorted.
fn rows(folder: &Folder, out: &str) -> Vec<(Vec<u8>, String, u32)> {
    let mut rows = vec![];
    let folder_of = |path: &Path| {
        fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|p| p.is_dir())
            .unwrap()
    };
    let layer = folder_of(&folder.path().join(out).with_extension("cache")).join("layer-00");
    for part in fs::read_dir(layer).unwrap() {
        let file = fs::File::open(part.unwrap().path()).unwrap();
        for batch in ParquetRecordBatchReaderBuilder::try_new(file)
            .unwrap()
            .build()
            .unwrap()
        {
            let batch = batch.unwrap();
            let column = |name| batch.column_by_name(name).unwrap();
            let keys = column("key").as_fixed_size_binary();
            let ids = column("id").as_string::<i32>();
            let samples = column("samples").as_primitive::<UInt32Type>();
            let row = |i| {
                (
                    keys.value(i).to_vec(),
                    ids.value(i).to_owned(),
                    samples.value(i),
                )
            };
            rows.extend((0..batch.num_rows()).map(row));
        }
    }
    rows.sort();
    rows
}

/// The key and the number of samples of a row.
type Samples = (Vec<u8>, u32);

/// Fills a cache from a manifest and returns its ids, sorted, its rows, and the size of the cache
/// that `check` predicts.
fn read(folder: &Folder, out: &str, manifest: &str) -> (Vec<String>, Vec<Samples>, u64) {
    let output = fill(
        folder,
        out,
        &format!("tests/data/manifests/{manifest}"),
        json!({}),
    );
    assert!(output.status.success(), "{manifest}: {}", stderr(&output));
    let file = folder.path().join(out).with_extension("json");
    let check = execute(pipeline(root(), &["check", "--format", "json"]).arg(file));
    let check: Value = serde_json::from_slice(&check.stdout).unwrap();
    let rows = rows(folder, out);
    let mut ids: Vec<String> = rows.iter().map(|(_, id, _)| id.clone()).collect();
    ids.sort();
    (
        ids,
        rows.into_iter()
            .map(|(key, _, samples)| (key, samples))
            .collect(),
        check["cache_bytes"].as_u64().unwrap(),
    )
}

#[test]
fn manifests_of_all_toolkits_agree() {
    let folder = Folder::new("manifests");
    let names = [
        "61-70968-0000",
        "common_voice_en_651325",
        "mono_c0",
        "sb_24bit",
    ];
    let files = [
        "61-70968-0000.flac",
        "common_voice_en_651325.mp3",
        "mono_c0.wav",
        "sb_24bit.flac",
    ];
    // `check` takes the numbers in this manifest for samples at 16 kHz, so its size is wrong.
    let (ids, whole, _) = read(&folder, "tsv", "whole.tsv");
    assert_eq!(ids, files);
    let mut lengths: Vec<u32> = whole.iter().map(|row| row.1).collect();
    lengths.sort();
    assert_eq!(lengths, [8_000, 38_016, 52_173, 78_480]);
    let bytes = 4
        * 24
        * lengths
            .iter()
            .map(|n| (*n as u64 - 400) / 320 + 1)
            .sum::<u64>();
    let paths = files.map(|file| format!("tests/data/audio/{file}"));
    for (manifest, expected) in [
        ("kaldi-whole/wav.scp", names.map(String::from)),
        ("whole.jsonl", names.map(String::from)),
        ("whole.jsonl.gz", names.map(String::from)),
        ("bytes.parquet", files.map(String::from)),
        ("paths.parquet", paths),
    ] {
        let (ids, rows, cache_bytes) = read(&folder, &manifest.replace(['/', '.'], "-"), manifest);
        assert_eq!(ids, expected, "{manifest}");
        assert!(rows == whole, "{manifest}");
        assert_eq!(cache_bytes, bytes, "{manifest}");
    }
}

#[test]
fn manifests_of_segments_agree() {
    let folder = Folder::new("pieces");
    let (ids, pieces, bytes) = read(&folder, "kaldi", "kaldi-pieces/wav.scp");
    assert_eq!(ids, ["long-1", "long-2", "short-1"]);
    let mut lengths: Vec<u32> = pieces.iter().map(|row| row.1).collect();
    lengths.sort();
    assert_eq!(lengths, [4_800, 24_000, 32_000]);
    assert!(read(&folder, "lhotse", "pieces.jsonl") == (ids, pieces, bytes));
    let bounds = json!({ "min_seconds": 0.5, "max_seconds": 1.9 });
    let output = fill(
        &folder,
        "bounds",
        "tests/data/manifests/pieces.jsonl",
        bounds,
    );
    assert!(
        stderr(&output)
            .contains("pieces.jsonl: 1 utterance, 1.5 seconds; left out: 1 too short, 1 too long"),
        "{}",
        stderr(&output)
    );
    assert_eq!(rows(&folder, "bounds").len(), 1);
}

#[test]
fn a_folder_of_every_codec_is_read() {
    let folder = Folder::new("codecs");
    let output = fill(&folder, "all", "tests/data/audio", json!({}));
    let read = fs::read_to_string(root().join("tests/data/audio/audio.tsv")).unwrap();
    let mut files: Vec<&str> = read
        .lines()
        .skip(1)
        .map(|line| line.split('\t').next().unwrap())
        .collect();
    files.sort();
    let rows = rows(&folder, "all");
    let mut ids: Vec<&str> = rows.iter().map(|row| row.1.as_str()).collect();
    ids.sort();
    assert_eq!(ids, files, "{}", stderr(&output));
    assert!(
        stderr(&output).contains("left out: 1 NIST SPHERE (.sph), 2 Opus (.opus) (convert these")
    );
}

#[test]
fn changed_segments_are_changed_data() {
    let folder = Folder::new("segments");
    let manifest = folder.path().join("wav.scp");
    let write_segments = |text: &str| fs::write(folder.path().join("segments"), text).unwrap();
    let run = |out: &str| fill(&folder, out, manifest.to_str().unwrap(), json!({}));
    let run_to_hashes = |out: &str| {
        run(out);
        read_json(&folder.path().join(out).join("run.json"))["data"].clone()
    };
    fs::write(&manifest, "r tests/data/audio/61-70968-0000.flac\n").unwrap();
    let whole_files = run_to_hashes("plain");
    write_segments("a r 0 1\n");
    let one_second = run_to_hashes("one");
    write_segments("a r 0 2\n");
    let two_seconds = run_to_hashes("other");
    assert!(whole_files != one_second && one_second != two_seconds);
    write_segments("a r 0 1\nb r 4 6\n");
    let message = stderr(&run("beyond"));
    assert!(
        message.contains("seconds 4 to 6 are not in it: it has 4.905 seconds"),
        "{message}"
    );
    write_segments("a s 0 1\nb\n");
    let message = stderr(&run("wrong"));
    assert!(
        message.contains("segments: line 1: recording `s` is not in wav.scp: a s 0 1\n"),
        "{message}"
    );
    assert!(
        message.contains("segments: line 2 is not `utterance recording start end`: b"),
        "{message}"
    );
}
