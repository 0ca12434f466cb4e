//! Whole runs of the methods whose students are of another shape than their teacher, on the small
//! task of `sample`.
mod logits;
mod masking;
mod random_layers;

use crate::program::{Folder, execute, pipeline, stderr, stdout, stdout_json};
use crate::sample::sample;
use serde_json::{Value, json};
use std::fs;
use std::process::Output;

/// The keys of a student with nine convolutions and no feature projection.
fn architecture(more: Value) -> Value {
    let mut keys = json!({
        "conv_dim": [12, 16, 16, 16, 16, 16, 20, 20, 20],
        "conv_kernel": [10, 1, 3, 3, 3, 3, 1, 2, 2],
        "conv_stride": [5, 1, 2, 2, 2, 2, 1, 2, 2],
        "feature_projection": false,
        "hidden_size": 20,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4,
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        keys[key] = value.clone();
    }
    keys
}

fn speech() -> Value {
    json!({
        "kind": "decode", "manifest": "train.tsv", "dev": "dev.tsv", "seconds_per_batch": 2,
        "crop": "bucket", "bucket_seconds": 0.2
    })
}

fn optimize(losses: &[&str], rates: Value) -> Value {
    json!({
        "kind": "optimize", "inputs": { "losses": losses }, "steps": 9, "rates": rates,
        "checkpoint_every": 4
    })
}

/// Writes a graph of one phase and returns its file's name.
fn write_graph(folder: &Folder, name: &str, nodes: Value) -> String {
    let file = format!("{name}.json");
    let graph = json!({ "name": name, "seed": 4, "nodes": nodes });
    fs::write(folder.path().join(&file), graph.to_string()).unwrap();
    file
}

fn run(folder: &Folder, graph: &str, out: &str, extra: &[&str]) -> Output {
    let output = execute(pipeline(folder.path(), &["run", graph, "--out", out]).args(extra));
    assert!(output.status.success(), "{}", stderr(&output));
    output
}

fn model(folder: &Folder, run: &str) -> Vec<u8> {
    fs::read(folder.path().join(run).join("student/model.safetensors")).unwrap()
}

/// Returns the values of a metric in the order of the file.
fn metric(folder: &Folder, run: &str, name: &str) -> Vec<f64> {
    let text = fs::read_to_string(folder.path().join(run).join("metrics.jsonl")).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .filter(|line| line["name"] == name)
        .map(|line| line["value"].as_f64().expect("a number"))
        .collect()
}

/// Gram matrices and maps of a student whose width and number of heads are not the teacher's.
#[test]
fn temporal_relations_and_attention_maps_train_a_student() {
    let folder = sample("relations");
    let nodes = json!({
        "speech": speech(),
        "teacher": {
            "kind": "teacher", "inputs": { "speech": "speech.speech" }, "model": "teacher",
            "layers": [0, 1, 2]
        },
        "student": {
            "kind": "student", "inputs": { "speech": "speech.speech" },
            "architecture": architecture(json!({ "mask_time_prob": 0.0 })), "layers": [0, 1, 2]
        },
        "match": {
            "kind": "loss",
            "inputs": {
                "student": "student.hiddens", "target": "teacher.targets",
                "student_maps": "student.maps", "target_maps": "teacher.maps"
            },
            "terms": [{ "type": "gram" }, { "type": "gram-between" }, { "type": "map-kl" }]
        },
        "step": optimize(&["match.loss"], json!({ "student": 1e-3 })),
    });
    let graph = write_graph(&folder, "relations", nodes);
    run(&folder, &graph, "live", &[]);
    let loss = metric(&folder, "live", "dev/loss");
    assert!(loss[1] < loss[0], "{loss:?}");
    for name in ["loss_gram", "loss_gram_between", "loss_map_kl"] {
        let values = metric(&folder, "live", &format!("dev/{name}"));
        assert!(
            values.iter().all(|value| *value > 0.0),
            "{name}: {values:?}"
        );
    }
    let output = run(&folder, &graph, "cached", &["--set", "teacher.cache=cache"]);
    let text = stderr(&output);
    assert!(
        text.contains("node `teacher`: `maps` is not cached"),
        "{text}"
    );
    assert_eq!(model(&folder, "cached"), model(&folder, "live"));
    let check = ["check", &graph, "--set", "teacher.cache=cache"];
    let planned = stdout(folder.path(), &check);
    assert!(
        planned.contains("its maps are not cached") && planned.contains("(they would take 0.0"),
        "{planned}"
    );
}

/// A student of half the frames, and one that begins as a part of its teacher.
#[test]
fn students_with_other_frames_or_with_layers_of_the_teacher() {
    let folder = sample("baselines");
    let teacher = |layers: Value| {
        json!({
            "kind": "teacher", "inputs": { "speech": "speech.speech" }, "model": "teacher",
            "layers": layers
        })
    };
    let matching = json!({
        "kind": "loss", "inputs": { "student": "heads.hiddens", "target": "teacher.targets" },
        "terms": [{ "type": "mse" }]
    });
    let step = optimize(&["match.loss"], json!({ "student": 1e-3, "heads": 1e-3 }));
    let halved = json!({
        "speech": speech(), "teacher": teacher(json!([1, 2])), "match": matching, "step": step,
        "student": {
            "kind": "student", "inputs": { "speech": "speech.speech" },
            "architecture": architecture(json!({ "time_reduction": 2 })), "layers": [1, 2]
        },
        "heads": {
            "kind": "project", "inputs": { "hiddens": "student.hiddens" }, "type": "upsample",
            "width": 24
        },
    });
    let graph = write_graph(&folder, "halved", halved);
    run(&folder, &graph, "halved", &[]);
    let loss = metric(&folder, "halved", "dev/loss");
    assert!(loss[1] < loss[0], "{loss:?}");

    let expanded = json!({
        "speech": speech(), "teacher": teacher(json!([1, 2])), "match": matching, "step": step,
        "student": {
            "kind": "student", "inputs": { "speech": "speech.speech" }, "init": "teacher",
            "architecture": { "num_hidden_layers": 1, "feat_proj_layer_norm": false },
            "init_layers": [2], "layers": [1], "feature_gradient": 0.1
        },
        "heads": {
            "kind": "project", "inputs": { "hiddens": "student.hiddens" }, "type": "expand",
            "targets": 2, "width": 24
        },
    });
    let graph = write_graph(&folder, "expanded", expanded);
    let checked = stdout_json(folder.path(), &["check", &graph, "--format", "json"]);
    let note = checked["notes"][0].as_str().unwrap();
    assert!(
        note.starts_with("node `student`: takes ") && note.ends_with("from `teacher`"),
        "{note}"
    );
    let output = run(&folder, &graph, "expanded", &[]);
    assert!(stderr(&output).contains(note), "{}", stderr(&output));
    let loss = metric(&folder, "expanded", "dev/loss");
    assert!(loss[1] < loss[0], "{loss:?}");
}

/// A student of two layers that both begin as the teacher's second: they are two layers, not one.
#[test]
fn a_layer_may_fill_several() {
    let folder = sample("filled-twice");
    let nodes = json!({
        "speech": speech(),
        "teacher": {
            "kind": "teacher", "inputs": { "speech": "speech.speech" }, "model": "teacher",
            "layers": [1, 2]
        },
        "student": {
            "kind": "student", "inputs": { "speech": "speech.speech" }, "layers": [1, 2],
            "init": "teacher", "init_layers": [2, 2]
        },
        "match": {
            "kind": "loss", "inputs": { "student": "student.hiddens", "target": "teacher.targets" },
            "terms": [{ "type": "mse" }]
        },
        "step": optimize(&["match.loss"], json!({ "student": 1e-3 })),
    });
    let graph = write_graph(&folder, "twice", nodes);
    run(&folder, &graph, "out", &[]);
    let file = folder.path().join("out/student/model.safetensors");
    let tensors = nodes::data::file::load(&file).unwrap();
    let of_layer =
        |layer: usize| &tensors[&format!("encoder.layers.{layer}.attention.q_proj.weight")].1;
    assert!(of_layer(0) != of_layer(1));
    let source = nodes::data::file::load(&folder.path().join("teacher/model.safetensors")).unwrap();
    let begun = &source["encoder.layers.1.attention.q_proj.weight"].1;
    for layer in [0, 1] {
        let mut moved = begun
            .iter()
            .zip(of_layer(layer))
            .map(|(was, is)| (was - is).abs());
        assert!(moved.all(|moved| moved < 0.05), "layer {layer}");
    }
}
