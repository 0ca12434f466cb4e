//! Heads for what is said and for who speaks: a phase that trains them, and one that scores them.
use crate::program::{Folder, stderr};
use crate::sample::{run, sample};
use nodes::node::outcomes::{Rule, read_outcomes};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

fn upstream(manifest: &str) -> Value {
    json!({
        "speech": { "kind": "decode", "manifest": manifest, "seconds_per_batch": 3 },
        "upstream": {
            "kind": "teacher", "inputs": { "speech": "speech.speech" }, "model": "teacher",
            "layers": "all"
        },
        "mix": { "kind": "mix", "inputs": { "targets": "upstream.targets" } },
        "connector": { "kind": "project", "inputs": { "hiddens": "mix.hiddens" }, "width": 12 },
    })
}

/// Adds what trains `nodes` at this rate to the nodes of a phase, with a dev pass every update.
fn with_step(mut nodes: Value, losses: &[&str], trained: &[&str], best: &str) -> Value {
    nodes["speech"]["dev"] = "dev.tsv".into();
    nodes["speech"]["dev_every"] = 1.into();
    let rates: BTreeMap<&str, f64> = trained.iter().map(|node| (*node, 0.01)).collect();
    nodes["step"] = json!({
        "kind": "optimize", "inputs": { "losses": losses }, "steps": 6, "rates": rates,
        "schedule": { "type": "constant" }, "clip_norm": 1,
        "best": { "metric": best, "goal": "min" },
    });
    nodes
}

/// Writes g.json with a phase `train` and a phase `test`, runs it, and returns the values of each
/// metric in their order.
fn metrics(folder: &Folder, train: Value, test: Value) -> BTreeMap<String, Vec<f64>> {
    let phases = json!([{ "name": "train", "nodes": train }, { "name": "test", "nodes": test }]);
    let graph = json!({ "name": "g", "seed": 3, "phases": phases });
    fs::write(folder.path().join("g.json"), graph.to_string()).unwrap();
    let output = run(folder, "out", &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let lines = fs::read_to_string(folder.path().join("out/metrics.jsonl")).unwrap();
    let mut metrics: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let name = line["name"].as_str().unwrap().to_owned();
        let values = metrics.entry(name).or_default();
        values.push(line["value"].as_f64().unwrap());
    }
    metrics
}

#[test]
fn what_is_said_is_trained_and_scored() {
    let folder = sample("letters");
    let said = (0..10).map(|i| format!("{i} {}\n", ["NO ON", "O"][i % 2]));
    fs::write(folder.path().join("text"), said.collect::<String>()).unwrap();
    let heads = |manifest: &str, init: Option<&str>| {
        let mut nodes = upstream(manifest);
        nodes["labels"] = json!({
            "kind": "transcripts", "inputs": { "speech": "speech.speech" }, "file": "text",
            "units": "letters", "vocabulary": ["<eos>", "|", "N", "O"], "suffix": ["|", "<eos>"],
        });
        nodes["blstm"] = json!({
            "kind": "recurrent", "inputs": { "hiddens": "connector.hiddens" }, "layers": 1,
            "width": 6, "dropout": 0.2,
        });
        nodes["logits"] = json!({
            "kind": "logits", "inputs": { "hiddens": "blstm.hiddens" }, "type": "linear",
            "classes": 5,
        });
        nodes["spell"] = json!({
            "kind": "ctc",
            "inputs": { "logits": "logits.logits", "labels": "labels.labels" },
        });
        for node in ["mix", "blstm", "logits"] {
            nodes[node]["init"] = init.map(|phase| format!("{phase}/{node}")).into();
        }
        if let Some(phase) = init {
            nodes["connector"]["init"] = format!("{phase}/connector/heads.safetensors").into();
        }
        nodes
    };
    let mut train = heads("train.tsv", None);
    train["augment"] = json!({ "kind": "spec-augment", "inputs": { "hiddens": "mix.hiddens" } });
    train["connector"]["inputs"]["hiddens"] = "augment.hiddens".into();
    let trained = ["mix", "connector", "blstm", "logits"];
    let train = with_step(train, &["spell.loss"], &trained, "dev/loss");
    // The dev set is the test set, so the best dev pass scores as the test does.
    let metrics = metrics(&folder, train, heads("dev.tsv", Some("$OUT/train")));
    let dev_losses = &metrics["dev/loss"];
    let best = dev_losses.iter().copied().fold(f64::MAX, f64::min);
    assert!(best < dev_losses[0], "{dev_losses:?}");
    let test = metrics["test/loss_ctc"][0];
    assert!((test - best).abs() < 1e-5, "{test} is not {best}");
    for head in ["mix", "connector", "blstm", "logits"] {
        let written = folder.path().join("out/test").join(head);
        assert!(!written.exists(), "a test phase writes no heads: {head}");
    }
    for (metric, units) in [("wer", 3.0), ("cer", 6.0)] {
        let outcomes = read_outcomes(&folder.path().join("out/test/spell/outcomes.tsv")).unwrap();
        let outcomes = outcomes
            .iter()
            .find(|found| found.metric == metric)
            .unwrap();
        let rows: Vec<[f64; 2]> = outcomes.rows.iter().map(|row| row.numbers).collect();
        assert_eq!(rows.iter().map(|row| row[1]).sum::<f64>(), units);
        let rate = Rule::Ratio.metric(&rows).unwrap();
        assert!((rate - metrics[&format!("test/{metric}")][0]).abs() < 1e-6);
    }
}

