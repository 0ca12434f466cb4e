//! Whole runs of the methods whose students are of another shape than their teacher, on the small
//! task of `sample`.
use crate::program::{Folder, execute, pipeline, read_json, stderr, stdout, stdout_json};
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

fn masking_graph(folder: &Folder) -> String {
    let teacher = |inputs: Value| json!({ "kind": "teacher", "inputs": inputs, "model": "teacher", "layers": [1, 2] });
    let seen = json!({ "speech": "speech.speech" });
    let masked = json!({ "speech": "speech.speech", "mask": "mask.mask" });
    let matching = |target: &str, frames: &str| {
        json!({
            "kind": "loss",
            "inputs": { "student": "heads.hiddens", "target": target, "mask": "mask.mask" },
            "terms": [{ "type": "mse" }], "layer_weights": [0.1, 1], "reduce": "sum",
            "frames": frames, "mean_over": "all"
        })
    };
    let student = architecture(json!({ "encoder_reuse_attention": [false, true] }));
    let nodes = json!({
        "speech": speech(),
        "mask": {
            "kind": "mask", "inputs": seen, "dev": false, "length": 3,
            "probability": { "from": 0.3, "to": 0.6, "epochs": 3 }
        },
        "teacher": teacher(seen),
        "masked-teacher": teacher(masked.clone()),
        "student": {
            "kind": "student", "inputs": masked, "architecture": student, "layers": [1, 2],
            "layer_gradients": "mean"
        },
        "heads": { "kind": "project", "inputs": { "hiddens": "student.hiddens" }, "width": 24 },
        "match": matching("teacher.targets", "masked"),
        "match-unmasked": matching("masked-teacher.targets", "unmasked"),
        "step": optimize(
            &["match.loss", "match-unmasked.loss"],
            json!({ "student": 1e-3, "heads": 1e-3 })
        ),
    });
    write_graph(folder, "masking", nodes)
}

