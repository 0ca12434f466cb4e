//! Runs of several ranks, on a machine with `mpirun` and a build with the feature `mpi`.
use crate::program::{Folder, call, execute, root, stderr, stdout_json};
use crate::sample::{results, run, sample};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// What makes updates of four batches, and fewer of them, in both phases.
const FOUR: [&str; 4] = ["--set", "step.accumulate=4", "--set", "step.steps=14"];
/// Runs the program as a rank, and keeps its process number in the file `pid-RANK`.
const RANK: &str = r#"echo $$ > pid-${OMPI_COMM_WORLD_RANK:-$PMI_RANK}; exec "$@""#;

/// What lets Open MPI 4 and 5 start more ranks than there are cores, as root, bound to no core.
const ENVIRONMENT: [(&str, &str); 8] = [
    ("RAYON_NUM_THREADS", "1"),
    ("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR")),
    ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
    ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
    ("OMPI_MCA_rmaps_base_oversubscribe", "1"),
    ("OMPI_MCA_hwloc_base_binding_policy", "none"),
    ("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe"),
    ("PRTE_MCA_hwloc_default_binding_policy", "none"),
];
/// Stands in for `srun` with its two options: on the first call it sends USR1 to the launcher in the
/// middle of the run, as `--signal=USR1@300` does before the time limit.
const SRUN: &str = r#"#!/bin/sh
shift 3
mpirun -n 2 "$@" & child=$!
if mkdir limit 2>/dev/null; then
    until [ "$(cat job/metrics.jsonl 2>/dev/null | wc -l)" -ge 40 ]; do sleep 0.005; done
    kill -USR1 $child
fi
wait $child
"#;
/// Stands in for `scontrol`: records its arguments.
const SCONTROL: &str = "#!/bin/sh\necho \"$@\" >> requeued\n";

/// Returns the command that runs `pipeline ARGUMENTS` on ranks, with one thread each, in `folder`.
fn mpirun(folder: &Folder, ranks: usize, arguments: &[&str]) -> Command {
    let mut command = Command::new("mpirun");
    command.args(["-n", &ranks.to_string(), "sh", "-c", RANK, "sh"]);
    command.arg(env!("CARGO_BIN_EXE_pipeline")).args(arguments);
    command.current_dir(folder.path()).envs(ENVIRONMENT);
    command
}

/// Runs `g.json` on ranks into the folder `out`, with updates of four batches.
fn run_on_ranks(folder: &Folder, ranks: usize, out: &str, extra: &[&str]) -> Output {
    let arguments = [&["run", "g.json", "--out", out], &FOUR[..], extra].concat();
    execute(&mut mpirun(folder, ranks, &arguments))
}

/// Returns whether this machine can start ranks; says so if not.
fn has_mpirun() -> bool {
    let is_there = Command::new("mpirun").arg("--version").output().is_ok();
    if !is_there {
        eprintln!("skipped: there is no mpirun");
    }
    is_there
}

/// Returns the checkpoints of a run, by name.
fn checkpoints(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(run.join("checkpoint")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    files
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(path).unwrap())
        })
        .collect()
}

/// Starts `g.json` on two ranks, and returns when it has written a checkpoint, with the process
/// number of each rank. A rank waits for the other for 5 seconds at most.
fn start_until_checkpoint(folder: &Folder, out: &str) -> (Child, [i32; 2]) {
    let arguments = [&["run", "g.json", "--out", out], &FOUR[..]].concat();
    let mut command = mpirun(folder, 2, &arguments);
    let child = command
        .env("PIPELINE_RANK_TIMEOUT", "5")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let checkpoint = folder
        .path()
        .join(out)
        .join("checkpoint/prune-00000007.safetensors");
    while !checkpoint.exists() {
        sleep(Duration::from_millis(2));
    }
    let ranks = [0, 1].map(|rank| {
        let file = folder.path().join(format!("pid-{rank}"));
        fs::read_to_string(file).unwrap().trim().parse().unwrap()
    });
    (child, ranks)
}

fn kill(signal: &str, process: i32) {
    let process = process.to_string();
    let sent = Command::new("kill").args([signal, &process]).status();
    assert!(sent.unwrap().success());
}

#[test]
fn ranks_write_what_one_process_writes() {
    if !has_mpirun() {
        return;
    }
    let folder = sample("mpi");
    let cache = |name: &str| format!("teacher.cache={name}");
    let rows = |name: &str| {
        let list = ["cache", "list", name, "--format", "json"];
        stdout_json(folder.path(), &list)[0]["rows"].take()
    };
    let steps = ["--steps", "9", "--set"];
    let one = run(
        &folder,
        "one",
        &[&FOUR[..], &steps, &[&cache("cache-of-1")]].concat(),
    );
    assert!(one.status.success(), "{}", stderr(&one));
    let one = folder.path().join("one");
    for ranks in [2, 4] {
        let out = format!("on-{ranks}");
        let cache_name = format!("cache-of-{ranks}");
        let set_cache = cache(&cache_name);
        let settings = [&steps[..], &[&set_cache]].concat();
        let output = run_on_ranks(&folder, ranks, &out, &settings);
        assert!(output.status.success(), "{}", stderr(&output));
        let out = folder.path().join(out);
        assert!(results(&out) == results(&one), "{ranks} ranks");
        assert!(checkpoints(&out) == checkpoints(&one), "{ranks} ranks");
        // Each has filled its share of the cache.
        let cached = call(folder.path(), &["cache", "verify", &cache_name]);
        assert!(cached.status.success(), "{}", stderr(&cached));
        assert_eq!(rows(&cache_name), rows("cache-of-1"), "{ranks} ranks");
    }
}

