//! Interrupted, resumed and plain runs end alike.
use crate::program::{Folder, call, execute, pipeline, read_json, stderr, stdout_json};
use crate::sample::{finished, refusal, results, run, sample};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Starts or resumes a run, sends it a signal after `lines` more lines of metrics, and returns its
/// exit code.
pub(crate) fn interrupted(folder: &Folder, out: &str, signal: &str, lines: usize) -> Option<i32> {
    let metrics = folder.path().join(out).join("metrics.jsonl");
    let count_lines = || {
        let text = fs::read_to_string(&metrics);
        text.unwrap_or_default().lines().count()
    };
    let enough = count_lines() + lines;
    let mut command = pipeline(folder.path(), &["run", "g.json", "--out", out, "--resume"]);
    let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while count_lines() < enough && child.try_wait().unwrap().is_none() {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "the run writes no metrics"
        );
        sleep(Duration::from_millis(1));
    }
    Command::new("kill")
        .args([&format!("-{signal}"), &child.id().to_string()])
        .status()
        .unwrap();
    child.wait().unwrap().code()
}

#[test]
fn stopped_killed_and_plain_runs_end_alike() {
    let folder = sample("alike");
    let plain = finished(&folder, "plain", &[]);
    assert_eq!(interrupted(&folder, "stopped", "TERM", 20), Some(75));
    assert_eq!(interrupted(&folder, "stopped", "INT", 40), Some(130));
    for lines in [30, 100, 60] {
        assert_eq!(interrupted(&folder, "stopped", "KILL", lines), None);
    }
    assert!(finished(&folder, "stopped", &["--resume"]) == plain);
    for checkpoint in [
        "checkpoint/prune-00000024.safetensors",
        "checkpoint/distill-00000020.safetensors",
    ] {
        let read = |out: &str| fs::read(folder.path().join(out).join(checkpoint)).unwrap();
        assert!(read("plain") == read("stopped"), "{checkpoint}");
    }
}

#[test]
fn no_bit_depends_on_the_number_of_threads() {
    let folder = sample("threads");
    let run_with = |threads: &str| {
        let arguments = ["run", "g.json", "--out", threads, "--steps", "4"];
        let mut command = pipeline(folder.path(), &arguments);
        let output = execute(command.env("RAYON_NUM_THREADS", threads));
        assert!(output.status.success(), "{}", stderr(&output));
        results(&folder.path().join(threads))
    };
    assert!(run_with("1") == run_with("3"));
}

#[test]
fn two_processes_do_not_run_in_one_folder() {
    let folder = sample("lock");
    let arguments = [
        "run",
        "g.json",
        "--out",
        "out",
        "--set",
        "prune.step.steps=100000",
    ];
    let mut first = pipeline(folder.path(), &arguments)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while !folder.path().join("out/metrics.jsonl").exists() {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "the run does not start"
        );
        sleep(Duration::from_millis(5));
    }
    let second = call(folder.path(), &[&arguments[..], &["--resume"]].concat());
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(
        (second.status.code(), stderr(&second).as_str()),
        (Some(1), "another process runs in out\n")
    );
}

/// Incomplete lines that a kill or a full disk leaves are removed.
#[test]
fn torn_metrics_are_written_again() {
    let folder = sample("torn");
    let plain = finished(&folder, "plain", &[]);
    assert_eq!(interrupted(&folder, "torn", "KILL", 200), None);
    let metrics = folder.path().join("torn/metrics.jsonl");
    let torn = [
        fs::read(&metrics).unwrap(),
        b"{\"phase\": \"pru\xff".to_vec(),
    ]
    .concat();
    fs::write(&metrics, torn).unwrap();
    let free = [
        "--resume",
        "--set",
        "log.every=3",
        "--set",
        "teacher.cache=c",
        "--set",
        "step.keep=5",
    ];
    assert!(finished(&folder, "torn", &free) == plain);
}

