//! Whole runs of students that read log-mel frames, or whose layers are an LSTM, on the small task
//! of `sample`.
use crate::program::{Folder, call, execute, pipeline, read_json, stderr, stdout, stdout_json};
use crate::sample::sample;
use nodes::data::file;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn tensors(folder: &Folder, path: &str) -> Tensors {
    file::load(&folder.path().join(path)).expect(path)
}

fn write_graph(folder: &Folder, name: &str, graph: Value) -> String {
    let file = format!("{name}.json");
    fs::write(folder.path().join(&file), graph.to_string()).unwrap();
    file
}

fn run(folder: &Folder, graph: &str, out: &str, extra: &[&str]) -> String {
    let output = execute(pipeline(folder.path(), &["run", graph, "--out", out]).args(extra));
    assert!(output.status.success(), "{}", stderr(&output));
    stderr(&output)
}

/// Extracts layers of a model for one file; it must succeed.
fn extract(folder: &Folder, model: &str, layers: &str) {
    let mut arguments = vec!["extract", model, "0.wav", "--layers", layers];
    arguments.extend(["--out", "hidden.parquet"]);
    stdout(folder.path(), &arguments);
}

/// Returns the dev losses of a phase, the first and the last.
fn dev_losses(folder: &Folder, run: &str, phase: &str) -> [f64; 2] {
    let text = fs::read_to_string(folder.path().join(run).join("metrics.jsonl")).unwrap();
    let mut losses = vec![];
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["phase"] == phase && line["name"] == "dev/loss" {
            losses.push(line["value"].as_f64().expect("a number"));
        }
    }
    [losses[0], losses[losses.len() - 1]]
}

fn speech() -> Value {
    json!({
        "kind": "decode", "manifest": "train.tsv", "dev": "dev.tsv", "seconds_per_batch": 2,
        "crop": "bucket", "bucket_seconds": 0.2
    })
}

fn fbank() -> Value {
    json!({ "kind": "fbank", "inputs": { "speech": "speech.speech" }, "bins": 20 })
}

fn teacher(layers: &[usize]) -> Value {
    json!({
        "kind": "teacher", "inputs": { "speech": "speech.speech" }, "model": "teacher",
        "layers": layers
    })
}

fn heads() -> Value {
    json!({ "kind": "project", "inputs": { "hiddens": "student.hiddens" }, "width": 24 })
}

fn matching() -> Value {
    json!({
        "kind": "loss", "inputs": { "student": "heads.hiddens", "target": "teacher.targets" },
        "terms": [{ "type": "l1" }]
    })
}

fn optimize() -> Value {
    json!({
        "kind": "optimize", "inputs": { "losses": ["match.loss"] }, "steps": 30,
        "rates": { "student": 1e-2, "heads": 1e-2 }, "weight_decay": 0.1, "checkpoint_every": 10
    })
}

const STATISTICS: &str = "$OUT/statistics/cmvn/cmvn.safetensors";

/// Statistics, then the front end alone, then the whole student.
fn three_phases(folder: &Folder) -> String {
    let adapted = json!({
        "kind": "student", "inputs": { "features": "fbank.features" }, "init": "teacher",
        "architecture": { "front_end": "fbank", "fbank_bins": 20 }, "layers": [0],
        "convention": "torchaudio", "cmvn": STATISTICS,
        "frozen": ["encoder.", "masked_spec_embed"]
    });
    let distilled = json!({
        "kind": "student", "inputs": { "features": "fbank.features" },
        "init": "$OUT/adapt/student", "layers": [1, 2],
        "spec_augment": { "frequency": 5, "time": 8 }
    });
    let training = |student: Value, layers: &[usize]| {
        json!({
            "speech": speech(), "fbank": fbank(), "teacher": teacher(layers), "student": student,
            "heads": heads(), "match": matching(), "step": optimize()
        })
    };
    let graph = json!({ "name": "fbank", "seed": 3, "phases": [
        { "name": "statistics", "nodes": {
            "speech": { "kind": "decode", "manifest": "train.tsv", "seconds_per_batch": 2 },
            "fbank": fbank(),
            "cmvn": { "kind": "cmvn", "inputs": { "features": "fbank.features" } }
        } },
        { "name": "adapt", "nodes": training(adapted, &[0]) },
        { "name": "distill", "nodes": training(distilled, &[1, 2]) },
    ] });
    write_graph(folder, "fbank", graph)
}