/// Also in its first step, and nothing that the first rank says for all.
#[test]
fn a_rank_tells_what_happens_to_it_alone() {
    if !has_mpirun() {
        return;
    }
    let folder = sample("mpi-lines");
    // No folder can be made there.
    std::os::unix::fs::symlink("nowhere", folder.path().join("taken")).unwrap();
    let settings = ["--set", "teacher.cache=taken", "--steps", "1"];
    let output = run_on_ranks(&folder, 2, "out", &settings);
    let lines = stderr(&output);
    assert!(output.status.success(), "{lines}");
    let own: Vec<&str> = lines
        .lines()
        .filter(|line| line.starts_with("rank 1: "))
        .collect();
    let is_expected = |line: &&str| line.contains("node `teacher`: the cache cannot be written");
    assert!(!own.is_empty() && own.iter().all(is_expected), "{lines}");
    assert_eq!(
        lines.matches("the cache cannot be written").count(),
        2 * own.len(),
        "{lines}"
    );
}

#[test]
fn a_run_goes_on_with_another_number_of_ranks() {
    if !has_mpirun() {
        return;
    }
    let folder = sample("mpi-resume");
    let whole = run(&folder, "whole", &FOUR);
    assert!(whole.status.success(), "{}", stderr(&whole));

    let (killed, ranks) = start_until_checkpoint(&folder, "killed");
    kill("-KILL", ranks[1]);
    assert!(!killed.wait_with_output().unwrap().status.success());
    let resumed = run_on_ranks(&folder, 4, "killed", &["--resume"]);
    assert!(resumed.status.success(), "{}", stderr(&resumed));

    let (hung, ranks) = start_until_checkpoint(&folder, "hung");
    kill("-STOP", ranks[1]);
    let hung = hung.wait_with_output().unwrap();
    assert_eq!(hung.status.code(), Some(1), "{}", stderr(&hung));
    assert!(
        stderr(&hung).contains("rank 0: no word from rank 1 "),
        "{}",
        stderr(&hung)
    );
    let resumed = run(&folder, "hung", &[&FOUR[..], &["--resume"]].concat());
    assert!(resumed.status.success(), "{}", stderr(&resumed));

    let (stopped, ranks) = start_until_checkpoint(&folder, "stopped");
    kill("-USR1", ranks[1]);
    let stopped = stopped.wait_with_output().unwrap();
    assert_eq!(stopped.status.code(), Some(75), "{}", stderr(&stopped));
    let line = "stopped; `--resume` goes on";
    assert_eq!(stderr(&stopped).matches(line).count(), 1);
    let resumed = run(&folder, "stopped", &[&FOUR[..], &["--resume"]].concat());
    assert!(resumed.status.success(), "{}", stderr(&resumed));

    let expected = results(&folder.path().join("whole"));
    for out in ["killed", "hung", "stopped"] {
        assert!(results(&folder.path().join(out)) == expected, "{out}");
    }
}

#[test]
fn a_failure_of_one_rank_ends_all() {
    if !has_mpirun() {
        return;
    }
    let folder = sample("mpi-failure");
    let failure = |ranks, out, extra: &[&str]| {
        let output = run_on_ranks(&folder, ranks, out, extra);
        (output.status.code(), stderr(&output))
    };
    let uneven = ["--set", "prune.step.accumulate=3"];
    let (code, text) = failure(2, "uneven", &uneven);
    assert_eq!(code, Some(78));
    let line = "--set prune.step.accumulate=3: node `step`: `accumulate` is 3, and 2 ranks share out \
                the batches of an update; make it a multiple of 2, or start fewer ranks";
    assert_eq!(text.matches(line).count(), 1, "{text}");

    // The folder of checkpoints cannot be made: only the first rank notices.
    fs::create_dir(folder.path().join("full")).unwrap();
    fs::write(folder.path().join("full/checkpoint"), "").unwrap();
    let (code, text) = failure(2, "full", &["--resume"]);
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(text.matches("node `step`: ").count(), 1, "{text}");

    let hot = ["--set", "prune.step.rates.student=1e30"];
    let (code, text) = failure(2, "hot", &hot);
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(text.matches("is not finite at update").count(), 1, "{text}");

    // Damaged samples behind a right header, of a file that one of the ranks reads first.
    let file = folder.path().join("5.wav");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let (code, text) = failure(4, "damaged", &[]);
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(
        text.matches(": node `speech`: ./5.wav ").count(),
        1,
        "{text}"
    );
}

#[test]
fn a_job_of_several_ranks_is_requeued_until_it_is_finished() {
    if !has_mpirun() {
        return;
    }
    let folder = sample("mpi-slurm");
    assert!(run(&folder, "plain", &FOUR).status.success());
    for (name, text) in [("srun", SRUN), ("scontrol", SCONTROL)] {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let program = Path::new(env!("CARGO_BIN_EXE_pipeline")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{}:{path}", folder.path().display(), program.display());
    let job = || {
        let mut sbatch = Command::new("bash");
        sbatch
            .arg(root().join("docs/slurm-mpi.sh"))
            .args(["g.json", "job"]);
        sbatch
            .args(FOUR)
            .current_dir(folder.path())
            .envs(ENVIRONMENT);
        sbatch.envs([("PATH", path.as_str()), ("SLURM_JOB_ID", "7")]);
        sbatch.env("SLURM_CPUS_PER_TASK", "1");
        sbatch.status().unwrap().code()
    };
    let requeued = || fs::read_to_string(folder.path().join("requeued")).unwrap_or_default();
    assert_eq!((job(), requeued().as_str()), (Some(75), "requeue 7\n"));
    assert_eq!((job(), requeued().as_str()), (Some(0), "requeue 7\n"));
    assert!(results(&folder.path().join("job")) == results(&folder.path().join("plain")));
}
