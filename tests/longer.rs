//! A run that gets more updates than it was begun with.
use crate::program::{Folder, call, read_json, stderr};
use crate::run::interrupted;
use crate::sample::{finished, refusal, run, sample};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Creates the small task, whose g.json is one phase with this schedule.
fn one_phase(name: &str, schedule: Value) -> Folder {
    let folder = sample(name);
    let file = folder.path().join("g.json");
    let mut nodes = read_json(&file)["phases"][0]["nodes"].take();
    let nodes_object = nodes.as_object_mut().unwrap();
    nodes_object.remove("gates");
    nodes["student"]["inputs"] = json!({ "speech": "speech.speech" });
    nodes["step"]["inputs"] = json!({ "losses": ["match.loss"] });
    nodes["step"]["rates"] = json!({ "student": 1e-3, "heads": 1e-3 });
    nodes["step"]["schedule"] = schedule;
    nodes["step"]["steps"] = 20.into();
    let graph = json!({ "name": "g", "seed": 3, "nodes": nodes });
    fs::write(&file, graph.to_string()).unwrap();
    folder
}

/// Returns metrics without times, and the models, of a run of one phase.
fn traces(run: &Path) -> (Vec<Value>, Vec<Vec<u8>>) {
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let mut lines = vec![];
    for line in metrics.lines() {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line["wall_time"] = Value::Null;
        if line["name"] != "audio_per_second" {
            lines.push(line);
        }
    }
    let models = ["student/model.safetensors", "heads/heads.safetensors"];
    let models = models.map(|model| fs::read(run.join(model)).unwrap());
    (lines, models.to_vec())
}

const FORTY: [&str; 2] = ["--set", "step.steps=40"];
const RESUME_FORTY: [&str; 3] = ["--resume", "--set", "step.steps=40"];

/// Checks that a run of 20 updates that grows to 40 is one of 40 from the start.
fn grows(folder: &Folder) {
    let path = |out: &str| folder.path().join(out);
    assert!(run(folder, "long", &FORTY).status.success());
    assert!(run(folder, "grown", &[]).status.success());
    let short = traces(&path("grown"));
    let output = run(folder, "grown", &RESUME_FORTY);
    let text = stderr(&output);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("going on after update 20 of phase `main`"),
        "{text}"
    );
    let long = traces(&path("long"));
    assert!(traces(&path("grown")) == long);
    assert!(short.0.len() < long.0.len() && short.1 != long.1);
    assert_eq!(
        read_json(&path("grown/run.json"))["graph"]["nodes"]["step"]["steps"],
        40
    );
    let output = run(folder, "grown", &RESUME_FORTY);
    assert_eq!(stderr(&output), "grown is finished already\n");
}

#[test]
fn a_finished_run_with_a_constant_schedule_grows() {
    let folder = one_phase("longer", json!({ "type": "constant", "warmup_steps": 4 }));
    grows(&folder);
    let output = run(&folder, "grown", &["--resume"]);
    assert_eq!(
        stderr(&output),
        refusal(
            "grown",
            "step.steps (20 instead of 40: it may grow, but not shrink)"
        )
    );
}

#[test]
fn a_run_grows_within_its_warm_up() {
    let folder = one_phase(
        "longer-warm",
        json!({ "type": "linear", "warmup_steps": 20 }),
    );
    grows(&folder);
}

#[test]
fn other_schedules_say_why_they_do_not_grow() {
    let folder = one_phase(
        "longer-linear",
        json!({ "type": "linear", "warmup_steps": 4 }),
    );
    assert!(run(&folder, "out", &[]).status.success());
    let output = run(&folder, "out", &RESUME_FORTY);
    assert_eq!(output.status.code(), Some(1));
    let difference = "step.steps (with 40 in place of 20 the schedule would have had other learning \
                      rates in the 20 updates that are made; only \"constant\", a warm-up and a hold \
                      do not depend on it)";
    assert_eq!(stderr(&output), refusal("out", difference));
}

/// Also one that is killed, grows, and is killed again.
#[test]
fn an_unfinished_run_grows() {
    let folder = one_phase("longer-killed", json!({ "type": "constant" }));
    assert!(run(&folder, "long", &FORTY).status.success());
    assert_eq!(interrupted(&folder, "grown", "TERM", 60), Some(75));
    let arguments = [&["run", "g.json", "--out", "grown"], &RESUME_FORTY[..]].concat();
    let output = call(folder.path(), &arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let path = |out: &str| folder.path().join(out);
    assert!(traces(&path("grown")) == traces(&path("long")));
}

#[test]
fn only_the_newest_phase_begun_grows() {
    let folder = sample("longer-phases");
    let constant = r#"step.schedule={"type": "constant"}"#;
    let set = |extra: &[&'static str]| [&["--set", constant], extra].concat();
    let long = finished(&folder, "long", &set(&["--set", "distill.step.steps=30"]));
    finished(&folder, "grown", &set(&[]));
    let resume = |extra: &[&'static str]| [&set(extra)[..], &["--resume"]].concat();
    let output = run(&folder, "grown", &resume(&["--set", "step.steps=30"]));
    assert_eq!(
        stderr(&output),
        refusal(
            "grown",
            "prune.step.steps (only `distill`, the newest phase begun, may have more updates)"
        )
    );
    let more = resume(&["--set", "distill.step.steps=30"]);
    assert!(finished(&folder, "grown", &more) == long);
}
