//! HuBERT's pre-training from end to end on noise: clusters, labels, two models; and the probe.
use crate::program::{Folder, output, pipeline, read_json, root, stderr};
use crate::sample::{run, sample};
use nodes::data::file;
use serde_json::{Value, json};
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
    { "name": "label", "nodes": {
        "speech":  { "kind": "decode", "manifest": "train.tsv", "seconds_per_batch": 2 },
        "teacher": { "kind": "teacher", "inputs": { "speech": "speech.speech" }, "model": "$OUT/first/student", "layers": [1] },
        "near":    { "kind": "label", "inputs": { "features": "teacher.targets" }, "centroids": "$OUT/hidden/km/centroids.safetensors" },
        "save":    { "kind": "save-labels", "inputs": { "labels": "near.labels" } } } },
    { "name": "second", "nodes": {
        "speech":  { "kind": "decode", "manifest": "train.tsv", "seconds_per_batch": 2 },
        "labels":  { "kind": "label-file", "inputs": { "speech": "speech.speech" }, "file": "$OUT/label/save/labels.parquet" },
        "mask":    { "kind": "mask", "inputs": { "speech": "speech.speech" }, "length": 3 },
        "student": { "kind": "student", "inputs": { "speech": "speech.speech", "mask": "mask.mask" }, "architecture": ARCHITECTURE, "layers": [2] },
        "logits":  { "kind": "logits", "inputs": { "hiddens": "student.hiddens" }, "classes": 6 },
        "match":   { "kind": "cross-entropy", "inputs": { "logits": "logits.logits", "labels": "labels.labels", "mask": "mask.mask" } },
        "step":    { "kind": "optimize", "inputs": { "losses": ["match.loss"] }, "steps": 3, "rates": { "student": 1e-3, "logits": 1e-3 } } } } ] }"#;

const ARCHITECTURE: &str = r#"{ "conv_dim": [16, 16, 12, 12, 12, 16, 20], "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4 }"#;

fn folder(name: &str) -> Folder {
    let folder = sample(name);
    fs::write(
        folder.0.join("g.json"),
        GRAPH.replace("ARCHITECTURE", ARCHITECTURE),
    )
    .unwrap();
    folder
}

