//! Runs in namespaces of process numbers, as in containers that share a disk: each is number 1 in its
//! own, so that no number tells who lives.
use crate::program::{execute, pipeline, stderr};
use crate::sample::{results, sample};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

/// How a namespace is made: by root, or by anybody where the system allows it. Whoever is in it is
/// killed with the program that made it.
const WAYS: [&[&str]; 2] = [
    &["--pid", "--fork", "--kill-child"],
    &[
        "--user",
        "--map-root-user",
        "--pid",
        "--fork",
        "--kill-child",
    ],
];

/// Returns the options of `unshare` by which `command` runs as process 1; `None`, said on stderr,
/// where there are none.
fn way_into_namespace() -> Option<&'static [&'static str]> {
    let works = |way: &&&[&str]| {
        let mut command = Command::new("unshare");
        let tried = command
            .args(**way)
            .args(["sh", "-c", "test $$ = 1"])
            .output();
        tried.is_ok_and(|tried| tried.status.success())
    };
    let way = WAYS.iter().find(works);
    if way.is_none() {
        eprintln!("skipped: `unshare --pid` is not there or not allowed");
    }
    way.copied()
}

/// Returns `command` in a namespace of its own.
fn isolated(way: &[&str], command: &Command) -> Command {
    let mut isolated = Command::new("unshare");
    isolated.args(way).arg(command.get_program());
    isolated.args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        isolated.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        isolated.env(name, value.unwrap_or_default());
    }
    isolated
}

/// Returns the folder of a layer in a cache.
fn layer(cache: &Path) -> PathBuf {
    let folders = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_dir())
    };
    let fingerprint = folders(cache).next().unwrap();
    folders(&fingerprint).next().unwrap()
}

/// Waits until a file is locked, or is not.
fn wait_for_lock(path: &Path, locked: bool) {
    let is_locked = || File::open(path).unwrap().try_lock().is_err();
    for _ in 0..500 {
        if is_locked() == locked {
            return;
        }
        sleep(Duration::from_millis(20));
    }
    panic!("{path:?} locked: {}", is_locked());
}

#[test]
fn writers_in_another_namespace_are_known_by_their_locks() {
    let Some(way) = way_into_namespace() else {
        return;
    };
    let folder = sample("namespaces");
    let run = |out: &str| {
        let options = ["--set", "teacher.cache=$OUT/../c", "--steps", "2"];
        let mut run = pipeline(folder.path(), &["run", "g.json", "--out", out]);
        let output = execute(&mut isolated(way, run.args(options)));
        assert!(output.status.success(), "{}", stderr(&output));
        results(&folder.path().join(out))
    };
    let first = run("first");
    let layer = layer(&folder.path().join("c"));
    let leftover = |digit: u8| {
        let path = layer.join(format!(
            "part-0123456789abcdef.parquet.tmp-000000000000000{digit}"
        ));
        fs::write(&path, "").unwrap();
        path
    };
    let growing = leftover(1);
    let dead = leftover(2);
    let mut writer = Command::new("flock");
    writer.arg(&growing).args(["sleep", "1000"]);
    let mut writer = isolated(way, &writer).spawn().unwrap();
    wait_for_lock(&growing, true);
    assert!(run("second") == first);
    assert!(growing.exists() && !dead.exists());
    writer.kill().unwrap();
    writer.wait().unwrap();
    wait_for_lock(&growing, false);
    assert!(run("third") == first);
    assert!(!growing.exists());
}