#[test]
fn speakers_are_trained_and_verified() {
    let folder = sample("speakers");
    let speakers = (0..10).map(|i| format!("{i}.wav\tspeaker {}\n", i % 2));
    fs::write(
        folder.path().join("speakers.txt"),
        speakers.collect::<String>(),
    )
    .unwrap();
    let trials = "1 0.wav 2.wav\n0 0.wav 1.wav\n0 1.wav 2.wav\n1 1.wav 3.wav\n0 0.wav 3.wav\n";
    fs::write(folder.path().join("test.txt"), trials).unwrap();
    fs::write(
        folder.path().join("dev.txt"),
        "0 8.wav 9.wav\n1 8.wav 8.wav\n",
    )
    .unwrap();
    let heads = |manifest: &str, trials: &str, init: Option<&str>| {
        let mut nodes = upstream(manifest);
        nodes["vectors"] = json!({
            "kind": "x-vector", "inputs": { "hiddens": "connector.hiddens" }, "width": 8, "pooled": 10,
        });
        nodes["verify"] = json!({
            "kind": "trials", "file": trials,
            "inputs": { "embeddings": "vectors.embeddings", "speech": "speech.speech" },
        });
        for node in ["mix", "vectors"] {
            nodes[node]["init"] = init.map(|phase| format!("{phase}/{node}")).into();
        }
        if let Some(phase) = init {
            nodes["connector"]["init"] = format!("{phase}/connector/heads.safetensors").into();
        }
        nodes
    };
    let mut train = heads("train.tsv", "dev.txt", None);
    train["labels"] = json!({
        "kind": "label-file", "inputs": { "speech": "speech.speech" }, "file": "speakers.txt",
        "units": "utterance",
    });
    train["margin"] = json!({
        "kind": "additive-margin", "classes": 2,
        "inputs": { "hiddens": "vectors.hiddens", "labels": "labels.labels" },
    });
    let trained = ["mix", "connector", "vectors", "margin"];
    let losses = ["margin.loss", "verify.loss"];
    let train = with_step(train, &losses, &trained, "dev/eer");
    let metrics = metrics(
        &folder,
        train,
        heads("train.tsv", "test.txt", Some("$OUT/train")),
    );
    // The one target is an utterance and itself.
    assert!(metrics["dev/eer"].iter().all(|rate| *rate == 0.0));
    assert!(metrics.contains_key("dev/loss_am") && metrics.contains_key("accuracy"));
    let outcomes = read_outcomes(&folder.path().join("out/test/verify/outcomes.tsv")).unwrap();
    let rows: Vec<[f64; 2]> = outcomes[0].rows.iter().map(|row| row.numbers).collect();
    assert_eq!(rows.len(), 5);
    let rate = Rule::EqualError.metric(&rows).unwrap();
    assert!((rate - metrics["test/eer"][0]).abs() < 1e-6);
    assert!(
        !metrics.contains_key("test/loss"),
        "nothing has a loss in this phase"
    );
}
