//! Heads on a frozen model: the weights of the best dev pass, and the phase that scores them.
use crate::program::{Folder, call, root, stderr};
use crate::run::interrupted;
use crate::sample::{run, sample};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Output;

/// Returns the nodes of a phase that reads a manifest of the small task.
fn nodes(manifest: &str) -> Value {
    let inputs = json!({ "speech": "speech.speech" });
    json!({
        "speech": { "kind": "decode", "manifest": manifest, "seconds_per_batch": 2 },
        "upstream": {
            "kind": "teacher", "inputs": inputs, "model": "teacher", "layers": "all", "pool": "mean"
        },
        "labels": {
            "kind": "label-file", "inputs": inputs, "file": "labels.tsv", "units": "utterance"
        },
        "mix": { "kind": "mix", "inputs": { "targets": "upstream.targets" } },
        "classifier": {
            "kind": "classifier", "inputs": { "hiddens": "mix.hiddens" }, "classes": 2, "width": 8
        },
        "classify": {
            "kind": "cross-entropy",
            "inputs": { "logits": "classifier.logits", "labels": "labels.labels" }
        },
    })
}

/// Creates the small task with labels: g.json trains a head on train.tsv and scores it on dev.tsv.
/// Its rate is so high that the last weights are not the best.
fn labelled(name: &str) -> Folder {
    let folder = sample(name);
    let labels: Vec<String> = (0..10)
        .map(|i| format!("{i}.wav\tclass {}", i % 2))
        .collect();
    fs::write(folder.path().join("labels.tsv"), labels.join("\n")).unwrap();
    let mut train = nodes("train.tsv");
    train["speech"]["dev"] = "dev.tsv".into();
    train["speech"]["dev_every"] = 1.into();
    train["speech"]["rows_per_batch"] = 3.into();
    train["step"] = json!({
        "kind": "optimize", "inputs": { "losses": ["classify.loss"] }, "steps": 40,
        "rates": { "mix": 0.5, "classifier": 0.5 }, "schedule": { "type": "constant" },
        "checkpoint_every": 4, "best": { "metric": "dev/loss", "goal": "min" },
    });
    let mut test = nodes("dev.tsv");
    test["mix"]["init"] = "$OUT/train/mix".into();
    test["classifier"]["init"] = "$OUT/train/classifier".into();
    let phases = json!([{ "name": "train", "nodes": train }, { "name": "test", "nodes": test }]);
    let graph = json!({ "name": "g", "seed": 3, "phases": phases });
    fs::write(folder.path().join("g.json"), graph.to_string()).unwrap();
    folder
}

/// Returns the metrics of a phase as (step, name, value), without those that time decides.
fn metrics(run: &Path, phase: &str) -> Vec<(u64, String, f64)> {
    let mut metrics = vec![];
    for line in fs::read_to_string(run.join("metrics.jsonl"))
        .unwrap()
        .lines()
    {
        let line: Value = serde_json::from_str(line).unwrap();
        let name = line["name"].as_str().unwrap().to_owned();
        if line["phase"] == phase && name != "audio_per_second" {
            let value = line["value"].as_f64().unwrap();
            metrics.push((line["step"].as_u64().unwrap(), name, value));
        }
    }
    metrics
}

fn weights(run: &Path) -> [Vec<u8>; 2] {
    ["mix", "classifier"]
        .map(|node| fs::read(run.join("train").join(node).join("weights.safetensors")).unwrap())
}

