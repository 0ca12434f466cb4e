//! HuBERT's pre-training from end to end on noise: clusters, labels, two models; and the probe.
use crate::commands::table;
use crate::program::{Folder, output, pipeline, read_json, root, stderr};
use crate::sample::{run, sample};
use arrow::array::AsArray;
use arrow::datatypes::UInt32Type;
use nodes::file;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const GRAPH: &str = r#"{
  "name": "g",
  "seed": 3,
  "phases": [
    { "name": "mfcc", "nodes": {
        "speech":  { "kind": "decode", "manifest": "train.tsv", "seconds_per_batch": 2 },
        "cepstra": { "kind": "fbank", "inputs": { "speech": "speech.speech" }, "bins": 23, "cepstra": 13, "deltas": 2 },
        "km":      { "kind": "cluster", "inputs": { "features": "cepstra.features" }, "clusters": 8, "frames": 200, "batch": 50 } } },
    { "name": "first", "nodes": {
        "speech":  { "kind": "decode", "manifest": "train.tsv", "dev": "dev.tsv", "seconds_per_batch": 2 },
        "cepstra": { "kind": "fbank", "inputs": { "speech": "speech.speech" }, "bins": 23, "cepstra": 13, "deltas": 2 },
        "labels":  { "kind": "label", "inputs": { "features": "cepstra.features" }, "centroids": "$OUT/mfcc/km/centroids.safetensors" },
        "mask":    { "kind": "mask", "inputs": { "speech": "speech.speech" }, "length": 3, "lengths": "static", "overlap": true },
        "student": { "kind": "student", "inputs": { "speech": "speech.speech", "mask": "mask.mask" }, "architecture": ARCHITECTURE, "layers": [2], "feature_penalty": 10, "feature_gradient": 0.1 },
        "logits":  { "kind": "logits", "inputs": { "hiddens": "student.hiddens" }, "classes": 8, "width": 12 },
        "match":   { "kind": "cross-entropy", "inputs": { "logits": "logits.logits", "labels": "labels.labels", "mask": "mask.mask" }, "unmasked": 0.5 },
        "step":    { "kind": "optimize", "inputs": { "losses": ["match.loss", "student.penalty"] }, "steps": 30, "rates": { "student": 2e-3, "logits": 2e-3 }, "betas": [0.9, 0.98], "checkpoint_every": 7 } } },
    { "name": "hidden", "nodes": {
        "speech":  { "kind": "decode", "manifest": "train.tsv", "seconds_per_batch": 2 },
        "teacher": { "kind": "teacher", "inputs": { "speech": "speech.speech" }, "model": "$OUT/first/student", "layers": [1] },
        "km":      { "kind": "cluster", "inputs": { "features": "teacher.targets" }, "clusters": 6 } } },
    { "name": "second", "nodes": {
        "speech":  { "kind": "decode", "manifest": "train.tsv", "seconds_per_batch": 2 },
        "teacher": { "kind": "teacher", "inputs": { "speech": "speech.speech" }, "model": "$OUT/first/student", "layers": [1] },
        "labels":  { "kind": "label", "inputs": { "features": "teacher.targets" }, "centroids": "$OUT/hidden/km/centroids.safetensors" },
        "mask":    { "kind": "mask", "inputs": { "speech": "speech.speech" }, "length": 3 },
        "student": { "kind": "student", "inputs": { "speech": "speech.speech", "mask": "mask.mask" }, "architecture": ARCHITECTURE, "layers": [2] },
        "logits":  { "kind": "logits", "inputs": { "hiddens": "student.hiddens" }, "classes": 6 },
        "match":   { "kind": "cross-entropy", "inputs": { "logits": "logits.logits", "labels": "labels.labels", "mask": "mask.mask" } },
        "step":    { "kind": "optimize", "inputs": { "losses": ["match.loss"] }, "steps": 3, "rates": { "student": 1e-3, "logits": 1e-3 } } } } ] }"#;

const ARCHITECTURE: &str = r#"{ "conv_dim": [16, 16, 12, 12, 12, 16, 20], "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4 }"#;

fn folder(name: &str) -> Folder {
    let folder = sample(name);
    fs::write(folder.0.join("g.json"), GRAPH.replace("ARCHITECTURE", ARCHITECTURE)).unwrap();
    folder
}

