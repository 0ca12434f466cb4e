//! What `check` and `bench` say of the cost of a whole recipe.
use crate::program::{Folder, call, execute, pipeline, read_json, root, stderr};
use crate::sample::sample;
use serde_json::json;
use std::fs;
use std::path::PathBuf;

/// The sample, and a cache folder of the user within it.
struct User(Folder);

impl User {
    fn new(name: &str) -> User {
        User(sample(name))
    }

    fn cache(&self) -> PathBuf {
        self.0.path().join("user")
    }

    /// Runs the program with `threads` threads and returns its stdout; it must succeed.
    fn stdout(&self, threads: &str, arguments: &[&str]) -> String {
        let mut command = pipeline(self.0.path(), arguments);
        command.env("XDG_CACHE_HOME", self.cache());
        command.env("RAYON_NUM_THREADS", threads);
        let output = execute(&mut command);
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Returns the line of a phase, or the one of all phases, that `check` prints of the recipe.
    fn line(&self, threads: &str, name: &str, settings: &[&str]) -> String {
        let text = self.stdout(threads, &[&["check", "g.json"], settings].concat());
        let (_, recipe) = text.split_once("recipe on this machine\n").unwrap();
        let mut lines = recipe.lines().map(str::trim_start);
        let line = lines.find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("no line of {name}: {text}"))
            .to_owned()
    }

    /// Returns the files of all records.
    fn records(&self) -> Vec<PathBuf> {
        let bench = self.cache().join("ssl-compression/bench");
        let mut files = vec![];
        for phase in fs::read_dir(bench).unwrap() {
            let folder = fs::read_dir(phase.unwrap().path()).unwrap();
            files.extend(folder.map(|file| file.unwrap().path()));
        }
        files
    }
}

/// Returns the hours of audio in a line.
fn hours(line: &str) -> f64 {
    let (before, _) = line.split_once(" h of audio").unwrap();
    before.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_measured_phase_has_a_time_and_others_a_command() {
    let user = User::new("recipe");
    let line = user.line("2", "prune", &[]);
    let command = "not measured: `pipeline bench g.json --steps 5`";
    assert!(
        line.contains("24 updates, ") && line.contains(command),
        "{line}"
    );
    let setting = ["--set", "distill.match.reduce=\"mean\""];
    let line = user.line("2", "distill", &setting);
    let command =
        "`pipeline bench g.json --steps 5 --phase distill --set 'distill.match.reduce=\"mean\"'`";
    assert!(line.contains(command), "{line}");
    assert!(user.line("2", "in all", &[]).contains("44 updates, "));

    let bench = ["bench", "g.json", "--steps", "2"];
    let printed = user.stdout("2", &bench);
    assert!(
        printed.contains("recipe on this machine\n  prune     24 updates, "),
        "{printed}"
    );
    let records = user.records();
    assert_eq!(records.len(), 1);
    let mut record = read_json(&records[0]);
    assert!(record["step_seconds"].as_f64() > Some(0.0), "{record}");
    record["step_seconds"] = json!(7200.0);
    fs::write(&records[0], record.to_string()).unwrap();
    let line = user.line("2", "prune", &[]);
    assert!(
        line.ends_with(": 7200.0000 s an update, 2 days 0 h"),
        "{line}"
    );
    let line = user.line("2", "in all", &[]);
    assert!(
        line.contains("44 updates, ") && line.contains("2 days 0 h without `distill`"),
        "{line}"
    );

    // What changes no speed changes the recipe's length alone.
    let longer = [
        "--set",
        "prune.step.steps=36000",
        "--set",
        "speech.dev=null",
    ];
    let line = user.line("2", "prune", &longer);
    assert!(
        line.ends_with("7200.0000 s an update, 3000 days 0 h"),
        "{line}"
    );
    let single = [&longer[..], &["--set", "prune.step.accumulate=1"]].concat();
    let once = hours(&user.line("2", "prune", &single));
    assert!((hours(&line) - 2.0 * once).abs() < 0.02, "{line}: {once}");
    for other in [
        "prune.gates.units=[\"ffn\"]",
        "prune.speech.seconds_per_batch=1",
    ] {
        let line = user.line("2", "prune", &["--set", other]);
        assert!(line.contains("not measured: "), "{line}");
    }
}

#[test]
fn a_measurement_of_another_machine_is_refused() {
    let user = User::new("recipe-other");
    user.stdout("2", &["bench", "g.json", "--steps", "1", "--cached"]);
    let line = user.line("2", "prune", &[]);
    assert!(
        line.contains(" s an update with targets from a cache, "),
        "{line}"
    );
    let line = user.line("1", "prune", &[]);
    assert!(
        line.contains("not measured (measured only on ") && line.contains(", 2 threads"),
        "{line}"
    );

    let records = user.records();
    let record = read_json(&records[0]);
    for (key, other) in [("version", "0.0.9"), ("processor", "Other CPU")] {
        let mut changed = record.clone();
        changed["machine"][key] = json!(other);
        fs::write(&records[0], changed.to_string()).unwrap();
        let line = user.line("2", "prune", &[]);
        assert!(
            line.contains("not measured (measured only on ") && line.contains(other),
            "{line}"
        );
    }
    fs::write(&records[0], "{").unwrap();
    let line = user.line("2", "prune", &[]);
    assert!(line.contains("remove it, and measure again"), "{line}");
}

#[test]
fn noise_measures_a_recipe_whose_data_are_missing() {
    let user = User::new("recipe-noise");
    fs::remove_file(user.0.path().join("train.tsv")).unwrap();
    let line = user.line("2", "prune", &[]);
    assert!(
        line.contains(" --synthetic 4x5`") && line.contains("at most 0.03 h"),
        "{line}"
    );
    user.stdout(
        "2",
        &["bench", "g.json", "--steps", "1", "--synthetic", "2x0.5"],
    );
    let records = user.records();
    let mut record = read_json(&records[0]);
    record["audio_per_second"] = json!(4.0);
    fs::write(&records[0], record.to_string()).unwrap();
    // 24 updates of 2 batches of at most 2 s.
    let line = user.line("2", "prune", &[]);
    assert!(
        line.ends_with("4.0 s of audio a second (noise of 2x0.5), 24.0 s"),
        "{line}"
    );
}

#[test]
fn a_benchmark_counts_the_updates_that_it_times() {
    let user = User::new("recipe-count");
    let mut command = pipeline(user.0.path(), &["bench", "g.json", "--steps", "3"]);
    command.env("XDG_CACHE_HOME", user.cache());
    let output = execute(&mut command);
    let text = stderr(&output);
    let counts: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("prune ")?.split(' ').next())
        .collect();
    assert_eq!(counts, ["1/3", "2/3", "3/3"], "{text}");
}

/// Labels are of utterances by their names, which noise does not have.
#[test]
fn a_phase_with_labels_is_not_to_be_measured_on_noise() {
    let output = call(root(), &["check", "graphs/superb/sid.json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let command = "`pipeline bench graphs/superb/sid.json --steps 5`";
    assert!(
        text.contains(command) && !text.contains("--synthetic"),
        "{text}"
    );
}