/// A run is the same with live teachers, with cold caches, with full ones, and in two parts.
#[test]
fn masking_distillation_is_the_same_live_cached_and_resumed() {
    let folder = sample("masking");
    let graph = masking_graph(&folder);
    run(&folder, &graph, "live", &[]);
    let cached = [
        "--set",
        "teacher.cache=cache",
        "--set",
        "masked-teacher.cache=cache",
    ];
    for out in ["cold", "full"] {
        run(&folder, &graph, out, &cached);
        assert_eq!(model(&folder, out), model(&folder, "live"), "{out}");
    }
    run(&folder, &graph, "parts", &[]);
    let checkpoints = folder.path().join("parts/checkpoint");
    fs::remove_file(checkpoints.join("main-00000009.safetensors")).unwrap();
    let mut record = read_json(&folder.path().join("parts/run.json"));
    record["finished"] = Value::Null;
    fs::write(folder.path().join("parts/run.json"), record.to_string()).unwrap();
    run(&folder, &graph, "parts", &["--resume"]);
    assert_eq!(model(&folder, "parts"), model(&folder, "live"));

    // Without a mask all frames are compared with a teacher that sees everything.
    let total = metric(&folder, "live", "dev/loss");
    assert_eq!(total.len(), 2);
    assert!(total[1] < total[0], "{total:?}");
    assert_eq!(metric(&folder, "live", "dev/match/loss_mse"), [0.0, 0.0]);
    assert_eq!(
        metric(&folder, "live", "dev/match-unmasked/loss_mse"),
        total
    );

    let config = read_json(&folder.path().join("live/student/config.json"));
    assert_eq!(config["model_type"], "compact_hubert");
    assert_eq!(config["feat_extract_norm"], "compact_group");
    assert_eq!(config["encoder_reuse_attention"], json!([false, true]));
    let inspected = stdout_json(
        folder.path(),
        &["inspect", "live/student", "--format", "json"],
    );
    assert_eq!(inspected["unread_tensors"], json!([]));
    stdout(
        folder.path(),
        &[
            "extract",
            "live/student",
            "0.wav",
            "--layers",
            "0,2",
            "--out",
            "hidden.parquet",
        ],
    );
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

/// Decoupled distillation of a teacher's logits, whose head lies beside its weights.
#[test]
fn logits_of_a_teacher_train_a_student() {
    let folder = sample("logits");
    let path = folder.path();
    let speech = speech();
    let teacher = json!({
        "kind": "teacher", "inputs": { "speech": "speech.speech" }, "model": "teacher",
        "layers": [2]
    });
    let student = json!({
        "kind": "student", "inputs": { "speech": "speech.speech" }, "layers": [2],
        "architecture": architecture(json!({ "mask_time_prob": 0.0 }))
    });
    let head = json!({
        "kind": "logits", "inputs": { "hiddens": "student.hiddens" }, "type": "linear",
        "classes": 7
    });
    let nodes = |terms: Value| {
        json!({
            "speech": speech, "teacher": teacher, "student": student, "logits": head,
            "labels": { "kind": "label", "inputs": { "features": "teacher.logits" } },
            "match": {
                "kind": "loss", "terms": terms,
                "inputs": { "student": "logits.logits", "target": "teacher.logits" }
            },
            "classify": {
                "kind": "cross-entropy",
                "inputs": { "logits": "logits.logits", "labels": "labels.labels" }
            },
            "step": optimize(
                &["match.loss", "classify.loss"],
                json!({ "student": 1e-3, "logits": 1e-3 })
            ),
        })
    };
    let decoupled = json!([
        { "type": "target-class", "temperature": 2 },
        { "type": "other-classes", "temperature": 2, "weight": 4 }
    ]);
    let graph = write_graph(&folder, "decoupled", nodes(decoupled));
    let output = execute(&mut pipeline(path, &["check", &graph]));
    assert_eq!(output.status.code(), Some(78));
    let text = stderr(&output);
    let missing = "names `teacher.logits`: `teacher` has no logits.safetensors";
    assert!(text.contains(missing), "{text}");

    // The head that a first graph trains, on clusters of the teacher's own frames.
    let cluster = json!({
        "name": "head", "seed": 1,
        "phases": [
            { "name": "clusters", "nodes": {
                "speech": speech, "teacher": teacher,
                "cluster": {
                    "kind": "cluster", "inputs": { "features": "teacher.targets" }, "clusters": 7
                }
            } },
            { "name": "head", "nodes": {
                "speech": speech, "teacher": teacher,
                "label": {
                    "kind": "label", "inputs": { "features": "teacher.targets" },
                    "centroids": "$OUT/clusters/cluster/centroids.safetensors"
                },
                "student": {
                    "kind": "student", "inputs": { "speech": "speech.speech" }, "init": "teacher",
                    "layers": [2]
                },
                "logits": {
                    "kind": "logits", "inputs": { "hiddens": "student.hiddens" }, "classes": 7,
                    "width": 16
                },
                "classify": {
                    "kind": "cross-entropy",
                    "inputs": { "logits": "logits.logits", "labels": "label.labels" }
                },
                "step": optimize(&["classify.loss"], json!({ "student": 0, "logits": 1e-2 })),
            } },
        ]
    });
    fs::write(path.join("head.json"), cluster.to_string()).unwrap();
    run(&folder, "head.json", "head", &[]);
    let before = fs::read(path.join("teacher/model.safetensors")).unwrap();
    let written = path.join("head/head/logits/logits.safetensors");
    fs::copy(written, path.join("teacher/logits.safetensors")).unwrap();
    assert_eq!(
        fs::read(path.join("teacher/model.safetensors")).unwrap(),
        before
    );

    run(&folder, &graph, "decoupled", &[]);
    let loss = metric(&folder, "decoupled", "dev/loss");
    assert!(loss[1] < loss[0], "{loss:?}");
    for name in [
        "match/loss_target_class",
        "match/loss_other_classes",
        "classify/accuracy",
    ] {
        assert_eq!(
            metric(&folder, "decoupled", &format!("dev/{name}")).len(),
            2,
            "{name}"
        );
    }

    // With alpha 1 and beta 1 - p_t the decoupled loss is the whole; p_t differs by frame, so only
    // the bound KL <= TCKD + NCKD shows here.
    let whole = write_graph(
        &folder,
        "whole",
        nodes(json!([{ "type": "kl", "temperature": 2 }])),
    );
    run(&folder, &whole, "whole", &[]);
    let first = |out: &str, name: &str| metric(&folder, out, &format!("dev/match/{name}"))[0];
    let kl = first("whole", "loss_kl");
    let target = first("decoupled", "loss_target_class");
    let others = first("decoupled", "loss_other_classes");
    assert!(
        target < kl && kl < target + others,
        "{kl} {target} {others}"
    );
}