#[test]
fn a_front_end_over_log_mel_frames_is_adapted_and_distilled() {
    let folder = sample("fbank");
    let graph = three_phases(&folder);
    let checked = stdout_json(folder.path(), &["check", &graph, "--format", "json"]);
    let note = checked["phases"][1]["notes"][0].as_str().expect("a note");
    assert!(
        note.contains("draws feature_extractor.fbank_conv_layers.0.conv.weight, "),
        "{note}"
    );
    let log = run(&folder, &graph, "out", &[]);
    assert!(log.contains(note), "{log}");

    // Only the front end was trained: neither a step nor the decay reached the rest.
    let source = tensors(&folder, "teacher/model.safetensors");
    let adapted = tensors(&folder, "out/adapt/student/model.safetensors");
    let mut kept = 0;
    for (name, tensor) in &adapted {
        if name.starts_with("encoder.") || name == "masked_spec_embed" {
            let name = name
                .replace("conv.weight_g", "conv.parametrizations.weight.original0")
                .replace("conv.weight_v", "conv.parametrizations.weight.original1");
            assert_eq!(tensor, &source[&name], "{name}");
            kept += 1;
        }
    }
    assert!(kept > 30, "{kept}");
    let checkpoint = tensors(&folder, "out/checkpoint/adapt-00000030.safetensors");
    let mut trained: Vec<&str> = checkpoint
        .keys()
        .filter_map(|name| name.strip_prefix("weight.student."))
        .collect();
    trained.sort_unstable();
    assert_eq!(
        trained,
        [
            "feature_extractor.fbank_conv_layers.0.conv.bias",
            "feature_extractor.fbank_conv_layers.0.conv.weight",
            "feature_projection.fbank_projection.bias",
            "feature_projection.fbank_projection.weight",
        ]
    );
    for phase in ["adapt", "distill"] {
        let [before, after] = dev_losses(&folder, "out", phase);
        assert!(after < before, "{phase}: {before} {after}");
        let bytes = |path: String| fs::read(folder.path().join(path)).unwrap();
        assert_eq!(
            bytes(format!("out/{phase}/student/cmvn.safetensors")),
            bytes("out/statistics/cmvn/cmvn.safetensors".into())
        );
    }

    // SpecAugment draws the same when the run is resumed.
    let model = |out: &str| {
        fs::read(
            folder
                .path()
                .join(out)
                .join("distill/student/model.safetensors"),
        )
    };
    let whole = model("out").unwrap();
    fs::remove_file(
        folder
            .path()
            .join("out/checkpoint/distill-00000030.safetensors"),
    )
    .unwrap();
    let mut record = read_json(&folder.path().join("out/run.json"));
    record["finished"] = Value::Null;
    fs::write(folder.path().join("out/run.json"), record.to_string()).unwrap();
    run(&folder, &graph, "out", &["--resume"]);
    assert!(whole == model("out").unwrap());
    run(
        &folder,
        &graph,
        "plain",
        &["--set", "distill.student.spec_augment=null"],
    );
    assert!(whole != model("plain").unwrap());

    // The folder reads audio: as a teacher, whose cache knows the statistics, and in tools.
    let reads_audio = json!({ "name": "audio", "seed": 3, "nodes": {
        "speech": speech(),
        "teacher": {
            "kind": "teacher", "inputs": { "speech": "speech.speech" },
            "model": "out/distill/student", "layers": [1, 2], "cache": "cache"
        },
        "student": {
            "kind": "student", "inputs": { "speech": "speech.speech" }, "init": "teacher",
            "layers": [1, 2]
        },
        "heads": heads(), "match": matching(), "step": optimize()
    } });
    let audio = write_graph(&folder, "audio", reads_audio);
    let unnormalized = "no cmvn.safetensors is beside the model";
    let said = run(&folder, &audio, "first", &[]);
    assert!(!said.contains(unnormalized), "{said}");
    run(&folder, &audio, "second", &[]);
    let student = |out: &str| fs::read(folder.path().join(out).join("student/model.safetensors"));
    assert!(student("first").unwrap() == student("second").unwrap());
    let caches = || fs::read_dir(folder.path().join("cache")).unwrap().count();
    let before = caches();
    fs::remove_file(folder.path().join("out/distill/student/cmvn.safetensors")).unwrap();
    let said = run(&folder, &audio, "third", &[]);
    assert!(said.contains(unnormalized), "{said}");
    assert!(student("first").unwrap() != student("third").unwrap());
    assert_eq!(caches(), before + 1);
    let mut phones = String::from("path\tsplit\tphones\n");
    for i in 0..10 {
        let split = if i < 8 { "train" } else { "dev" };
        phones += &format!("{i}.wav\t{split}\t0:0.25:A 0.25:0.5:B\n");
    }
    fs::write(folder.path().join("phones.tsv"), phones).unwrap();
    for (student, is_said) in [("adapt", false), ("distill", true)] {
        let student = format!("out/{student}/student");
        let probe = ["probe", &student, "--labels", "phones.tsv"];
        let output = call(folder.path(), &probe);
        let said = stderr(&output);
        assert!(output.status.success(), "{said}");
        assert_eq!(said.contains(unnormalized), is_said, "{said}");
    }
    extract(&folder, "out/adapt/student", "0,1,2");
    let inspected = stdout_json(
        folder.path(),
        &["inspect", "out/adapt/student", "--format", "json"],
    );
    assert_eq!(inspected["front_end"], json!("fbank"));
    assert_eq!(inspected["cmvn"], json!(true));
    assert_eq!(inspected["normalize"], json!(false));
    assert_eq!(inspected["unread_tensors"], json!([]));
}

