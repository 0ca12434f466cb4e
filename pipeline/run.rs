//! A run: the folder, what it is bound to, the phases one after the other.
pub mod data;
pub mod machine;
pub mod phase;
pub mod receiver;
pub mod resume;
pub mod stage;
use crate::graph::plan::{Phase, Plan};
use crate::report;
use crate::report::summary;
use crate::run::stage::{Ended, Moment};
use nodes::node::port::Shapes;
use nodes::node::report::{Progress, Report};
use nodes::node::step::StepInfo;
use nodes::node::{Clock, NodeContext};
use serde_json::{Value, json};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub struct Run<'a> {
    pub plan: &'a Plan,
    pub out: PathBuf,
    pub resume: bool,
    /// Every phase ends after so many updates.
    pub steps: Option<u64>,
    /// What computes, for run.json.
    pub device: String,
    /// The command line, for run.json.
    pub arguments: Value,
    pub report: Arc<dyn Report>,
    /// Set by a signal.
    pub stop: Arc<AtomicBool>,
}

pub enum Outcome {
    Finished,
    /// The run was finished before.
    Was,
    /// By a signal, with a checkpoint.
    Stopped,
}

pub enum Refusal {
    /// The folder holds a run.
    Holds(String),
    Failed(String),
}

impl<E: std::fmt::Display> From<E> for Refusal {
    fn from(error: E) -> Refusal {
        Refusal::Failed(error.to_string())
    }
}

impl Run<'_> {
    pub fn run(&self) -> Result<Outcome, Refusal> {
        let file = self.out.join("run.json");
        let before = self.before(&file)?;
        let mut about = self.about(before.as_ref());
        if let Some(before) = &before {
            self.bound(before, &about)?;
            if !before["finished"].is_null() {
                return Ok(Outcome::Was);
            }
        }
        self.missing()?;
        let mut said = vec![];
        for node in self.plan.phases.iter().flat_map(|p| &p.nodes) {
            for line in node
                .info
                .warnings
                .iter()
                .map(|says| format!("warning: node `{}`: {says}", node.name()))
            {
                if !said.contains(&line) {
                    self.report.say(&line);
                    said.push(line);
                }
            }
        }
        std::fs::create_dir_all(&self.out).map_err(|e| format!("{}: {e}", self.out.display()))?;
        let _lock = self.lock()?;
        nodes::data::file::remove_leftovers(&self.out, &|_| true);
        write(&file, &about)?;
        if let Outcome::Stopped = self.phases(&about)? {
            return Ok(Outcome::Stopped);
        }
        let metrics = summary::metrics(&self.out);
        let summary = summary::read(self.plan, &self.out, &metrics);
        about["finished"] = now().into();
        about["peak_bytes"] = json!(machine::peak());
        about["summary"] = serde_json::to_value(&summary)?;
        write(&file, &about)?;
        report::write(self.plan, &self.out, &about, &metrics)?;
        summary
            .iter()
            .for_each(|phase| self.report.say(&phase.to_string()));
        Ok(Outcome::Finished)
    }

    /// Held while this process runs here: two in one folder would undo each other's files.
    fn lock(&self) -> Result<File, Refusal> {
        let path = self.out.join(".lock");
        let at = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        let file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|e| at(&e))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                Err(format!("another process runs in {}", self.out.display()).into())
            }
            Err(TryLockError::Error(e)) => Err(at(&e).into()),
        }
    }

    /// run.json of the run that the folder holds, if it does.
    fn before(&self, file: &Path) -> Result<Option<Value>, Refusal> {
        let holds = ["run.json", "metrics.jsonl", "checkpoint"]
            .iter()
            .any(|name| self.out.join(name).exists());
        if holds && !self.resume {
            let says = format!(
                "{} holds a run already; `--resume` goes on with it, `--out` names another folder",
                self.out.display()
            );
            return Err(Refusal::Holds(says));
        }
        if !file.exists() {
            let begun = resume::newest(&self.out, self.plan)
                .map(|point| nodes::data::file::metadata(&point.path))
                .transpose()?;
            if begun.is_some_and(|about| about.get("graph") != Some(&self.graph())) {
                return Err(format!(
                    "{} was begun with another graph, so it does not go on",
                    self.out.display()
                )
                .into());
            }
            return Ok(None);
        }
        let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
        Ok(Some(
            serde_json::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))?,
        ))
    }

    /// BLAKE3 of the resolved graph.
    fn graph(&self) -> String {
        blake3::hash(self.plan.resolved.to_string().as_bytes())
            .to_hex()
            .to_string()
    }

    fn about(&self, before: Option<&Value>) -> Value {
        json!({
            "graph": self.plan.resolved,
            "arguments": self.arguments,
            "version": env!("CARGO_PKG_VERSION"),
            "seed": self.plan.seed,
            "threads": threads(),
            "device": self.device,
            "data": data::hashes(self.plan),
            "started": before.map_or(now().into(), |b| b["started"].clone()),
            "finished": null,
            "peak_bytes": null,
            "summary": null,
        })
    }

    /// Whether this run may go on with what it is given now.
    fn bound(&self, before: &Value, now: &Value) -> Result<(), Refusal> {
        let mut ways = resume::differences(&before["graph"], &now["graph"]);
        ways.extend(
            (before["arguments"]["steps"] != now["arguments"]["steps"])
                .then(|| "--steps".to_owned()),
        );
        let data = now["data"].as_object().into_iter().flatten();
        let known = |path: &str| before["data"].get(path).filter(|hash| !hash.is_null());
        let changed = data.filter(|(path, hash)| {
            !hash.is_null() && known(path).is_some_and(|known| known != *hash)
        });
        ways.extend(changed.map(|(path, _)| format!("the data in {path}")));
        if !ways.is_empty() {
            let out = self.out.display();
            return Err(format!(
                "{out} was begun otherwise, so it does not go on; different: {}",
                ways.join(", ")
            )
            .into());
        }
        for key in ["threads", "device"]
            .iter()
            .filter(|key| before[*key] != now[*key])
        {
            let (was, is) = (&before[*key], &now[*key]);
            self.report.say(&format!(
                "warning: the run began with {key} {was}, now it is {is}: numbers may differ in the last digits"
            ));
        }
        Ok(())
    }

    /// Files that the graph reads must be there before the first step.
    fn missing(&self) -> Result<(), Refusal> {
        let lines = missing(self.plan.phases.iter());
        if lines.is_empty() {
            Ok(())
        } else {
            Err(lines.join("\n").into())
        }
    }

    fn phases(&self, about: &Value) -> Result<Outcome, Refusal> {
        let point = resume::newest(&self.out, self.plan);
        let first = point.as_ref().map_or(0, |p| p.phase);
        for (i, phase) in self.plan.phases.iter().enumerate().skip(first) {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(Outcome::Stopped);
            }
            let point = point.as_ref().filter(|p| p.phase == i);
            if let Some(point) = point {
                self.report.say(&format!(
                    "going on after update {} of phase `{}`",
                    point.update, phase.name
                ));
            }
            let context = NodeContext {
                node: String::new(),
                phase: phase.name.clone(),
                phases: self.plan.phased,
                run: self.out.clone(),
                seed: self.plan.seed,
                clock: phase.clock(self.steps, point.map_or(0, |p| p.update)),
                bench: false,
                synthetic: None,
                graph: self.graph(),
                inputs: Shapes::default(),
                phase_outputs: self.plan.phase_outputs.clone(),
                report: self.report.clone(),
                stop: self.stop.clone(),
            };
            let (samples, begun) = (AtomicU64::new(0), Instant::now());
            // With an optimizer that one reports.
            let watch = |node: &str, info: StepInfo, moment: Moment| {
                let ended = matches!(moment, Moment::Ended(..));
                if ended && phase.optimizer.is_none() && node == phase.last().name() {
                    let all = samples.fetch_add(info.samples, Ordering::Relaxed) + info.samples;
                    self.report.update(
                        &phase.name,
                        progress(info, &context.clock, all, begun.elapsed()),
                    );
                }
            };
            let ended = phase::run(phase, &context, point.map(|p| p.path.as_path()), &watch);
            let metrics = summary::metrics(&self.out);
            let told = report::write(self.plan, &self.out, about, &metrics); // of a failure, too
            if let Ended::Left = ended? {
                return Ok(Outcome::Stopped);
            }
            told?;
        }
        Ok(Outcome::Finished)
    }
}

