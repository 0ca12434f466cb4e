//! Distillation of masked frames by two teachers.
use super::{architecture, metric, model, optimize, run, speech, write_graph};
use crate::program::{Folder, read_json, stdout, stdout_json};
use crate::sample::sample;
use serde_json::{Value, json};
use std::fs;

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