/// The models of a phase are written after its last checkpoint; if they are lost, resuming writes
/// them again.
#[test]
fn the_end_of_a_phase_is_done_again() {
    let folder = sample("end");
    let out = folder.path().join("out");
    let before = finished(&folder, "out", &[]);
    let file = out.join("run.json");
    let mut record = read_json(&file);
    assert!(record["finished"].is_number() && record["summary"].is_array());
    record["finished"] = Value::Null;
    fs::write(&file, record.to_string()).unwrap();
    fs::remove_dir_all(out.join("distill")).unwrap();
    assert!(finished(&folder, "out", &["--resume"]) == before);
}

#[test]
fn a_run_resumes_only_with_its_settings() {
    let folder = sample("bound");
    assert!(run(&folder, "out", &["--steps", "2"]).status.success());
    let resume = |extra: &[&str]| {
        let output = run(&folder, "out", extra);
        (output.status.code(), stderr(&output))
    };
    assert_eq!(resume(&["--steps", "2"]).0, Some(2));
    assert_eq!(
        resume(&["--steps", "2", "--resume"]),
        (Some(0), "out is finished already\n".into())
    );
    let refused = |keys: &str| (Some(1), refusal("out", keys));
    assert_eq!(
        resume(&["--resume", "--set", "step.steps=50"]),
        refused(
            "prune.step.steps (only `distill`, the newest phase begun, may have more updates), \
             --steps"
        )
    );
    let free = [
        "--set",
        "step.checkpoint_every=9",
        "--set",
        "teacher.cache=c",
        "--set",
        "log.every=3",
    ];
    assert_eq!(
        resume(&[&["--resume", "--steps", "2"][..], &free].concat()).0,
        Some(0)
    );
    fs::write(folder.path().join("train.tsv"), "other").unwrap();
    assert_eq!(
        resume(&["--resume", "--steps", "2"]),
        refused("the data in train.tsv")
    );
}

/// With gates on whole layers too, closed layers are not in the written model, and cutting them
/// hardly moves the hidden states.
#[test]
fn whole_layers_are_pruned_with_their_units() {
    let folder = sample("layers");
    let sets = [
        r#"gates.units=["conv", "head", "ffn", "attention-layer", "ffn-layer"]"#,
        r#"gates.initial_drop={"attention-layer": 0.9}"#,
    ];
    let output = run(
        &folder,
        "out",
        &["--steps", "3", "--set", sets[0], "--set", sets[1]],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stderr(&output);
    let cut = text
        .lines()
        .find_map(|line| line.strip_prefix("node `student`: cut exactly from "))
        .expect("a cut");
    let words: Vec<&str> = cut.split([' ', ';']).collect();
    let moved_by: f64 = words[words.len() - 1].parse().unwrap();
    assert!(moved_by < 1e-5, "{cut}");
    let inspect = ["inspect", "out/prune/student", "--format", "json"];
    let found = stdout_json(folder.path(), &inspect);
    assert_eq!(found["heads"], json!([0, 0]));
    assert_eq!(found["parameters"].to_string(), words[2]);
    assert!(
        found["ffn"].as_array().unwrap().iter().any(|n| *n != 0),
        "{found}"
    );
}

#[test]
fn a_folder_of_no_run_is_not_replaced_by_a_model() {
    let folder = sample("foreign");
    let notes = folder.path().join("out/distill/student/notes.txt");
    fs::create_dir_all(notes.parent().unwrap()).unwrap();
    fs::write(&notes, "keep").unwrap();
    let output = run(&folder, "out", &["--steps", "1"]);
    assert_eq!(output.status.code(), Some(1));
    let says = "out/distill/student is there, and of no run";
    assert!(stderr(&output).contains(says), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(&notes).unwrap(), "keep");
    // An empty folder holds nothing to lose.
    fs::remove_file(&notes).unwrap();
    assert!(run(&folder, "out", &["--steps", "1"]).status.success());
}
