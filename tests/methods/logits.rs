//! Distillation of a teacher's logits.
use super::{architecture, metric, optimize, run, speech, write_graph};
use crate::program::{execute, pipeline, stderr};
use crate::sample::sample;
use serde_json::{Value, json};
use std::fs;

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
    let before = fs::read(path.join("teacher/model.safetensors")).unwrap();
    run(&folder, "head.json", "head", &[]);
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