/// Where a phase without optimizer stands, after so many samples; it has no loss, and its end may not be known.
fn progress(info: StepInfo, clock: &Clock, samples: u64, time: Duration) -> Progress {
    Progress {
        update: info.update,
        updates: clock.updates.unwrap_or(0),
        loss: f32::NAN,
        sparsity: None,
        audio_seconds: info.samples as f64 / 16000.0,
        audio_per_second: (samples as f64 / 16000.0 / time.as_secs_f64()) as f32,
    }
}

/// A line for each file that a node reads and that is not there.
pub fn missing<'a>(phases: impl Iterator<Item = &'a Phase>) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for node in phases.flat_map(|p| &p.nodes) {
        for path in node
            .info
            .reads
            .iter()
            .filter(|p| !p.starts_with("$OUT/") && !Path::new(p).exists())
        {
            let line = format!(
                "node `{}`: there is no `{path}`{}",
                node.name(),
                nodes::data::file::hint(path)
            );
            lines.extend((!lines.contains(&line)).then_some(line));
        }
    }
    lines
}

/// All cores, or `RAYON_NUM_THREADS`, as the nodes' thread pool counts.
pub fn threads() -> usize {
    let asked = std::env::var("RAYON_NUM_THREADS")
        .ok()
        .and_then(|n| n.parse().ok())
        .filter(|n| *n > 0);
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()))
}

/// Unix seconds.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |t| t.as_secs())
}

fn write(file: &Path, about: &Value) -> Result<(), Refusal> {
    Ok(nodes::data::file::write_atomic(
        file,
        format!("{about:#}\n").as_bytes(),
    )?)
}
