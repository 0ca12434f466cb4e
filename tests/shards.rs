//! Several processes fill one cache, each with its share of the rows.
use crate::program::{Folder, call, pipeline, read_json, root, stderr, stdout_json};
use crate::sample::sample;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Creates a sample with the graph `fill.json`, which fills the cache `c` without a student.
pub(crate) fn filling(name: &str) -> Folder {
    let folder = sample(name);
    let graph = read_json(&folder.path().join("g.json"));
    let nodes = &graph["phases"][0]["nodes"];
    let mut teacher = nodes["teacher"].clone();
    teacher["cache"] = "c".into();
    let nodes = json!({ "speech": nodes["speech"], "teacher": teacher });
    let fill = json!({ "name": "fill", "nodes": nodes });
    fs::write(folder.path().join("fill.json"), fill.to_string()).unwrap();
    folder
}

fn succeed(folder: &Folder, arguments: &[&str]) -> String {
    let output = call(folder.path(), arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        stderr(&output)
    );
    stderr(&output)
}

fn listed(folder: &Folder, cache: &str) -> Value {
    stdout_json(folder.path(), &["cache", "list", cache, "--format", "json"])[0].take()
}

/// Shards together store what one process stores, row k in shard k mod n + 1.
#[test]
fn shards_are_shares_of_the_manifest() {
    let folder = filling("shards");
    succeed(
        &folder,
        &["run", "fill.json", "--set", "teacher.cache=whole"],
    );
    let rows = |cache: &str| listed(&folder, cache)["rows"].as_u64().unwrap();
    let mut by_shard = vec![];
    for shard in ["1/3", "2/3", "3/3"] {
        let cache = format!("teacher.cache=c{}", &shard[..1]);
        let lines = succeed(
            &folder,
            &["run", "fill.json", "--shard", shard, "--set", &cache],
        );
        let begins = format!("run `fill`, shard {} of 3, on ", &shard[..1]);
        assert!(lines.contains(&begins), "{lines}");
        assert!(
            folder
                .path()
                .join(format!("runs/fill-{}-of-3/run.json", &shard[..1]))
                .exists()
        );
        by_shard.push(rows(&format!("c{}", &shard[..1])));
        // Into one cache, too.
        succeed(
            &folder,
            &[
                "run",
                "fill.json",
                "--shard",
                shard,
                "--out",
                &format!("o{cache}"),
            ],
        );
    }
    assert_eq!(by_shard.iter().sum::<u64>(), rows("whole"));
    assert_eq!(rows("c"), rows("whole"));
    // The rows 0, 3 and 6 of train.tsv and the row 0 of dev.tsv.
    let one_view = [
        "--set",
        "speech.views=1",
        "--set",
        "teacher.cache=one",
        "--out",
        "one",
    ];
    let lines = succeed(
        &folder,
        &[&["run", "fill.json", "--shard", "1/3"], &one_view[..]].concat(),
    );
    assert!(
        lines.contains("node `speech`: train.tsv: 3 utterances"),
        "{lines}"
    );
    assert_eq!(rows("one"), 4);
    let why = call(folder.path(), &["cache", "why", "fill.json"]);
    let why = String::from_utf8(why.stdout).unwrap();
    assert!(why.contains("every row looked for is stored"), "{why}");
}

