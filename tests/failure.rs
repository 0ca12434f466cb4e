//! Runs that fail: their messages, exit codes and checkpoints.
#[cfg(not(feature = "mpi"))]
use crate::program::{Folder, execute, pipeline};
use crate::program::{call, last_line, stderr};
use crate::sample::{run, sample};
use std::fs;

#[test]
fn missing_files_are_reported_before_the_first_step() {
    let folder = sample("missing");
    fs::remove_file(folder.path().join("teacher/model.safetensors")).unwrap();
    fs::remove_file(folder.path().join("train.tsv")).unwrap();
    let output = run(&folder, "out", &[]);
    let lines = [
        "node `speech`: there is no `train.tsv`",
        "node `teacher`: there is no `teacher/model.safetensors`",
        "node `gates`: there is no `teacher/model.safetensors`",
        "node `student`: there is no `teacher/model.safetensors`",
    ];
    assert_eq!(stderr(&output).lines().collect::<Vec<_>>(), lines);
    assert_eq!(
        (output.status.code(), folder.path().join("out").exists()),
        (Some(1), false)
    );
    assert!(call(folder.path(), &["check", "g.json"]).status.success());
}

#[test]
fn a_failure_names_its_node_and_leaves_the_checkpoint() {
    let folder = sample("failure");
    // With so high a rate the first updates end in numbers that are not finite.
    let output = run(
        &folder,
        "hot",
        &[
            "--set",
            "prune.step.rates.student=1e30",
            "--set",
            "step.checkpoint_every=1",
        ],
    );
    let last = last_line(&output);
    assert!(
        last.starts_with("node `step`: the ") && last.contains("is not finite at update"),
        "{last}"
    );
    assert_eq!(output.status.code(), Some(1));
    let checkpoint = "hot/checkpoint/prune-00000001.safetensors";
    assert!(folder.path().join(checkpoint).exists());

    // A model with a NaN stops the run as well.
    let weights = folder.path().join("teacher/model.safetensors");
    let intact = fs::read(&weights).unwrap();
    let mut model = nodes::data::file::load(&weights).unwrap();
    let weight = model.get_mut("encoder.layers.0.attention.q_proj.weight");
    weight.unwrap().1[3] = f32::NAN;
    let tensors: Vec<_> = model
        .iter()
        .map(|(name, (shape, values))| (name.clone(), shape.clone(), values.into()))
        .collect();
    nodes::data::file::save(&weights, &tensors, Default::default()).unwrap();
    let output = run(&folder, "nan", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("is not finite at update 1"),
        "{}",
        stderr(&output)
    );
    // Skipped updates leave the student as it was, which is no model if the NaN is its own.
    let skip = ["--steps", "2", "--set", "step.not_finite=skip"];
    let output = run(&folder, "skip", &skip);
    assert_eq!(output.status.code(), Some(1));
    let last = last_line(&output);
    let start = "node `student`: `encoder.layers.0.attention.q_proj.weight` is not finite";
    assert!(
        last.starts_with(start) && stderr(&output).contains("update 1 is left out"),
        "{}",
        stderr(&output)
    );
    assert!(!folder.path().join("skip/prune/student").exists());
    let whole = folder.path().join("whole");
    fs::create_dir(&whole).unwrap();
    fs::write(whole.join("model.safetensors"), &intact).unwrap();
    for file in ["config.json", "preprocessor_config.json"] {
        fs::copy(folder.path().join("teacher").join(file), whole.join(file)).unwrap();
    }
    let whole_student = [&skip[..], &["--set", "prune.student.init=whole"]].concat();
    let output = run(&folder, "skip-teacher", &whole_student);
    assert!(
        output.status.success() && stderr(&output).contains("update 1 is left out"),
        "{}",
        stderr(&output)
    );
    fs::write(&weights, intact).unwrap();

    fs::write(folder.path().join("3.wav"), "RIFF").unwrap();
    fs::write(folder.path().join("5.wav"), "").unwrap();
    let output = run(&folder, "bad", &["--set", "speech.bad_files=1"]);
    assert_eq!(output.status.code(), Some(1));
    let last = last_line(&output);
    assert!(last.starts_with("node `speech`: "), "{last}");
    let output = run(
        &folder,
        "fine",
        &["--set", "speech.bad_files=2", "--steps", "2"],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("3.wav") && stderr(&output).contains("5.wav"));
    // A run goes on that has met more than it was allowed.
    let accepted = ["--set", "speech.bad_files=2", "--steps", "2", "--resume"];
    let output = run(&folder, "bad", &accepted);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[cfg(not(feature = "mpi"))]
#[test]
fn a_build_without_mpi_is_no_rank_of_several() {
    let folder = Folder::new("no-mpi");
    let line = "4 processes were started together, and this build cannot share a run among them; \
                docs/cluster.md says how to build one that can\n";
    let launchers = [
        ["OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"], // mpirun
        ["SLURM_STEP_NUM_TASKS", "PMIX_RANK"],            // srun --mpi=pmix
    ];
    for [count, number] in launchers {
        for (rank, said) in [("0", line), ("3", "")] {
            let mut command = pipeline(folder.path(), &["run", "g.json"]);
            command.envs([(count, "4"), (number, rank)]);
            let output = execute(&mut command);
            assert_eq!(output.status.code(), Some(2));
            assert_eq!(stderr(&output), said);
        }
    }
}
