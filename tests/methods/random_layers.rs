//! Losses that count a drawn part of the layers in each epoch.
use super::{architecture, model, optimize, run, speech, write_graph};
use crate::program::{Folder, read_json, root};
use crate::sample::sample;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Weights of five layers that lie so far apart that the size of a loss tells which of them counted;
/// the last one, which always counts, adds nothing.
const WEIGHTS: [f64; 5] = [1.0, 100.0, 1e4, 1e6, 0.0];
const EPOCHS: usize = 10;

/// Writes a graph with four losses of the same layers and another weighting each: a batch is an
/// epoch, and each epoch draws one layer of four beside the last.
fn drawing_graph(folder: &Folder, name: &str) -> String {
    let teacher = root().join("tests/golden/arm");
    let matching = |weights: Value, reduce: &str| {
        json!({
            "kind": "loss",
            "inputs": { "student": "student.hiddens", "target": "teacher.targets" },
            "terms": [{ "type": "mse" }], "layer_weights": weights, "reduce": reduce,
            "random_layers": 1
        })
    };
    let mut speech = speech();
    speech["seconds_per_batch"] = json!(12);
    speech["crop"] = json!("none");
    speech.as_object_mut().unwrap().remove("bucket_seconds");
    let mut step = optimize(
        &["sum.loss", "weighted.loss", "last.loss", "mean.loss"],
        json!({ "student": 1e-3 }),
    );
    step["steps"] = json!(EPOCHS);
    let keys = json!({
        "conv_dim": [12, 16, 16, 16, 16, 16, 16, 16, 16], "hidden_size": 16,
        "num_hidden_layers": 4, "mask_time_prob": 0.0
    });
    let nodes = json!({
        "speech": speech,
        "teacher": {
            "kind": "teacher", "inputs": { "speech": "speech.speech" }, "model": teacher,
            "layers": [0, 1, 2, 3, 4]
        },
        "student": {
            "kind": "student", "inputs": { "speech": "speech.speech" },
            "architecture": architecture(keys), "layers": [0, 1, 2, 3, 4]
        },
        "sum": matching(Value::Null, "sum"),
        "weighted": matching(json!(WEIGHTS), "sum"),
        "last": matching(json!([0, 0, 0, 0, 1]), "sum"),
        "mean": matching(Value::Null, "mean"),
        "step": step,
    });
    write_graph(folder, name, nodes)
}

/// Returns the values of a train metric by epoch; there is one update an epoch.
fn by_epoch(folder: &Folder, run: &str, name: &str) -> BTreeMap<u64, f64> {
    let text = fs::read_to_string(folder.path().join(run).join("metrics.jsonl")).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines: Vec<Value> = lines.filter(|line| line["name"] == name).collect();
    let values: BTreeMap<u64, f64> = lines
        .iter()
        .map(|line| {
            let epoch = line["epoch"].as_u64().unwrap();
            (epoch, line["value"].as_f64().unwrap())
        })
        .collect();
    assert_eq!(
        (values.len(), lines.len()),
        (EPOCHS, EPOCHS),
        "{name}: an update is an epoch"
    );
    values
}

/// Returns the layer that each epoch drew, and checks that all losses counted it, the last one, and
/// no other.
fn drawn_layers(folder: &Folder, run: &str) -> Vec<usize> {
    let distance = |node: &str| by_epoch(folder, run, &format!("{node}/loss_distill"));
    let sum = distance("sum");
    let weighted = distance("weighted");
    let last = distance("last");
    let mean = distance("mean");
    let mut drawn = vec![];
    for (epoch, weighted) in weighted {
        // Distances of single layers are between 0.1 and 10.
        let layer = (weighted.log10() / 2.0).round() as usize;
        let of_layer = weighted / WEIGHTS[layer];
        assert!((0.1..10.0).contains(&of_layer), "epoch {epoch}: {weighted}");
        let of_last = last[&epoch];
        assert!(
            of_last > 0.1,
            "epoch {epoch}: the last layer does not count"
        );
        let expected = of_layer + of_last;
        let found = sum[&epoch];
        assert!(
            (found - expected).abs() < 1e-5 * expected,
            "epoch {epoch}: {found} is not layer {layer} with {of_layer} and the last with {of_last}"
        );
        let found = mean[&epoch];
        assert!(
            (found - expected / 2.0).abs() < 1e-5 * expected,
            "epoch {epoch}: {found} is not the mean of two layers, {expected} together"
        );
        drawn.push(layer);
    }
    drawn
}

/// Losses of a run draw alike, by epoch and seed, also in a run that goes on.
#[test]
fn losses_draw_the_same_layers_in_an_epoch() {
    let folder = sample("random-layers");
    let graph = drawing_graph(&folder, "drawing");
    run(&folder, &graph, "whole", &[]);
    let drawn = drawn_layers(&folder, "whole");
    let distinct: BTreeSet<usize> = drawn.iter().copied().collect();
    assert!(distinct.len() > 2, "{drawn:?}");
    assert!(drawn.windows(2).any(|pair| pair[0] != pair[1]), "{drawn:?}");

    run(&folder, &graph, "parts", &[]);
    let checkpoints = folder.path().join("parts/checkpoint");
    fs::remove_file(checkpoints.join("main-00000010.safetensors")).unwrap();
    let mut record = read_json(&folder.path().join("parts/run.json"));
    record["finished"] = Value::Null;
    fs::write(folder.path().join("parts/run.json"), record.to_string()).unwrap();
    run(&folder, &graph, "parts", &["--resume"]);
    assert_eq!(drawn_layers(&folder, "parts"), drawn);
    assert_eq!(model(&folder, "parts"), model(&folder, "whole"));

    let mut other = read_json(&folder.path().join(&graph));
    other["seed"] = json!(5);
    fs::write(folder.path().join("other.json"), other.to_string()).unwrap();
    run(&folder, "other.json", "other", &[]);
    assert_ne!(drawn_layers(&folder, "other"), drawn);
}
