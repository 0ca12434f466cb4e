//! What a run tells the person who watches it.
use crate::program::{Folder, call, execute, pipeline, root, stderr};
use crate::sample::{run, sample};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use std::time::Duration;

/// A run that ends with a signal, and its lines.
struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStderr>>,
}

impl Running {
    fn start(folder: &Folder, extra: &[&str]) -> Running {
        let arguments = [&["run", "g.json", "--out", "out"], extra].concat();
        Running::start_in(folder.path(), &arguments)
    }

    fn start_in(folder: &Path, arguments: &[&str]) -> Running {
        let mut child = pipeline(folder, arguments)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stderr = child.stderr.take().expect("a pipe");
        Running {
            child,
            lines: BufReader::new(stderr).lines(),
        }
    }

    /// Reads lines up to one that contains `text`, and returns it.
    fn line_with(&mut self, text: &str) -> String {
        let mut lines = self.lines.by_ref().map(|line| line.expect("a line"));
        let found = lines.find(|line| line.contains(text));
        found.unwrap_or_else(|| panic!("no line with `{text}`"))
    }

    fn interrupt(&self) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-INT", &id]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Returns the rest of the lines and the exit code.
    fn end(mut self) -> (Vec<String>, Option<i32>) {
        let rest = self.lines.by_ref().map(|line| line.expect("a line"));
        let rest = rest.collect();
        let status = self.child.wait().expect("the run ends");
        (rest, status.code())
    }
}

