//! HuBERT's pre-training from end to end on noise: clusters, labels and two models.
use crate::program::{Folder, execute, last_line, pipeline, read_json, root, stderr};
use crate::sample::{run, sample};
use nodes::data::file;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Two iterations of pre-training: clusters of MFCCs, then of hidden states, each with a model.
const GRAPH: &str = include_str!("data/hubert-graph.json");

/// Creates a folder with everything that [`GRAPH`] needs.
fn folder(name: &str) -> Folder {
    let folder = sample(name);
    fs::write(folder.path().join("g.json"), GRAPH).unwrap();
    folder
}

/// Returns the values of a phase by name, in the order of updates, without times.
fn metrics(run: &Path, phase: &str) -> BTreeMap<String, Vec<f64>> {
    let mut metrics: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for line in fs::read_to_string(run.join("metrics.jsonl"))
        .unwrap()
        .lines()
    {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["phase"] == phase && line["value"].is_number() {
            metrics
                .entry(line["name"].as_str().unwrap().into())
                .or_default()
                .push(line["value"].as_f64().unwrap());
        }
    }
    metrics.retain(|name, _| !name.ends_with("audio_per_second"));
    metrics
}

#[test]
fn two_iterations_of_hubert() {
    let folder = folder("hubert");
    let output = run(&folder, "out", &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("node `km`: 8 clusters of 200 of "),
        "{}",
        stderr(&output)
    );
    let out = folder.path().join("out");
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

    // Without the last two phases' files, the run resumes before them and writes the same
    // clusters, at another number of threads.
    let centroids = fs::read(out.join("hidden/km/centroids.safetensors")).unwrap();
    fs::remove_dir_all(out.join("second")).unwrap();
    fs::remove_dir_all(out.join("hidden")).unwrap();
    for entry in fs::read_dir(out.join("checkpoint"))
        .unwrap()
        .map(Result::unwrap)
    {
        if entry.file_name().to_str().unwrap().starts_with("second") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    let mut record = read_json(&out.join("run.json"));
    record["finished"] = Value::Null;
    fs::write(out.join("run.json"), record.to_string()).unwrap();
    let mut again = pipeline(
        folder.path(),
        &["run", "g.json", "--out", "out", "--resume"],
    );
    let output = execute(again.env("RAYON_NUM_THREADS", "1"));
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(fs::read(out.join("hidden/km/centroids.safetensors")).unwrap() == centroids);
}

/// Saved labels train the same student as labels that are computed in each update.
#[test]
fn labels_can_come_from_a_file() {
    let folder = folder("km");
    let settings = [
        "--set",
        "speech.dev=null",
        "--set",
        "step.steps=6",
        "--set",
        "second.step.steps=1",
    ];
    assert!(run(&folder, "live", &settings).status.success());
    let lines: String = (0..10)
        .map(|i| format!("{i}.wav\t{}\n", 9000 + 1700 * i))
        .collect();
    fs::write(folder.path().join("all.tsv"), format!(".\n{lines}")).unwrap();

    let mut graph: Value = read_json(&folder.path().join("g.json"));
    let mut first = graph["phases"][1].clone();
    let mut nodes = first["nodes"].clone();
    nodes
        .as_object_mut()
        .unwrap()
        .retain(|name, _| ["speech", "cepstra", "labels"].contains(&&name[..]));
    nodes["labels"]["centroids"] = "live/mfcc/km/centroids.safetensors".into();
    nodes["save"] = json!({
        "kind": "save-labels",
        "inputs": { "labels": "labels.labels" },
        "manifest": "all.tsv",
    });
    nodes["speech"].as_object_mut().unwrap().remove("dev");
    first["nodes"].as_object_mut().unwrap().remove("cepstra");
    // Trains with labels from a file; the error is the last line of stderr.
    let mut train_with = |out: &str, options: Value| {
        first["nodes"]["labels"] =
            json!({ "kind": "label-file", "inputs": { "speech": "speech.speech" } });
        first["nodes"]["labels"]
            .as_object_mut()
            .unwrap()
            .extend(options.as_object().unwrap().clone());
        graph["phases"] = json!([{ "name": "keep", "nodes": nodes }, first]);
        fs::write(folder.path().join("g.json"), graph.to_string()).unwrap();
        let output = run(&folder, out, &settings[..4]);
        if output.status.success() {
            Ok(metrics(&folder.path().join(out), "first"))
        } else {
            Err(last_line(&output))
        }
    };
    let live = metrics(&folder.path().join("live"), "first");
    let assert_same = |found: Result<BTreeMap<String, Vec<f64>>, String>| {
        assert_eq!(found.unwrap()["loss_ce"], live["loss_ce"])
    };
    assert_same(train_with(
        "table",
        json!({ "file": "$OUT/keep/save/labels.parquet" }),
    ));
    let km = fs::read_to_string(folder.path().join("table/keep/save/labels.km")).unwrap();
    let train_manifest = fs::read_to_string(folder.path().join("train.tsv")).unwrap();
    let train_rows = train_manifest.lines().count() - 1;
    let labelled_rows = km.lines().filter(|line| !line.is_empty()).count();
    assert_eq!(km.lines().count(), 10);
    assert_eq!(labelled_rows, train_rows);
    assert_eq!(
        km.lines().nth(7).unwrap().split(' ').count(),
        (9000 + 1700 * 7 - 400) / 320 + 1
    );

    let mut train_with_km = |out: &str, km: &str| {
        fs::write(folder.path().join("l.km"), km).unwrap();
        train_with(out, json!({ "file": "l.km", "manifest": "all.tsv" }))
    };
    assert_same(train_with_km("lines", &km));
    let (line, rest) = km.split_once('\n').unwrap();
    let message = train_with_km("short", rest).unwrap_err();
    assert_eq!(
        message,
        "node `labels`: l.km: 9 lines for the 10 utterances of its manifest"
    );
    let message = train_with_km("moved", &format!("{rest}{line}\n")).unwrap_err();
    assert!(
        message.starts_with("node `match`: `") && message.contains(" frames, but "),
        "{message}"
    );
    let message = train_with_km("words", &format!("a b\n{rest}")).unwrap_err();
    assert!(
        message.starts_with("node `labels`: l.km: line 1 is not numbers of clusters: "),
        "{message}"
    );

    let table = fs::read(folder.path().join("table/keep/save/labels.parquet")).unwrap();
    fs::write(folder.path().join("l.parquet"), &table[..table.len() - 9]).unwrap();
    let message = train_with("damaged", json!({ "file": "l.parquet" })).unwrap_err();
    assert!(
        message.starts_with("node `labels`: l.parquet: "),
        "{message}"
    );
    let message = train_with(
        "both",
        json!({ "file": "l.parquet", "manifest": "all.tsv" }),
    )
    .unwrap_err();
    assert!(message.contains("has ids of its own"), "{message}");
    let message =
        train_with("none", json!({ "file": "$OUT/keep/near/labels.parquet" })).unwrap_err();
    assert!(
        message.contains("no `save-labels` of an earlier phase writes"),
        "{message}"
    );
}

#[test]
fn the_shipped_recipe_runs() {
    let folder = Folder::new("hubert-sample");
    let out = folder.path().join("out");
    let arguments = [
        "run",
        "graphs/hubert.json",
        "--steps",
        "1",
        "--set",
        "speech.dev=null",
        "--out",
    ];
    let output = execute(pipeline(root(), &arguments).arg(&out));
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(out.join("second/student/model.safetensors").exists());
}