/// Only graphs whose rows do not depend on each other can be shared out, and a run goes on with its
/// own share.
#[test]
fn what_cannot_be_shared_out_is_refused() {
    let folder = filling("unshared");
    let refused = |arguments: &[&str], code: i32, says: &str| {
        let output = call(folder.path(), arguments);
        let lines = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{lines}");
        assert!(lines.contains(says), "{lines}");
    };
    let run = ["run", "fill.json", "--shard"];
    refused(
        &["run", "g.json", "--shard", "1/2"],
        2,
        "phase `prune` has an `optimize`",
    );
    for shard in ["0/2", "3/2", "1", "1/0", "a/b"] {
        refused(
            &[&run[..], &[shard]].concat(),
            2,
            "write I/N with I from 1 to N",
        );
    }
    let crop = ["1/2", "--set", "speech.crop=batch"];
    refused(
        &[&run[..], &crop].concat(),
        2,
        "cuts rows to the shortest of a batch",
    );
    refused(
        &[&run[..], &["9/9"]].concat(),
        1,
        "take at most as many shards as rows",
    );
    succeed(
        &folder,
        &["run", "fill.json", "--shard", "1/2", "--out", "f"],
    );
    refused(
        &[
            "run",
            "fill.json",
            "--shard",
            "2/2",
            "--out",
            "f",
            "--resume",
        ],
        1,
        "differ from the run's: --shard",
    );
    let mut graph = read_json(&folder.path().join("fill.json"));
    let inputs = json!({ "features": "teacher.targets" });
    graph["nodes"]["units"] = json!({ "kind": "cluster", "inputs": inputs, "clusters": 2 });
    graph["nodes"]["teacher"]["layers"] = json!([2]);
    fs::write(folder.path().join("fill.json"), graph.to_string()).unwrap();
    refused(
        &[&run[..], &["1/2"]].concat(),
        2,
        "node `units` needs all rows",
    );
}

/// A graph whose full cache would take more than its budget is refused before anything runs.
#[test]
fn a_budget_is_kept() {
    let folder = filling("budget");
    let plan = stdout_json(folder.path(), &["check", "fill.json", "--format", "json"]);
    let bytes = plan["cache_bytes"].as_u64().unwrap();
    let with_budget = |command: &str, budget: u64| {
        let set = format!("teacher.budget={budget}");
        call(folder.path(), &[command, "fill.json", "--set", &set])
    };
    assert!(with_budget("check", bytes).status.success());
    for command in ["check", "run"] {
        let output = with_budget(command, bytes - 1);
        assert_eq!(output.status.code(), Some(78));
        let lines = stderr(&output);
        let grouped = |bytes: u64| pipeline::format::thousands(bytes);
        let says = format!(
            "`budget` is {} bytes, but a full cache takes {}",
            grouped(bytes - 1),
            grouped(bytes)
        );
        assert!(lines.contains(&says), "{lines}");
    }
    assert!(!folder.path().join("runs").exists());
    let settings = ["--set", "teacher.budget=9", "--set", "teacher.cache=null"];
    succeed(&folder, &[&["check", "fill.json"], &settings[..]].concat());
}

/// The array of jobs of docs/cluster.md, with a shell in place of Slurm: three jobs at once, each of
/// which is then queued again.
#[cfg(unix)]
#[test]
fn an_array_of_jobs_fills_one_cache() {
    let folder = filling("array");
    let srun = folder.path().join("srun");
    fs::write(&srun, "#!/bin/sh\nshift\nexec \"$@\"\n").unwrap();
    fs::set_permissions(&srun, fs::Permissions::from_mode(0o755)).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_pipeline")).parent().unwrap();
    let folders = [folder.path(), program].map(|path| path.display().to_string());
    let path = format!("{}:{}", folders.join(":"), std::env::var("PATH").unwrap());
    let play = || {
        let start = |task: u32| {
            let mut job = Command::new("bash");
            job.arg(root().join("docs/slurm-array.sh")).arg("fill.json");
            job.current_dir(folder.path()).envs([
                ("PATH", path.as_str()),
                ("SLURM_ARRAY_TASK_ID", &task.to_string()),
                ("SLURM_ARRAY_TASK_COUNT", "3"),
                ("SLURM_CPUS_PER_TASK", "1"),
            ]);
            job.stderr(Stdio::null()).spawn().unwrap()
        };
        let jobs: Vec<_> = (1..=3).map(start).collect();
        for mut job in jobs {
            assert!(job.wait().unwrap().success());
        }
    };
    play();
    let stored = listed(&folder, "c")["rows"].clone();
    succeed(
        &folder,
        &["run", "fill.json", "--set", "teacher.cache=whole"],
    );
    assert_eq!(stored, listed(&folder, "whole")["rows"]);
    play();
    assert_eq!(stored, listed(&folder, "c")["rows"]);
    let mut runs: Vec<_> = fs::read_dir(folder.path().join("runs"))
        .unwrap()
        .map(|run| run.unwrap().file_name())
        .collect();
    runs.sort();
    assert_eq!(runs, ["fill", "fill-1-of-3", "fill-2-of-3", "fill-3-of-3"]);
}