#[test]
fn a_run_says_what_it_begins_with_and_where_its_results_are() {
    let folder = sample("told");
    let short = "short.wav";
    fs::copy(folder.path().join("0.wav"), folder.path().join(short)).unwrap();
    let train = folder.path().join("train.tsv");
    let listed = fs::read_to_string(&train).unwrap();
    fs::write(&train, format!("{listed}{short}\t9000\n")).unwrap();
    let arguments = [
        "run",
        "g.json",
        "--out",
        "out",
        "--set",
        "teacher.cache=c",
        "--set",
        "prune.speech.min_seconds=0.6",
    ];
    let mut command = pipeline(folder.path(), &arguments);
    let output = execute(command.env("RAYON_NUM_THREADS", "2"));
    let text = stderr(&output);
    assert!(output.status.success(), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    let begin = [
        "run `g` on cpu, 2 threads, into out",
        "phase `prune`: 24 updates",
        "node `speech`: train.tsv: 7 utterances, 6.9 seconds; left out: 2 too short",
        "node `speech`: dev.tsv: 2 utterances, 2.9 seconds",
        "node `teacher`: c has 0 of 14 rows",
        "prune 0/24 measuring the dev set ...",
        "prune 0/24 first update ...",
    ];
    assert_eq!(lines[..begin.len()], begin, "{text}");
    assert!(lines[begin.len()].starts_with("prune 1/24 loss "), "{text}");
    let distill = ["phase `distill`: 20 updates", "c has 12 of 16 rows"];
    for line in distill {
        assert!(text.contains(line), "{text}");
    }

    let count = |model: &str| {
        let inspect = ["inspect", model, "--format", "json"];
        let found = crate::program::stdout_json(folder.path(), &inspect);
        found["parameters"].as_u64().unwrap()
    };
    let teacher = count("teacher");
    let student = count("out/distill/student");
    let share = 100.0 * student as f64 / teacher as f64;
    let [student, teacher] = [student, teacher].map(pipeline::format::thousands);
    let size = format!("  student  {student} parameters, {share:.1} % of the teacher's {teacher}");
    let end = text.split("phase `distill`: 20 updates in ").nth(1);
    assert!(end.expect("a summary").contains(&size), "{text}\n{size}");
    let last = ["student: out/distill/student", "report: out/report.html"];
    assert_eq!(lines[lines.len() - 2..], last, "{text}");
}

#[test]
fn the_first_interrupt_is_answered_at_once() {
    let folder = sample("answered");
    let many = [
        "--set",
        "prune.step.steps=100000",
        "--set",
        "speech.dev_every=0",
    ];
    let mut running = Running::start(&folder, &many);
    running.line_with("prune 1/100000 loss");
    running.interrupt();
    let answer = running.line_with("again to stop now");
    let update = answer
        .strip_prefix("finishing update ")
        .and_then(|rest| rest.strip_suffix(" of 100000, then a checkpoint; again to stop now"))
        .and_then(|update| update.parse::<u64>().ok());
    assert!(update.is_some_and(|update| update > 0), "{answer}");
    let (rest, code) = running.end();
    assert_eq!(code, Some(130));
    assert_eq!(rest.last().unwrap(), "stopped; `--resume` goes on");
    let checkpoints = fs::read_dir(folder.path().join("out/checkpoint")).unwrap();
    assert_eq!(checkpoints.count(), 1);
}

/// The update takes minutes, so only the second interrupt can stop the run.
#[test]
fn a_second_interrupt_stops_at_once() {
    let folder = sample("at-once");
    let long = [
        "--set",
        "prune.step.accumulate=65536",
        "--set",
        "speech.dev=null",
    ];
    let mut running = Running::start(&folder, &long);
    running.line_with("first update ...");
    running.interrupt();
    assert_eq!(
        running.line_with("again to stop now"),
        "finishing update 1 of 24, then a checkpoint; again to stop now"
    );
    running.interrupt();
    let (rest, code) = running.end();
    assert_eq!(code, Some(130));
    assert_eq!(rest, ["", "stopped at once, without a checkpoint"]);
    assert!(!folder.path().join("out/checkpoint").exists());
}

#[test]
fn a_benchmark_answers_the_first_interrupt() {
    let folder = sample("bench-answer");
    let arguments = ["bench", "g.json", "--phase", "prune", "--steps", "100000"];
    let mut running = Running::start_in(folder.path(), &arguments);
    running.line_with("100000");
    running.interrupt();
    running.line_with("; again to stop now");
    let (_, code) = running.end();
    assert_eq!(code, Some(130));
}

#[test]
fn a_comparison_answers_the_first_interrupt() {
    let folder = Folder::new("superb-answer");
    let arguments = [
        "superb",
        "fbank",
        "--tasks",
        "er",
        "--out",
        &folder.path().display().to_string(),
    ];
    let mut running = Running::start_in(root(), &arguments);
    let first_run = folder.path().join("fbank/er/1e-4");
    while !first_run.join("metrics.jsonl").exists() {
        assert!(running.child.try_wait().expect("a child").is_none());
        thread::sleep(Duration::from_millis(1));
    }
    running.interrupt();
    running.line_with("; again to stop now");
    let (rest, code) = running.end();
    assert_eq!(code, Some(130));
    assert!(
        rest.contains(&"stopped; the same command goes on".to_owned()),
        "{rest:?}"
    );
}

#[test]
fn an_extraction_says_how_fast_it_was() {
    let folder = sample("factor");
    let arguments = [
        "extract",
        "teacher",
        "0.wav",
        "1.wav",
        "--layers",
        "0",
        "--out",
        "h.parquet",
    ];
    let output = call(folder.path(), &arguments);
    let text = stderr(&output);
    let factor = text
        .strip_prefix("2 files, 1.2 s of audio in ")
        .and_then(|rest| rest.split_once(": real-time factor "))
        .and_then(|(_, factor)| factor.trim_end().parse::<f64>().ok());
    assert!(factor.is_some_and(|factor| factor > 0.0), "{text}");
}

#[test]
fn a_phase_without_an_optimizer_says_so() {
    let folder = sample("untrained");
    let graph = fs::read_to_string(folder.path().join("g.json")).unwrap();
    let graph: serde_json::Value = serde_json::from_str(&graph).unwrap();
    let nodes = &graph["phases"][0]["nodes"];
    let fill = serde_json::json!({
        "name": "fill",
        "nodes": { "speech": nodes["speech"], "teacher": nodes["teacher"] },
    });
    fs::write(folder.path().join("g.json"), fill.to_string()).unwrap();
    let cache = ["--set", "teacher.cache=c"];
    let text = stderr(&run(&folder, "out", &cache));
    let line = "phase `main`: 2 passes over the speech, nothing is trained\n";
    assert!(text.contains(line), "{text}");
    let audio = audio_of_lines(&text);
    let (done, total) = audio.last().expect("a line");
    assert_eq!(done, total, "{text}");
    assert!(audio[0].0 < audio[0].1, "{text}");
    let first = text.lines().find(|line| line.starts_with("main "));
    assert!(first.expect("a line").ends_with(" left"), "{text}");

    // Rows that the cache has are done too.
    let again = stderr(&run(&folder, "again", &cache));
    assert_eq!(audio_of_lines(&again).last(), Some(&(*total, *total)));
}

/// Returns the seconds of audio that are done, and those of the phase, of each line of progress.
fn audio_of_lines(text: &str) -> Vec<(u64, u64)> {
    let mut found = vec![];
    for line in text.lines() {
        let count = line
            .strip_prefix("main ")
            .and_then(|line| line.split_once(" s of audio · "));
        if let Some((done, total)) = count.and_then(|(count, _)| count.split_once('/')) {
            found.push((
                done.parse().expect("seconds"),
                total.parse().expect("seconds"),
            ));
        }
    }
    found
}