#[test]
fn an_lstm_is_trained_and_teaches() {
    let folder = sample("lstm");
    let graph = |student: Value, teacher: Value| {
        json!({ "name": "lstm", "seed": 3, "nodes": {
            "speech": speech(), "teacher": teacher, "student": student, "heads": heads(),
            "match": matching(), "step": optimize()
        } })
    };
    let lstm = json!({
        "kind": "student", "inputs": { "speech": "speech.speech" }, "init": "teacher",
        "architecture": {
            "encoder": "lstm", "lstm_hidden_size": 9, "num_hidden_layers": 2,
            "feature_projection": false
        },
        "layers": [1, 2], "frozen": ["feature_extractor."]
    });
    let file = write_graph(&folder, "lstm", graph(lstm, teacher(&[1, 2])));
    let log = run(&folder, &file, "both", &[]);
    assert!(log.contains("draws encoder.lstm.weight_ih_l0, "), "{log}");
    let [before, after] = dev_losses(&folder, "both", "main");
    assert!(after < before, "{before} {after}");
    let source = tensors(&folder, "teacher/model.safetensors");
    let model = "both/student/model.safetensors";
    for (name, tensor) in &tensors(&folder, model) {
        if name.starts_with("feature_extractor.") {
            assert_eq!(tensor, &source[name], "{name}");
        }
    }
    run(
        &folder,
        &file,
        "one",
        &["--set", "student.architecture.lstm_bidirectional=false"],
    );
    let config = read_json(&folder.path().join("one/student/config.json"));
    assert_eq!(config["lstm_bidirectional"], json!(false));
    assert_eq!(config["model_type"], "compact_hubert");

    let mut taught = teacher(&[1, 2]);
    taught["model"] = json!("both/student");
    let small = json!({
        "kind": "student", "inputs": { "speech": "speech.speech" }, "init": "one/student",
        "layers": [1, 2]
    });
    let mut again = graph(small, taught);
    again["nodes"]["heads"]["width"] = json!(18);
    let file = write_graph(&folder, "again", again);
    run(&folder, &file, "again", &["--set", "teacher.cache=cache"]);
    for layers in ["0,1,2", "1,2"] {
        extract(&folder, "one/student", layers);
    }
    let inspected = stdout_json(
        folder.path(),
        &["inspect", "one/student", "--format", "json"],
    );
    assert_eq!(inspected["width"], json!(9));
}