/// Values of a phase by name, in the order of updates.
fn metrics(run: &Path, phase: &str) -> BTreeMap<String, Vec<f64>> {
    let mut all: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for line in fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["phase"] == phase && line["value"].is_number() {
            all.entry(line["name"].as_str().unwrap().into()).or_default().push(line["value"].as_f64().unwrap());
        }
    }
    all.retain(|name, _| !name.ends_with("audio_per_second"));
    all
}

#[test]
fn two_iterations_of_hubert() {
    let folder = folder("hubert");
    let said = run(&folder, "out", &[]);
    assert!(said.status.success(), "{}", stderr(&said));
    assert!(stderr(&said).contains("node `km`: 8 clusters of 200 of "), "{}", stderr(&said));
    let out = folder.0.join("out");
    let tensors = |name: &str| file::load(&out.join(name)).unwrap();
    assert_eq!(tensors("mfcc/km/centroids.safetensors")["centroids"].0, [8, 39]);
    assert_eq!(tensors("hidden/km/centroids.safetensors")["centroids"].0, [6, 24]);
    let heads = tensors("first/logits/logits.safetensors");
    let shapes: Vec<_> = heads.iter().map(|(name, (shape, _))| (name.as_str(), &shape[..])).collect();
    assert_eq!(shapes, [("final_proj.bias", &[12][..]), ("final_proj.weight", &[12, 24]), ("label_embs", &[8, 12])]);
    let first = metrics(&out, "first");
    for name in ["loss_ce", "loss_features", "accuracy_masked", "accuracy_unmasked"] {
        assert_eq!((first[name].len(), first[&format!("dev/{name}")].len()), (30, 2), "{name}");
    }
    let sum = first["loss_ce"][0] + 10.0 * first["loss_features"][0];
    assert!((first["loss"][0] - sum).abs() < 1e-4, "{} is not {sum}", first["loss"][0]);
    assert!(first["dev/loss"][1] < 0.8 * first["dev/loss"][0], "{:?}", first["dev/loss"]);
    assert_eq!(metrics(&out, "second")["accuracy_masked"].len(), 3);

    // Stopped in the first model's phase, the run goes on there and ends alike, at any number of threads in its clusters.
    let whole = fs::read(out.join("hidden/km/centroids.safetensors")).unwrap();
    fs::remove_dir_all(out.join("second")).unwrap();
    fs::remove_dir_all(out.join("hidden")).unwrap();
    for entry in fs::read_dir(out.join("checkpoint")).unwrap().map(|e| e.unwrap()) {
        if entry.file_name().to_str().unwrap().starts_with("second") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    let mut about: Value = read_json(&out.join("run.json"));
    about["finished"] = Value::Null;
    fs::write(out.join("run.json"), about.to_string()).unwrap();
    let mut again = pipeline(&folder.0, &["run", "g.json", "--out", "out", "--resume"]);
    let said = output(again.env("RAYON_NUM_THREADS", "1"));
    assert!(said.status.success(), "{}", stderr(&said));
    assert!(fs::read(out.join("hidden/km/centroids.safetensors")).unwrap() == whole);
}

/// Labels that cross the port, written as fairseq's `.km`, train the same student.
#[test]
fn labels_may_come_from_a_file() {
    let folder = folder("km");
    let set = ["--set", "step.steps=6", "--set", "second.step.steps=1"];
    assert!(run(&folder, "live", &set).status.success());
    let centroids = "first.labels.centroids=live/mfcc/km/centroids.safetensors";
    let words = ["tap", "g.json", "labels.labels", "--phase", "first", "--steps", "40", "--out", "l.parquet"];
    let said = output(pipeline(&folder.0, &words).args(["--set", centroids, "--set", "step.steps=40"]));
    assert!(said.status.success(), "{}", stderr(&said));
    let rows = table(&folder.0.join("l.parquet"));
    let text = |row: usize| {
        let labels = rows["labels"].as_list::<i32>().value(row);
        labels.as_primitive::<UInt32Type>().values().iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
    };
    let ids = rows["id"].as_string::<i32>();
    let labels: BTreeMap<&str, String> = (0..rows.num_rows()).map(|row| (ids.value(row), text(row))).collect();
    let lines: Vec<String> = (0..10).map(|i| labels.get(&*format!("{i}.wav")).cloned().unwrap_or_default()).collect();
    assert_eq!(lines[7].split(' ').count(), (9000 + 1700 * 7 - 400) / 320 + 1);

    let mut graph: Value = read_json(&folder.0.join("g.json"));
    let nodes = &mut graph["phases"][1]["nodes"];
    nodes["labels"] = serde_json::json!(
        { "kind": "label-file", "inputs": { "speech": "speech.speech" }, "file": "l.km", "manifest": "all.tsv" });
    nodes["speech"]["dev"] = Value::Null;
    nodes.as_object_mut().unwrap().remove("cepstra");
    fs::write(folder.0.join("g.json"), graph.to_string()).unwrap();
    let all: String = (0..10).map(|i| format!("{i}.wav\t{}\n", 9000 + 1700 * i)).collect();
    fs::write(folder.0.join("all.tsv"), format!(".\n{all}")).unwrap();
    let from_file = |out: &str, lines: &[String]| {
        fs::write(folder.0.join("l.km"), lines.join("\n") + "\n").unwrap();
        let said = run(&folder, out, &set);
        (said.status.success(), stderr(&said).lines().last().unwrap_or_default().to_owned())
    };
    let (went, says) = from_file("file", &lines);
    assert!(went, "{says}");
    let [live, mut file] = ["live", "file"].map(|out| metrics(&folder.0.join(out), "first"));
    file.retain(|name, _| live.contains_key(name));
    assert!(file["loss_ce"] == live["loss_ce"] && file["accuracy_masked"] == live["accuracy_masked"]);

    let (_, says) = from_file("short", &lines[1..]);
    assert_eq!(says, "node `labels`: l.km: 9 lines for the 10 utterances of all.tsv");
    let (_, says) = from_file("moved", &[&lines[1..], &lines[..1]].concat());
    assert!(says.starts_with("node `match`: `") && says.contains(" frames, but "), "{says}");
    let (_, says) = from_file("words", &[&["a b".to_owned()], &lines[1..]].concat());
    assert!(says.starts_with("node `labels`: l.km: line 1 is not numbers of clusters: "), "{says}");
}

#[test]
fn the_shipped_recipe_begins() {
    let folder = Folder::new("hubert-sample");
    let out = folder.0.join("out");
    let words = ["run", "graphs/hubert.json", "--steps", "1", "--set", "speech.dev=null", "--out"];
    let said = output(pipeline(root(), &words).arg(&out));
    assert!(said.status.success(), "{}", stderr(&said));
    assert!(out.join("second/student/model.safetensors").exists());
}

/// A low and a high tone, told apart by every layer of a random model, at phases it has not heard.
#[test]
fn the_probe_tells_tones_apart() {
    let folder = sample("probe");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut lines = String::from("path\tsplit\tspeaker\tphones\n");
    for i in 0..10 {
        let mut wav = hound::WavWriter::create(folder.0.join(format!("t{i}.wav")), spec).unwrap();
        for t in 0..8000 {
            let turn = if t < 4000 { 0.05 } else { 0.8 };
            wav.write_sample((6000.0 * (turn * (t % 4000 + 37 * i) as f32).sin()) as i16).unwrap();
        }
        wav.finalize().unwrap();
        let split = if i < 6 { "train" } else { "dev" };
        lines += &format!("t{i}.wav\t{split}\t{i}\t0:0.25:A 0.25:0.5:B\n");
    }
    fs::write(folder.0.join("phones.tsv"), &lines).unwrap();
    let probe = |more: &[&str]| {
        let words = [&["probe", "teacher", "--labels", "phones.tsv"][..], more].concat();
        output(&mut pipeline(&folder.0, &words))
    };
    let said = probe(&["--format", "json"]);
    assert!(said.status.success(), "{}", stderr(&said));
    let found: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(
        (&found["phones"], &found["train_frames"], &found["frames"]["dev"]),
        (&2.into(), &144.into(), &96.into())
    );
    assert_eq!((found["layers"].as_array().unwrap().len(), &found["constant"]["dev"]), (3, &0.5.into()));
    assert!(found["layers"].as_array().unwrap().iter().all(|l| l["accuracy"]["dev"].as_f64() > Some(0.85)), "{found}");
    let text = String::from_utf8(probe(&["--layers", "2"]).stdout).unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words[..7], ["layer", "dev", "frames", "96", "constant", "50.0", "2"], "{text}");
    assert_eq!(probe(&["--layers", "9"]).status.code(), Some(1));
    assert_eq!(probe(&["--layers", "x"]).status.code(), Some(2));
    fs::write(folder.0.join("phones.tsv"), lines.replace("dev\t9", "dev\t1")).unwrap();
    let said = probe(&[]);
    assert_eq!(said.status.code(), Some(1));
    assert_eq!(stderr(&said), "phones.tsv: line 11: the speaker `1` is in `train` and in another split\n");
}
