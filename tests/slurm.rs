//! Runs the batch scripts of docs/cluster.md with stand-ins for Slurm's programs.
use crate::program::{Folder, call, root, stdout_json};
use crate::sample::{results, run, sample};
use crate::shards::filling;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Stands in for `srun`: on the first call, sends USR1 in the middle of the run, as
/// `--signal=USR1@300` does before the time limit.
const SRUN: &str = r#"#!/bin/sh
shift
"$@" & child=$!
if mkdir limit 2>/dev/null; then
    until BEGUN; do sleep 0.005; done
    kill -USR1 $child
fi
wait $child
"#;
/// Stands in for `scontrol`: records its arguments.
const SCONTROL: &str = "#!/bin/sh\necho \"$@\" >> requeued\n";

/// Puts these two into a folder. The stand-in for `srun` waits for `begun`, a shell condition, before it
/// sends the signal.
fn add_cluster(folder: &Folder, begun: &str) {
    let srun = SRUN.replace("BEGUN", begun);
    for (name, text) in [("srun", srun.as_str()), ("scontrol", SCONTROL)] {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Runs a job of a script, and returns its exit code and what was requeued so far.
fn job(folder: &Folder, script: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let program = Path::new(env!("CARGO_BIN_EXE_pipeline")).parent().unwrap();
    let path = format!(
        "{}:{}:{}",
        folder.path().display(),
        program.display(),
        std::env::var("PATH").unwrap()
    );
    let mut sbatch = Command::new("bash");
    sbatch.arg(root().join("docs").join(script)).args(arguments);
    sbatch.current_dir(folder.path()).envs([
        ("PATH", path.as_str()),
        ("SLURM_JOB_ID", "7"),
        ("SLURM_CPUS_PER_TASK", "2"),
        ("SLURM_ARRAY_JOB_ID", "7"),
        ("SLURM_ARRAY_TASK_ID", "2"),
        ("SLURM_ARRAY_TASK_COUNT", "3"),
    ]);
    let code = sbatch.status().unwrap().code();
    let requeued = fs::read_to_string(folder.path().join("requeued")).unwrap_or_default();
    (code, requeued)
}

#[test]
fn a_job_is_requeued_until_it_is_finished() {
    let begun = "[ \"$(cat job/metrics.jsonl 2>/dev/null | wc -l)\" -ge 40 ]";
    let folder = sample("slurm");
    add_cluster(&folder, begun);
    assert!(run(&folder, "plain", &[]).status.success());
    let requeued = "requeue 7\n".to_owned();
    for code in [75, 0] {
        let ended = job(&folder, "slurm.sh", &["g.json", "job"]);
        assert_eq!(ended, (Some(code), requeued.clone()));
    }
    assert!(results(&folder.path().join("job")) == results(&folder.path().join("plain")));
}

/// A job of an array fills its share of a cache, and goes on with it.
#[test]
fn a_job_of_an_array_is_requeued_until_its_share_is_stored() {
    let folder = filling("slurm-array");
    add_cluster(&folder, "[ -e runs/fill-2-of-3/run.json ]");
    let fill = ["fill.json", "--set", "speech.views=1500"]; // for a second or so
    let requeued = "requeue 7_2\n".to_owned();
    for code in [75, 0] {
        let ended = job(&folder, "slurm-array.sh", &fill);
        assert_eq!(ended, (Some(code), requeued.clone()));
    }
    let more = ["--shard", "2/3", "--set", "teacher.cache=d", "--out", "o"];
    let whole = [&["run"], &fill[..], &more].concat();
    assert!(call(folder.path(), &whole).status.success());
    let [filled, whole] = ["c", "d"].map(|cache| {
        let list = ["cache", "list", cache, "--format", "json"];
        stdout_json(folder.path(), &list)[0]["rows"].take()
    });
    assert_eq!(filled, whole);
}