/// Values of a phase by name, in the order of updates.
fn metrics(run: &Path, phase: &str) -> BTreeMap<String, Vec<f64>> {
    let mut all: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for line in fs::read_to_string(run.join("metrics.jsonl"))
        .unwrap()
        .lines()
    {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["phase"] == phase && line["value"].is_number() {
            all.entry(line["name"].as_str().unwrap().into())
                .or_default()
                .push(line["value"].as_f64().unwrap());
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
    assert!(
        stderr(&said).contains("node `km`: 8 clusters of 200 of "),
        "{}",
        stderr(&said)
    );
    let out = folder.0.join("out");
    let tensors = |name: &str| file::load(&out.join(name)).unwrap();
    assert_eq!(
        tensors("mfcc/km/centroids.safetensors")["centroids"].0,
        [8, 39]
    );
    assert_eq!(
        tensors("hidden/km/centroids.safetensors")["centroids"].0,
        [6, 24]
    );
    let heads = tensors("first/logits/logits.safetensors");
    let shapes: Vec<_> = heads
        .iter()
        .map(|(name, (shape, _))| (name.as_str(), &shape[..]))
        .collect();
    assert_eq!(
        shapes,
        [
            ("final_proj.bias", &[12][..]),
            ("final_proj.weight", &[12, 24]),
            ("label_embs", &[8, 12])
        ]
    );
    let first = metrics(&out, "first");
    for name in [
        "loss_ce",
        "loss_features",
        "accuracy_masked",
        "accuracy_unmasked",
    ] {
        assert_eq!(
            (first[name].len(), first[&format!("dev/{name}")].len()),
            (30, 2),
            "{name}"
        );
    }
    let sum = first["loss_ce"][0] + 10.0 * first["loss_features"][0];
    assert!(
        (first["loss"][0] - sum).abs() < 1e-4,
        "{} is not {sum}",
        first["loss"][0]
    );
    assert!(
        first["dev/loss"][1] < 0.8 * first["dev/loss"][0],
        "{:?}",
        first["dev/loss"]
    );
    assert_eq!(metrics(&out, "second")["accuracy_masked"].len(), 3);

    // Stopped in the first model's phase, the run goes on there and ends alike, at any number of threads in its clusters.
    let whole = fs::read(out.join("hidden/km/centroids.safetensors")).unwrap();
    fs::remove_dir_all(out.join("second")).unwrap();
    fs::remove_dir_all(out.join("hidden")).unwrap();
    for entry in fs::read_dir(out.join("checkpoint"))
        .unwrap()
        .map(|e| e.unwrap())
    {
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

/// Labels that were saved train the same student as those that are made anew in each update.
#[test]
fn labels_may_come_from_a_file() {
    let folder = folder("km");
    let set = [
        "--set",
        "speech.dev=null",
        "--set",
        "step.steps=6",
        "--set",
        "second.step.steps=1",
    ];
    assert!(run(&folder, "live", &set).status.success());
    let lines: String = (0..10)
        .map(|i| format!("{i}.wav\t{}\n", 9000 + 1700 * i))
        .collect();
    fs::write(folder.0.join("all.tsv"), format!(".\n{lines}")).unwrap();

    let mut graph: Value = read_json(&folder.0.join("g.json"));
    let mut first = graph["phases"][1].clone();
    let mut nodes = first["nodes"].clone();
    nodes
        .as_object_mut()
        .unwrap()
        .retain(|name, _| ["speech", "cepstra", "labels"].contains(&&name[..]));
    nodes["labels"]["centroids"] = "live/mfcc/km/centroids.safetensors".into();
    nodes["save"] = json!({ "kind": "save-labels", "inputs": { "labels": "labels.labels" }, "manifest": "all.tsv" });
    nodes["speech"].as_object_mut().unwrap().remove("dev");
    first["nodes"].as_object_mut().unwrap().remove("cepstra");
    let mut from = |out: &str, how: Value| {
        first["nodes"]["labels"] =
            json!({ "kind": "label-file", "inputs": { "speech": "speech.speech" } });
        first["nodes"]["labels"]
            .as_object_mut()
            .unwrap()
            .extend(how.as_object().unwrap().clone());
        graph["phases"] = json!([{ "name": "keep", "nodes": nodes }, first]);
        fs::write(folder.0.join("g.json"), graph.to_string()).unwrap();
        let said = run(&folder, out, &set[..4]);
        let last = stderr(&said).lines().last().unwrap_or_default().to_owned();
        if said.status.success() {
            Ok(metrics(&folder.0.join(out), "first"))
        } else {
            Err(last)
        }
    };
    let live = metrics(&folder.0.join("live"), "first");
    let same = |found: Result<BTreeMap<String, Vec<f64>>, String>| {
        assert_eq!(found.unwrap()["loss_ce"], live["loss_ce"])
    };
    same(from(
        "table",
        json!({ "file": "$OUT/keep/save/labels.parquet" }),
    ));
    let km = fs::read_to_string(folder.0.join("table/keep/save/labels.km")).unwrap();
    let trained = fs::read_to_string(folder.0.join("train.tsv"))
        .unwrap()
        .lines()
        .count()
        - 1;
    assert_eq!(
        (
            km.lines().count(),
            km.lines().filter(|line| !line.is_empty()).count()
        ),
        (10, trained)
    );
    assert_eq!(
        km.lines().nth(7).unwrap().split(' ').count(),
        (9000 + 1700 * 7 - 400) / 320 + 1
    );

    let mut from_km = |out: &str, km: &str| {
        fs::write(folder.0.join("l.km"), km).unwrap();
        from(out, json!({ "file": "l.km", "manifest": "all.tsv" }))
    };
    same(from_km("lines", &km));
    let (line, rest) = km.split_once('\n').unwrap();
    let says = from_km("short", rest).unwrap_err();
    assert_eq!(
        says,
        "node `labels`: l.km: 9 lines for the 10 utterances of its manifest"
    );
    let says = from_km("moved", &format!("{rest}{line}\n")).unwrap_err();
    assert!(
        says.starts_with("node `match`: `") && says.contains(" frames, but "),
        "{says}"
    );
    let says = from_km("words", &format!("a b\n{rest}")).unwrap_err();
    assert!(
        says.starts_with("node `labels`: l.km: line 1 is not numbers of clusters: "),
        "{says}"
    );

    let table = fs::read(folder.0.join("table/keep/save/labels.parquet")).unwrap();
    fs::write(folder.0.join("l.parquet"), &table[..table.len() - 9]).unwrap();
    let says = from("damaged", json!({ "file": "l.parquet" })).unwrap_err();
    assert!(says.starts_with("node `labels`: l.parquet: "), "{says}");
    let says = from(
        "both",
        json!({ "file": "l.parquet", "manifest": "all.tsv" }),
    )
    .unwrap_err();
    assert!(says.contains("has ids of its own"), "{says}");
    let says = from("none", json!({ "file": "$OUT/keep/near/labels.parquet" })).unwrap_err();
    assert!(
        says.contains("no `save-labels` of an earlier phase writes"),
        "{says}"
    );
}

#[test]
fn the_shipped_recipe_begins() {
    let folder = Folder::new("hubert-sample");
    let out = folder.0.join("out");
    let words = [
        "run",
        "graphs/hubert.json",
        "--steps",
        "1",
        "--set",
        "speech.dev=null",
        "--out",
    ];
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
            wav.write_sample((6000.0 * (turn * (t % 4000 + 37 * i) as f32).sin()) as i16)
                .unwrap();
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
        folder.0.join("phones.tsv"),
        lines.replace("dev\t9", "dev\t1"),
    )
    .unwrap();
    let said = probe(&[]);
    assert_eq!(said.status.code(), Some(1));
    assert_eq!(
        stderr(&said),
        "phones.tsv: line 11: the speaker `1` is in `train` and in another split\n"
    );
}