/// The test set is the dev set here, so the test loss is that of the best dev pass.
#[test]
fn a_phase_ends_with_the_weights_of_its_best_dev_pass() {
    let folder = labelled("best");
    let output = run(&folder, "out", &[]);
    let text = stderr(&output);
    assert!(output.status.success(), "{text}");
    let out = folder.path().join("out");
    let train = metrics(&out, "train");
    let mut dev = train.iter().filter(|(_, name, _)| name == "dev/loss");
    let best = dev.clone().min_by(|a, b| a.2.total_cmp(&b.2)).unwrap();
    assert!(
        best.0 != dev.next_back().unwrap().0,
        "the last pass is the best: {train:?}"
    );
    assert!(
        text.contains(&format!("the weights are those of update {},", best.0)),
        "{text}"
    );
    let test = metrics(&out, "test");
    let names: Vec<&str> = test.iter().map(|(_, name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["test/loss", "test/loss_ce", "test/accuracy", "test/f1"]
    );
    assert!(test.iter().all(|(step, ..)| *step == 0));
    assert!(
        (test[0].2 - best.2).abs() < 1e-6,
        "{} is not {}",
        test[0].2,
        best.2
    );
    let rows = nodes::node::outcomes::read_outcomes(&out.join("test/classify/outcomes.tsv"));
    let rows = rows.unwrap();
    assert_eq!(rows[0].metric, "accuracy");
    assert_eq!(rows[0].rows.len(), 2);
    let right: f64 = rows[0].rows.iter().map(|row| row.numbers[0]).sum();
    assert_eq!(right / 2.0, test[2].2);
    assert!(
        !out.join("test/mix").exists(),
        "a test phase writes no weights"
    );
    // The page shows what was scored, with the number of rows and the interval.
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    let accuracy = nodes::chart::scale::number(test[2].2);
    let row = format!("<tr><td>test/accuracy</td><td class=\"number\">{accuracy}</td>");
    assert!(page.contains(&row), "{row}");
    assert!(page.contains("<span>n = 2, 95 %: "));
    assert!(page.contains("<tr><td>test/loss</td>"));
}

/// A run that was stopped and killed ends with the files of one that was not.
#[test]
fn the_best_weights_outlive_interruptions() {
    let folder = labelled("best-resumed");
    assert!(run(&folder, "whole", &[]).status.success());
    assert_eq!(interrupted(&folder, "stopped", "TERM", 60), Some(75));
    for lines in [100, 160] {
        assert_eq!(interrupted(&folder, "stopped", "KILL", lines), None);
    }
    let output = run(&folder, "stopped", &["--resume"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let whole = folder.path().join("whole");
    let stopped = folder.path().join("stopped");
    assert!(weights(&stopped) == weights(&whole));
    for phase in ["train", "test"] {
        assert_eq!(metrics(&stopped, phase), metrics(&whole, phase));
    }
}

/// A benchmark and a tap have no dev passes, and so no best one.
#[test]
fn phases_with_a_best_pass_are_timed_and_tapped() {
    let folder = labelled("best-dry");
    let out = folder.path().join("logits.parquet");
    let tap = [
        "tap",
        "g.json",
        "classifier.logits",
        "--steps",
        "1",
        "--out",
    ];
    for arguments in [
        &["bench", "g.json", "--steps", "1"][..],
        &["bench", "g.json", "--steps", "1", "--phase", "test"],
        &[&tap[..], &[out.to_str().unwrap()]].concat(),
    ] {
        let output = call(folder.path(), arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
    assert!(out.exists());
}

/// Which pass is the best depends on when dev passes are, so `dev_every` stays. A short run has test
/// numbers of the whole set.
#[test]
fn dev_passes_stay_where_the_best_one_counts() {
    let folder = labelled("best-dev-every");
    assert!(run(&folder, "out", &["--steps", "1"]).status.success());
    let scored = folder.path().join("out/test/classify/outcomes.tsv");
    let scored = nodes::node::outcomes::read_outcomes(&scored).unwrap();
    assert_eq!(scored[0].rows.len(), 2, "`--steps` cuts no test set");
    let arguments = [
        "--steps",
        "1",
        "--resume",
        "--set",
        "train.speech.dev_every=3",
    ];
    let output = run(&folder, "out", &arguments);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("train.speech.dev_every"),
        "{}",
        stderr(&output)
    );
}

fn superb(folder: &Folder, models: &[&str], extra: &[&str]) -> Output {
    let out = folder.path().join("superb");
    let mut arguments = vec!["superb"];
    arguments.extend(models);
    arguments.extend([
        "--tasks",
        "er",
        "--steps",
        "2",
        "--out",
        out.to_str().unwrap(),
    ]);
    arguments.extend(extra);
    call(root(), &arguments)
}

/// Two updates learn nothing, but every part of the command runs; a second call measures nothing
/// anew.
#[test]
fn models_are_scored_side_by_side() {
    let folder = Folder::new("superb");
    let model = "tests/golden/base";
    let rates = ["--rates", "1e-4,1e-2", "--format", "json"];
    let output = superb(&folder, &[model, "fbank"], &rates);
    let text = stderr(&output);
    assert!(output.status.success(), "{text}");
    assert_eq!(text.matches("rate 1e-2: dev accuracy").count(), 2, "{text}");
    let scores: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(scores[0]["model"], model);
    let keys: Vec<&String> = scores[1].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["model", "parameters", "macs", "tasks"]);
    assert_eq!(scores[1]["parameters"], 0);
    for scores in scores.as_array().unwrap() {
        let er = &scores["tasks"]["er"];
        let [accuracy, low, high] =
            ["accuracy", "low", "high"].map(|key| er[key].as_f64().unwrap());
        assert_eq!(er["n"], 42);
        assert!(low <= accuracy && accuracy <= high && high < 1.0, "{er}");
    }
    // fbank's mean over an utterance is zero, so every utterance gets the same class.
    assert!((scores[1]["tasks"]["er"]["accuracy"].as_f64().unwrap() - 1.0 / 7.0).abs() < 1e-9);

    let again = superb(&folder, &[model, "fbank"], &rates);
    assert_eq!(again.stdout, output.stdout);
    let output = superb(
        &folder,
        &[model],
        &["--rates", "1,er=1e-4", "--format", "markdown"],
    );
    let text = stderr(&output);
    assert!(
        text.contains("rate 1e-4") && !text.contains("rate 1e0"),
        "{text}"
    );
    let table = String::from_utf8(output.stdout).unwrap();
    let first = table.lines().next().unwrap();
    assert!(first.contains("| er accuracy↑ % (n = 42) |"), "{table}");
    let columns = |line: &str| line.split(" | ").map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(columns(first)[3], "real-time factor");
    let factor: f64 = columns(table.lines().nth(2).unwrap())[3].parse().unwrap();
    assert!(factor < 1.0, "a small model takes {factor} s for a second");
}

#[test]
fn unknown_tasks_and_rates_are_usage_errors() {
    let folder = Folder::new("superb-usage");
    for extra in [
        ["--rates", "0"],
        ["--rates", "x"],
        ["--rates", "er="],
        ["--rates", "pr=1e-3"],
        ["--tasks", "kz"],
    ] {
        let output = superb(&folder, &["fbank"], &extra);
        assert_eq!(output.status.code(), Some(2), "{extra:?}");
    }
    assert!(!folder.path().join("superb").exists());
    let elsewhere = call(folder.path(), &["superb", "fbank", "--tasks", "er"]);
    assert_eq!(elsewhere.status.code(), Some(2));
    assert!(stderr(&elsewhere).contains("there is no data/superb here"));
}

/// What is missing of any task is said before the first head is trained.
#[test]
fn missing_data_of_all_tasks_are_said_at_once() {
    let folder = Folder::new("superb-missing");
    let data = folder.path().join("full");
    fs::create_dir(&data).unwrap();
    let extra = ["--data", data.to_str().unwrap(), "--tasks", "ks,asv"];
    let output = superb(&folder, &["fbank"], &extra);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    for file in ["ks/train.tsv", "er/fold1/test.tsv", "asv/test_trials.txt"] {
        let task = file.split('/').next().unwrap();
        let line = text.lines().find(|line| line.contains(file));
        assert!(
            line.is_some_and(|l| l.contains(&format!("{task}: node"))),
            "{file}: {text}"
        );
    }
    assert!(!folder.path().join("superb").exists());
}

#[test]
fn the_small_sets_have_no_utterance_twice() {
    for task in ["ks", "er", "sid"] {
        let read = |file: &str| {
            let path = root().join(format!("data/superb/{task}/{file}.tsv"));
            fs::read_to_string(path).unwrap()
        };
        let mut listed = vec![];
        for split in ["train", "dev", "test"] {
            let names = read(split);
            listed.extend(
                names
                    .lines()
                    .skip(1)
                    .map(|l| l.split('\t').next().unwrap().to_owned()),
            );
        }
        listed.sort();
        let labels = read("labels");
        let labelled: Vec<&str> = labels
            .lines()
            .map(|l| l.split('\t').next().unwrap())
            .collect();
        assert_eq!(listed, labelled, "{task}");
        let audio = fs::read_dir(root().join(format!("data/superb/{task}/audio"))).unwrap();
        assert_eq!(audio.count(), listed.len(), "{task}");
    }
}
