//! Damaged checkpoints, models and records of a run are noticed and named, and never believed.
use crate::program::{Folder, last_line, read_json, stderr};
use crate::sample::{finished, results, run, sample};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

const NEWEST: &str = "distill-00000020.safetensors";

/// Makes a finished run unfinished, as if it had been killed before its last phase ended.
fn unfinish(folder: &Folder) -> PathBuf {
    let out = folder.path().join("out");
    let file = out.join("run.json");
    let mut record = read_json(&file);
    record["finished"] = Value::Null;
    fs::write(&file, record.to_string()).unwrap();
    fs::remove_dir_all(out.join("distill")).unwrap();
    out.join("checkpoint")
}

/// Changes the bytes of a file.
fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// What happens to the bytes of a file.
type Damage<'a> = &'a dyn Fn(&mut Vec<u8>);

/// Zeros the last quarter of a file.
fn zero_end(bytes: &mut [u8]) {
    let start = bytes.len() * 3 / 4;
    bytes[start..].fill(0);
}

/// Takes the checksum out of a file, as an earlier version would have written it.
fn forget_checksum(path: &Path) {
    let metadata = nodes::data::file::metadata(path).unwrap();
    let key = format!(r#""blake3":"{}""#, metadata["blake3"]);
    change(path, |bytes| {
        let key_start = bytes.windows(key.len()).position(|w| w == key.as_bytes());
        let key_start = key_start.unwrap();
        let key_end = key_start + key.len() + usize::from(bytes[key_start + key.len()] == b',');
        bytes[key_start..key_end].fill(b' ');
    });
}

#[test]
fn a_damaged_checkpoint_is_set_aside_and_an_older_one_used() {
    let folder = sample("damaged-checkpoint");
    let before = finished(&folder, "out", &[]);
    let name_of_a_moment = b"\"v.student.encoder";
    let damages: [(&str, Damage); 5] = [
        ("zeros", &|bytes| zero_end(bytes)),
        ("a bit", &|bytes| *bytes.last_mut().unwrap() ^= 1),
        ("cut", &|bytes| bytes.truncate(bytes.len() - 1000)),
        ("empty", &|bytes| bytes.clear()),
        ("a name", &|bytes| {
            let length = name_of_a_moment.len();
            let found = bytes.windows(length).position(|w| w == name_of_a_moment);
            bytes[found.unwrap() + 1] = b'w';
        }),
    ];
    for (damage, damages) in damages {
        let checkpoints = unfinish(&folder);
        change(&checkpoints.join(NEWEST), damages);
        let output = run(&folder, "out", &["--resume"]);
        let text = stderr(&output);
        assert!(output.status.success(), "{damage}: {text}");
        let line = text.lines().next().unwrap();
        assert!(
            line.starts_with("out/checkpoint/distill-00000020.safetensors is damaged: ")
                && line.ends_with(
                    "; it is now called distill-00000020.safetensors.damaged, and \
                     out/checkpoint/distill-00000014.safetensors is used instead"
                ),
            "{damage}: {text}"
        );
        assert!(results(&folder.path().join("out")) == before, "{damage}");
        assert!(checkpoints.join(format!("{NEWEST}.damaged")).exists());
    }
}

/// The run begins anew only when somebody says so.
#[test]
fn without_a_right_checkpoint_nothing_is_resumed() {
    let folder = sample("no-checkpoint");
    let before = finished(&folder, "out", &[]);
    let checkpoints = unfinish(&folder);
    let mut count = 0;
    for entry in fs::read_dir(&checkpoints).unwrap() {
        change(&entry.unwrap().path(), |bytes| zero_end(bytes));
        count += 1;
    }
    for _ in 0..2 {
        let output = run(&folder, "out", &["--resume"]);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert_eq!(text.matches(" is damaged").count(), count, "{text}");
        assert!(
            last_line(&output).starts_with("no checkpoint in out/checkpoint is left to go on from"),
            "{text}"
        );
    }
    fs::remove_dir_all(&checkpoints).unwrap();
    assert!(finished(&folder, "out", &["--resume"]) == before);
}

#[test]
fn a_checkpoint_without_a_checksum_is_read_with_a_line() {
    let folder = sample("no-checksum");
    let before = finished(&folder, "out", &[]);
    let checkpoints = unfinish(&folder);
    forget_checksum(&checkpoints.join(NEWEST));
    let output = run(&folder, "out", &["--resume"]);
    let text = stderr(&output);
    assert!(output.status.success(), "{text}");
    let line = "out/checkpoint/distill-00000020.safetensors has no checksum: an earlier version";
    assert_eq!(text.matches(line).count(), 1, "{text}");
    assert!(results(&folder.path().join("out")) == before);
}

#[test]
fn damaged_models_and_heads_of_a_run_are_named() {
    let folder = sample("damaged-model");
    finished(&folder, "out", &[]);
    unfinish(&folder);
    for (file, node) in [
        ("prune/heads/heads.safetensors", "heads"),
        ("prune/student/model.safetensors", "student"),
    ] {
        let path = folder.path().join("out").join(file);
        let intact = fs::read(&path).unwrap();
        change(&path, |bytes| zero_end(bytes));
        let output = run(&folder, "out", &["--resume"]);
        assert_eq!(output.status.code(), Some(1));
        let start = format!("node `{node}`: out/{file}: its tensors are not those");
        let last = last_line(&output);
        assert!(last.starts_with(&start), "{last}");
        // Without a checksum it is a file of another program.
        fs::write(&path, &intact).unwrap();
        forget_checksum(&path);
        assert!(run(&folder, "out", &["--resume"]).status.success());
        unfinish(&folder);
        fs::write(&path, intact).unwrap();
    }
}

#[test]
fn a_damaged_record_is_named() {
    let folder = sample("damaged-record");
    let before = finished(&folder, "out", &["--steps", "2"]);
    let record = folder.path().join("out/run.json");
    change(&record, |bytes| bytes.truncate(bytes.len() / 2));
    let resume = ["--resume", "--steps", "2"];
    let output = run(&folder, "out", &resume);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        last_line(&output).starts_with("out/run.json is damaged: EOF"),
        "{}",
        stderr(&output)
    );
    fs::remove_file(record).unwrap();
    assert!(finished(&folder, "out", &resume) == before);
}

/// A run that failed before its first update has nothing to go on from: it begins anew, also with
/// other settings.
#[test]
fn a_run_that_has_computed_nothing_begins_anew() {
    let folder = sample("nothing");
    let path = |name: &str| folder.path().join(name);
    let train = fs::read_to_string(path("train.tsv")).unwrap();
    fs::write(path("train.tsv"), ".\nnone.wav\t9000\n").unwrap();
    assert_eq!(run(&folder, "out", &[]).status.code(), Some(1));
    assert!(path("out/run.json").exists());
    fs::write(path("train.tsv"), train).unwrap();
    assert_eq!(run(&folder, "out", &[]).status.code(), Some(2));
    let resumed = finished(&folder, "out", &["--resume", "--steps", "2"]);
    assert!(resumed == finished(&folder, "new", &["--steps", "2"]));
}
