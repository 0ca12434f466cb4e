//! Runs the batch script of docs/cluster.md with stand-ins for Slurm's programs.
use crate::program::root;
use crate::sample::{results, run, sample};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Stands in for `srun`: on the first call, sends USR1 in the middle of the run, as
/// `--signal=USR1@300` does before the time limit.
const SRUN: &str = r#"#!/bin/sh
"$@" & child=$!
if mkdir limit 2>/dev/null; then
    until [ "$(cat job/metrics.jsonl 2>/dev/null | wc -l)" -ge 40 ]; do sleep 0.005; done
    kill -USR1 $child
fi
wait $child
"#;
/// Stands in for `scontrol`: records its arguments.
const SCONTROL: &str = "#!/bin/sh\necho \"$@\" >> requeued\n";

#[test]
fn a_job_is_requeued_until_it_is_finished() {
    let folder = sample("slurm");
    assert!(run(&folder, "plain", &[]).status.success());
    for (name, text) in [("srun", SRUN), ("scontrol", SCONTROL)] {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let program = Path::new(env!("CARGO_BIN_EXE_pipeline")).parent().unwrap();
    let path = format!(
        "{}:{}:{}",
        folder.path().display(),
        program.display(),
        std::env::var("PATH").unwrap()
    );
    let job = || {
        let mut sbatch = Command::new("bash");
        sbatch
            .arg(root().join("docs/slurm.sh"))
            .args(["g.json", "job"])
            .current_dir(folder.path());
        sbatch
            .envs([("PATH", path.as_str()), ("SLURM_JOB_ID", "7")])
            .status()
            .unwrap()
            .code()
    };
    let requeued = || fs::read_to_string(folder.path().join("requeued")).unwrap_or_default();
    assert_eq!((job(), requeued().as_str()), (Some(75), "requeue 7\n"));
    assert_eq!((job(), requeued().as_str()), (Some(0), "requeue 7\n"));
    assert!(results(&folder.path().join("job")) == results(&folder.path().join("plain")));
}