/// Processes that fill one cache at once, one of them killed, leave a cache that is whole, and the
/// killed one goes on.
#[cfg(unix)]
#[test]
fn processes_fill_one_cache_and_one_is_killed() {
    let folder = filling("together");
    let start = |shard: &str| {
        let mut command = pipeline(folder.path(), &["run", "fill.json", "--shard", shard]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let mut processes: Vec<_> = ["1/3", "2/3", "3/3"].into_iter().map(start).collect();
    processes[1].kill().unwrap(); // SIGKILL
    for (i, process) in processes.iter_mut().enumerate() {
        let ended = process.wait().unwrap();
        assert!(i == 1 || ended.success());
    }
    let verify = || call(folder.path(), &["cache", "verify", "c"]).status.code();
    assert_eq!(verify(), Some(0));
    succeed(&folder, &["run", "fill.json", "--shard", "2/3", "--resume"]);
    succeed(
        &folder,
        &["run", "fill.json", "--set", "teacher.cache=whole"],
    );
    assert_eq!(verify(), Some(0));
    assert_eq!(
        listed(&folder, "c")["rows"],
        listed(&folder, "whole")["rows"]
    );
}

/// A process that is killed while it writes a part leaves a file that no run takes for one.
#[cfg(unix)]
#[test]
fn a_process_is_killed_while_it_writes_a_part() {
    let folder = filling("killed-writing");
    let being_written = |cache: &str| {
        let entries = |folder: &Path| {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect::<Vec<_>>()
        };
        let fingerprints = entries(&folder.path().join(cache));
        let layers = fingerprints.iter().flat_map(|path| entries(path));
        let mut files = layers.flat_map(|path| entries(&path));
        files.any(|file| {
            let name = file.file_name().unwrap().to_string_lossy();
            name.starts_with("part-") && name.contains(".tmp-")
        })
    };
    let verified = |cache: &str| {
        let verified = call(folder.path(), &["cache", "verify", cache]);
        assert_eq!(verified.status.code(), Some(0), "{}", stderr(&verified));
    };
    // The moment is short, so that it may be missed.
    for attempt in 0..20 {
        let cache = format!("c{attempt}");
        let set_cache = format!("teacher.cache={cache}");
        let fill = ["run", "fill.json", "--set", "speech.views=200", "--resume"];
        let fill = [&fill[..], &["--set", &set_cache, "--out", &cache[1..]]].concat();
        let mut process = pipeline(folder.path(), &fill);
        let process = process.stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = process.spawn().unwrap();
        while process.try_wait().unwrap().is_none() && !being_written(&cache) {}
        process.kill().unwrap(); // SIGKILL
        process.wait().unwrap();
        verified(&cache);
        if being_written(&cache) {
            succeed(&folder, &fill);
            verified(&cache);
            assert!(!being_written(&cache), "the next run removes what is left");
            let all = [
                "run",
                "fill.json",
                "--set",
                "speech.views=200",
                "--set",
                "teacher.cache=all",
            ];
            succeed(&folder, &all);
            assert_eq!(
                listed(&folder, &cache)["rows"],
                listed(&folder, "all")["rows"]
            );
            return;
        }
    }
    panic!("no process was caught while it wrote");
}
