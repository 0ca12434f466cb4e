//! Controls of distillation: the same graph, whose train rows get another utterance's targets. A
//! student that learns to imitate its teacher ends below its control on true dev targets.
mod exchange;

use crate::program::{Folder, execute, pipeline, root, stderr};
use crate::sample::sample;
use exchange::{exchange_targets, parts};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Returns the first dev loss of a run, and the first and the last of its last phase.
fn dev_losses(run: &Path) -> [f64; 3] {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines: Vec<Value> = lines.filter(|line| line["name"] == "dev/loss").collect();
    let last = lines.last().expect("a dev pass");
    let mut phase = lines.iter().filter(|line| line["phase"] == last["phase"]);
    let begin = phase.next().expect("the last line is of it");
    [&lines[0], begin, last].map(|line| line["value"].as_f64().unwrap())
}

/// Returns whether a manifest names an utterance.
fn named_by(manifest: &Path) -> impl Fn(&str) -> bool + use<> {
    let text = fs::read_to_string(manifest).unwrap();
    let paths = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split('\t').next());
    let ids: BTreeSet<String> = paths.map(str::to_owned).collect();
    move |id| ids.contains(id)
}

/// Dev losses of a graph's last phase, and how many train rows were exchanged.
struct Control {
    begin: f64,
    end: f64,
    /// The end of the run with exchanged targets.
    control_end: f64,
    /// Rows of all caches: exchanged, and without a partner.
    rows: (usize, usize),
}

/// Runs a graph twice in `folder`, which has the data that it names, and writes into `out`: at
/// first the caches of `cached` are filled, then their targets are exchanged.
fn control(
    folder: &Path,
    graph: &str,
    out: &Path,
    cached: &[&str],
    settings: &[&str],
    is_dev: impl Fn(&str) -> bool,
) -> Control {
    let caches: Vec<PathBuf> = cached.iter().map(|node| out.join(node)).collect();
    let run = |name: &str| {
        let run = out.join(name);
        let mut command = pipeline(folder, &["run", graph, "--out"]);
        command.arg(&run);
        for (node, cache) in cached.iter().zip(&caches) {
            command.args(["--set", &format!("{node}.cache={}", cache.display())]);
        }
        for setting in settings {
            command.args(["--set", setting]);
        }
        let output = execute(&mut command);
        assert!(output.status.success(), "{graph}: {}", stderr(&output));
        dev_losses(&run)
    };
    let [first, begin, end] = run("true");
    let mut rows = (0, 0);
    for cache in &caches {
        let (exchanged, alone) = exchange_targets(cache, &is_dev);
        rows = (rows.0 + exchanged, rows.1 + alone);
    }
    let before: Vec<_> = caches.iter().map(|cache| parts(cache)).collect();
    let [control_first, _, control_end] = run("control");
    let after: Vec<_> = caches.iter().map(|cache| parts(cache)).collect();
    assert_eq!(before, after, "{graph}: a row did not come from the cache");
    assert_eq!(first, control_first, "{graph}: dev targets are the same");
    Control {
        begin,
        end,
        control_end,
        rows,
    }
}

#[test]
fn targets_of_another_utterance_end_worse() {
    let folder = sample("control");
    let speech = json!({ "speech": "speech.speech" });
    let graph = json!({
        "name": "control",
        "seed": 4,
        "nodes": {
            "speech": {
                "kind": "decode", "manifest": "train.tsv", "dev": "dev.tsv", "seconds_per_batch": 2,
                "crop": "bucket", "bucket_seconds": 0.5
            },
            "teacher": { "kind": "teacher", "inputs": speech, "model": "teacher", "layers": [1, 2] },
            "student": {
                "kind": "student", "inputs": speech, "init": "teacher",
                "architecture": { "num_hidden_layers": 1 }, "layers": [0, 1]
            },
            "heads": { "kind": "project", "inputs": { "hiddens": "student.hiddens" }, "width": 24 },
            "match": {
                "kind": "loss", "inputs": { "student": "heads.hiddens", "target": "teacher.targets" },
                "terms": [{ "type": "mse" }]
            },
            "step": {
                "kind": "optimize", "inputs": { "losses": ["match.loss"] }, "steps": 60,
                "rates": { "student": 3e-3, "heads": 1e-2 }
            },
        }
    });
    fs::write(folder.path().join("control.json"), graph.to_string()).unwrap();
    let out = folder.path().join("out");
    let is_dev = named_by(&folder.path().join("dev.tsv"));
    let found = control(
        folder.path(),
        "control.json",
        &out,
        &["teacher"],
        &[],
        is_dev,
    );
    assert_eq!(found.rows, (8, 0));
    assert!(
        found.end < 0.9 * found.control_end,
        "{} {}",
        found.end,
        found.control_end
    );
    assert!(found.end < found.begin);
}

/// Graphs, the updates after which their table compares them, and the most that dev/loss may be then
/// of the control's: those of the graphs themselves, but of fbank-hubert's three phases.
const GRAPHS: [(&str, u32, f64); 7] = [
    ("armhubert", 600, 0.75),
    ("maskhubert", 600, 0.8),
    ("starhubert", 600, 0.6),
    ("distilhubert", 600, 0.65),
    ("fithubert", 600, 0.7),
    ("lstm-dkd", 600, 0.4),
    ("fbank-hubert", 100, 0.6),
];

/// The most that dev/loss may be at the end of what it was at the start.
const OF_START: f64 = 0.9;

/// Prints the table of docs/methods.md; of it only the graphs that the environment's `CONTROLS` names,
/// if it names any, as `CONTROLS=starhubert,fithubert`.
#[test]
#[ignore = "takes 40 minutes"]
fn controls_of_the_sample_graphs() {
    println!(
        "| graph | updates | rows exchanged | dev/loss before | after | after, others' targets |"
    );
    println!("|---|---|---|---|---|---|");
    let only = std::env::var("CONTROLS").unwrap_or_default();
    let is_wanted = |name: &str| only.is_empty() || only.split(',').any(|wanted| wanted == name);
    for (name, updates, of_control) in GRAPHS {
        if !is_wanted(name) {
            continue;
        }
        let cached: &[&str] = match name {
            "armhubert" | "maskhubert" => &["teacher", "masked-teacher"],
            _ => &["teacher"],
        };
        let folder = Folder::new(&format!("control-{name}"));
        let graph = format!("graphs/{name}.json");
        let steps = format!("step.steps={updates}");
        let is_dev = named_by(&root().join("data/sample/dev.tsv"));
        let found = control(root(), &graph, folder.path(), cached, &[&steps], is_dev);
        println!(
            "| {name} | {updates} | {} of {} | {:.4} | {:.4} | {:.4} |",
            found.rows.0,
            found.rows.0 + found.rows.1,
            found.begin,
            found.end,
            found.control_end
        );
        assert!(found.end < of_control * found.control_end, "{name}");
        assert!(found.end < OF_START * found.begin, "{name}");
    }
}
