//! Runs go on with data and models that have moved, and not with others.
use crate::program::{Folder, read_json, stderr};
use crate::sample::{finished, refusal, results, run, sample};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Makes a finished run look killed shortly after the checkpoint of update 14 of `distill`.
fn unfinish(folder: &Folder, out: &str) {
    let out = folder.path().join(out);
    let file = out.join("run.json");
    let mut record = read_json(&file);
    record["finished"] = Value::Null;
    fs::write(&file, record.to_string()).unwrap();
    fs::remove_file(out.join("checkpoint/distill-00000020.safetensors")).unwrap();
    fs::remove_dir_all(out.join("distill")).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

const MOVED: [&str; 10] = [
    "--set",
    "speech.manifest=elsewhere/lists/train.tsv",
    "--set",
    "prune.speech.dev=elsewhere/lists/dev.tsv",
    "--set",
    "teacher.model=elsewhere/model",
    "--set",
    "gates.model=elsewhere/model",
    "--set",
    "prune.student.init=elsewhere/model",
];

/// Moves audio, manifests and the teacher away.
fn move_all(folder: &Folder) {
    let path = |name: &str| folder.path().join(name);
    copy(folder.path(), &path("elsewhere/audio"));
    copy(&path("teacher"), &path("elsewhere/model"));
    fs::create_dir(path("elsewhere/lists")).unwrap();
    for list in ["train.tsv", "dev.tsv"] {
        let text = fs::read_to_string(path(list)).unwrap();
        let text = text.replacen('.', "elsewhere/audio", 1);
        fs::write(path("elsewhere/lists").join(list), text).unwrap();
        fs::remove_file(path(list)).unwrap();
    }
    for i in 0..10 {
        fs::remove_file(path(&format!("{i}.wav"))).unwrap();
    }
    fs::remove_dir_all(path("teacher")).unwrap();
}

fn resume(extra: &[&str]) -> Vec<String> {
    let arguments = ["--resume"].iter().chain(extra);
    arguments.map(|argument| (*argument).to_owned()).collect()
}

#[test]
fn a_run_goes_on_where_its_data_and_models_have_moved() {
    let folder = sample("moved");
    let before = finished(&folder, "out", &[]);
    unfinish(&folder, "out");
    move_all(&folder);
    let moved = resume(&MOVED);
    let moved: Vec<&str> = moved.iter().map(String::as_str).collect();
    assert!(finished(&folder, "out", &moved) == before);
    let output = run(&folder, "out", &moved);
    assert_eq!(stderr(&output), "out is finished already\n");

    // Without run.json, the checkpoint knows the graph by the same contents.
    unfinish(&folder, "out");
    fs::remove_file(folder.path().join("out/run.json")).unwrap();
    let output = run(&folder, "out", &moved);
    let text = stderr(&output);
    assert!(
        text.contains("going on after update 14 of phase `distill`"),
        "{text}"
    );
    assert!(results(&folder.path().join("out")) == before);
}

#[test]
fn other_contents_are_refused_by_name() {
    let folder = sample("moved-others");
    finished(&folder, "out", &[]);
    unfinish(&folder, "out");
    move_all(&folder);
    let refused = |extra: &[&str]| {
        let arguments = resume(&[&MOVED[..], extra].concat());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = run(&folder, "out", &arguments);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        let text = stderr(&output);
        let whole = refusal("out", "KEYS");
        let (start, end) = whole.split_once("KEYS").unwrap();
        let keys = text
            .strip_prefix(start)
            .and_then(|text| text.strip_suffix(end));
        keys.unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    let list = folder.path().join("elsewhere/lists/train.tsv");
    let text = fs::read_to_string(&list).unwrap();
    let fewer: Vec<&str> = text.lines().take(5).collect();
    fs::write(folder.path().join("fewer.tsv"), fewer.join("\n")).unwrap();
    assert_eq!(
        refused(&["--set", "prune.speech.manifest=fewer.tsv"]),
        "prune.speech.manifest (`fewer.tsv` has other contents than `train.tsv`)"
    );
    assert_eq!(
        refused(&["--set", "prune.speech.manifest=none.tsv"]),
        "prune.speech.manifest (`none.tsv` cannot be read)"
    );
    let config = folder.path().join("elsewhere/model/config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text + "\n").unwrap();
    let names = [
        "distill.teacher.model",
        "prune.gates.model",
        "prune.student.init",
        "prune.teacher.model",
    ];
    let expected =
        names.map(|name| format!("{name} (`elsewhere/model` has other contents than `teacher`)"));
    assert_eq!(refused(&[]), expected.join(", "));
}

/// A model that is replaced under its name is another one.
#[test]
fn a_replaced_model_is_refused() {
    let folder = sample("moved-replaced");
    finished(&folder, "out", &[]);
    unfinish(&folder, "out");
    let config = folder.path().join("teacher/config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text + "\n").unwrap();
    let output = run(&folder, "out", &["--resume"]);
    assert_eq!(
        (output.status.code(), stderr(&output).as_str()),
        (Some(1), refusal("out", "the files in teacher").as_str())
    );
}
