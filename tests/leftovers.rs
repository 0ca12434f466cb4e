//! A run removes what dead writers left of it, and nothing else.
use crate::program::call;
use crate::sample::{finished, results, run, sample};
use std::fs::{self, File};
use std::path::PathBuf;

const MARK: &str = ".tmp-0123456789abcdef";

#[test]
fn only_leftovers_of_the_run_itself_are_removed() {
    let folder = sample("leftovers");
    let before = finished(&folder, "out", &[]);
    let out = folder.path().join("out");
    // Another run in a folder below, one whose folder has the name of a phase's, and a user's files.
    for nested in ["a", "heads"] {
        fs::create_dir_all(out.join(nested).join("checkpoint")).unwrap();
        fs::write(out.join(nested).join("run.json"), "{}").unwrap();
    }
    let create = |name: &str| {
        let path = out.join(format!("{name}{MARK}"));
        fs::write(&path, "").unwrap();
        path
    };
    let dead = [
        "run.json",
        "events.out.tfevents.1764000000.000000",
        "checkpoint/distill-00000014.safetensors",
        "prune/heads/heads.safetensors",
    ]
    .map(create);
    let kept = [
        "notes.txt",
        "a/run.json",
        "a/checkpoint/prune-00000007.safetensors",
        "checkpoint/notes.txt",
        "prune/student/model.safetensors",
        "prune/student/mine",
    ]
    .map(create);
    let of_earlier_version = out.join("data.tmp1234");
    fs::write(&of_earlier_version, "mine").unwrap();
    let dead_model = out.join(format!("distill/student{MARK}"));
    fs::create_dir(&dead_model).unwrap();
    fs::write(dead_model.join("config.json"), "{}").unwrap();
    // Another process writes this file.
    let growing = out.join("checkpoint/prune-00000007.safetensors.tmp-0000000000000001");
    let lock = File::create(&growing).unwrap();
    lock.lock().unwrap();

    let record = out.join("run.json");
    let text = fs::read_to_string(&record).unwrap();
    let mut unfinished: serde_json::Value = serde_json::from_str(&text).unwrap();
    unfinished["finished"] = serde_json::Value::Null;
    fs::write(&record, unfinished.to_string()).unwrap();
    assert!(finished(&folder, "out", &["--resume"]) == before);
    let exists = |path: &PathBuf| path.exists();
    assert!(!dead.iter().any(exists), "{dead:?}");
    assert!(kept.iter().all(exists), "{kept:?}");
    assert!(of_earlier_version.exists() && growing.exists());
    assert!(!dead_model.exists());
}

/// Of two runs that share a cache, neither removes what the other is writing into it, and no file
/// under a temporary name is left at the end.
#[test]
fn runs_that_share_a_cache_leave_no_temporary_files() {
    let folder = sample("shared-cache");
    let cache = ["--set", "teacher.cache=$OUT/../c", "--steps", "3"];
    let outputs: Vec<_> = std::thread::scope(|scope| {
        let runs = ["one", "two"].map(|out| scope.spawn(|| run(&folder, out, &cache)));
        runs.map(|run| run.join().unwrap()).into()
    });
    assert!(outputs.iter().all(|output| output.status.success()));
    assert!(results(&folder.path().join("one")) == results(&folder.path().join("two")));
    let verified = call(folder.path(), &["cache", "verify", "c"]);
    assert!(verified.status.success());
    let mut folders = vec![folder.path().to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            assert!(!path.to_string_lossy().contains(".tmp-"), "{path:?}");
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
}
