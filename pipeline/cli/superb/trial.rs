//! A trial: a head trained at one learning rate on a model's features, and scored.
use super::task::Task;
use crate::ending::{CommandError, WithPath};
use crate::graph;
use crate::screen::Screen;
use nodes::node::Clock;
use nodes::node::outcomes::{OUTCOMES_FILE, Rule, read_outcomes};
use nodes::node::report::{Progress, Report};
use nodes::node::step::StepInfo;
use pipeline::graph::plan::Plan;
use pipeline::report::summary::metrics;
use pipeline::run::error::{RunError, RunOutcome};
use pipeline::run::{Run, missing};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What all trials of a command share.
pub(super) struct Laboratory {
    /// The folder of all runs.
    pub(super) out: PathBuf,
    pub(super) device: String,
    /// The number of updates after which every phase ends; `None` is the number in the graph.
    pub(super) steps: Option<u64>,
    pub(super) screen: Arc<Screen>,
    pub(super) stop: Arc<AtomicBool>,
}

/// What a trial measured.
pub(super) struct Measured {
    /// The best value of the metric in a dev pass.
    pub(super) dev: f64,
    pub(super) rule: Rule,
    /// What became of each test row, as the rule reads it.
    pub(super) rows: Vec<[f64; 2]>,
}

/// Progress of a trial: a bar on a terminal and nothing elsewhere, and warnings.
struct TrialReport(Arc<Screen>);

impl Report for TrialReport {
    fn phase_started(&self, phase: &str, clock: &Clock) {
        if self.0.redraws {
            self.0.phase_started(phase, clock);
        }
    }

    fn step_started(&self, phase: &str, step: &StepInfo) {
        self.0.step_started(phase, step);
    }

    fn update(&self, phase: &str, progress: Progress) {
        if self.0.redraws {
            self.0.update(phase, progress);
        }
    }

    fn say(&self, line: &str) {
        if line.starts_with("warning") {
            self.0.say(line);
        }
    }
}

/// What is trained: the head of a task's fold, on a model's features.
pub(super) struct Trial<'a> {
    pub(super) task: &'a Task,
    /// The text of the fold's graph.
    pub(super) fold: &'a str,
    /// The folder below the laboratory's.
    pub(super) name: String,
    pub(super) settings: Vec<String>,
}

impl Laboratory {
    fn plan(&self, trial: &Trial) -> Result<(Plan, Vec<String>), CommandError> {
        let mut settings = trial.settings.clone();
        if trial.fold.contains("\"cache\"") {
            let cache = self.out.join("cache");
            settings.push(format!("upstream.cache={}", json!(cache)));
        }
        let file = &trial.task.file;
        let graph = graph::Arguments::shipped(file, trial.fold, settings.clone());
        Ok((graph.plan()?, settings))
    }

    /// Lists the files that trials need and that are not there; finished ones need none.
    ///
    /// # Errors
    /// A graph has problems with its model.
    pub(super) fn missing(&self, trials: &[Trial]) -> Result<Vec<String>, CommandError> {
        let mut lines = vec![];
        let is_finished = |trial: &Trial| {
            let record = std::fs::read(self.out.join(&trial.name).join("run.json"));
            let record = record
                .ok()
                .and_then(|text| serde_json::from_slice::<Value>(&text).ok());
            record.is_some_and(|record| !record["finished"].is_null())
        };
        for trial in trials.iter().filter(|trial| !is_finished(trial)) {
            let (plan, _) = self.plan(trial)?;
            for line in missing(plan.phases.iter()) {
                let line = format!("{}: {line}", trial.task.name);
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
        }
        Ok(lines)
    }

    /// Trains and scores a head, or goes on with it; `None` after a signal.
    ///
    /// # Errors
    /// The graph has problems with this model, or the run fails.
    pub(super) fn measure(&self, trial: &Trial) -> Result<Option<Measured>, CommandError> {
        let Trial { task, name, .. } = trial;
        let out = self.out.join(name);
        let (plan, settings) = self.plan(trial)?;
        let run = Run {
            plan: &plan,
            out: out.clone(),
            resume: true,
            steps: self.steps,
            shard: None,
            device: self.device.clone(),
            arguments: json!({ "graph": task.file, "set": settings, "steps": self.steps }),
            report: Arc::new(TrialReport(self.screen.clone())),
            stop: self.stop.clone(),
            ranks: Arc::default(),
        };
        let outcome = run.run();
        self.screen.close();
        match outcome {
            Ok(RunOutcome::Finished | RunOutcome::AlreadyFinished) => {}
            Ok(RunOutcome::Stopped) => return Ok(None),
            Err(RunError::FolderInUse(message) | RunError::Failed(message)) => {
                return Err(CommandError::Failed(message));
            }
        }
        Ok(Some(read(task, &out)?))
    }
}

/// Reads what a finished run measured.
fn read(task: &Task, out: &Path) -> Result<Measured, CommandError> {
    let [train, test] = task.phases();
    let metric = &task.metric;
    let missing = || format!("{}: no dev pass has `{metric}`", out.display());
    let phases = metrics(out);
    let curve = phases.iter().find(|phase| phase.name == train);
    let curve = curve.and_then(|phase| phase.curves.get(&format!("dev/{metric}")));
    let values = curve.into_iter().flatten().map(|(_, value)| *value);
    let better = |a: f64, b: f64| if task.is_error { a.min(b) } else { a.max(b) };
    let dev = values.reduce(better).ok_or_else(missing)?;
    let folder = out.join(test);
    for entry in std::fs::read_dir(&folder).with_path(&folder)? {
        let file = entry?.path().join(OUTCOMES_FILE);
        if !file.exists() {
            continue;
        }
        let found = read_outcomes(&file)?;
        if let Some(outcomes) = found.into_iter().find(|found| found.metric == *metric) {
            return Ok(Measured {
                dev,
                rule: outcomes.rule,
                rows: outcomes.rows.iter().map(|row| row.numbers).collect(),
            });
        }
    }
    let folder = folder.display();
    Err(format!("{folder}: no node counts `{metric}`").into())
}
