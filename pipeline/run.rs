//! Runs a plan: locks and checks the run's folder, records the run, and runs its phases in order.
pub mod error;
mod folder;
pub mod growth;
mod leftovers;
mod lines;
pub mod machine;
pub mod named_files;
mod pace;
pub mod phase;
mod phases;
mod ranks;
pub mod receiver;
pub mod record;
pub mod resume;
pub mod sample;
pub mod settings;
pub mod shard;
pub mod stage;
mod test_pass;

use crate::graph::plan::{Phase, Plan};
use crate::report;
use crate::report::summary;
use crate::run::error::{PhaseEnd, RunError, RunOutcome};
use crate::run::named_files::hashes;
use crate::run::ranks::Start;
use crate::run::record::{Comparison, RunRecord};
use crate::run::resume::ResumePoint;
use compute::gemm::has_tiles;
use compute::parallel::Vectors;
use compute::ranks::Ranks;
use nodes::data::file::hint;
use nodes::data::printable::{printable, printable_path};
use nodes::data::{regular, store};
use nodes::node::Shard;
use nodes::node::contents::Contents;
use nodes::node::report::Report;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{SystemTime, UNIX_EPOCH};

/// A plan with the settings of a run.
pub struct Run<'a> {
    pub plan: &'a Plan,
    /// The run's folder.
    pub out: PathBuf,
    pub resume: bool,
    /// The number of updates after which every phase ends; `None` is the number in the file.
    pub steps: Option<u64>,
    /// The share of the rows that this process computes; `None` is all.
    pub shard: Option<Shard>,
    /// The device's name, for run.json.
    pub device: String,
    /// The command line, for run.json.
    pub arguments: Value,
    pub report: Arc<dyn Report>,
    /// Set by a signal, to stop the run.
    pub stop: Arc<AtomicBool>,
    /// The processes that share the run.
    pub ranks: Arc<Ranks>,
}

/// A run whose folder is locked and whose record is written.
struct BegunRun {
    record: RunRecord,
    point: Option<ResumePoint>,
    _lock: File,
}

impl Run<'_> {
    /// Runs all phases, from the newest checkpoint if the folder holds a run.
    pub fn run(&self) -> Result<RunOutcome, RunError> {
        if !self.ranks.is_first() {
            return self.follow();
        }
        let file = self.out.join("run.json");
        let Some(begun) = self.begin(&file)? else {
            self.announce(&Start::AlreadyFinished)?;
            return Ok(RunOutcome::AlreadyFinished);
        };
        let BegunRun { record, point, .. } = &begun;
        let stop = self.announce(&Start::After(point.clone()))?;
        if self.run_phases(Some(record), point.as_ref(), stop)? == PhaseEnd::Stopped {
            return Ok(RunOutcome::Stopped);
        }
        self.finish(begun.record, &file)?;
        Ok(RunOutcome::Finished)
    }

    /// Runs all phases from the beginning in a folder that is nobody else's and is not kept: nothing is
    /// written that describes the run.
    pub fn run_unrecorded(&self) -> Result<PhaseEnd, RunError> {
        let missing = missing(self.plan.phases.iter());
        if !missing.is_empty() {
            return Err(RunError::Failed(missing.join("\n")));
        }
        self.run_phases(None, None, false)
    }

    /// Checks and locks the folder and writes the record; `None` if the folder holds a finished run.
    fn begin(&self, file: &Path) -> Result<Option<BegunRun>, RunError> {
        let earlier = self.earlier_record(file)?;
        let record = self.record(earlier.as_ref());
        if let Some(earlier) = &earlier {
            let Comparison { grows, .. } = self.check_resume(earlier, &record)?;
            if earlier.finished.is_some() && !grows {
                return Ok(None);
            }
        }
        let missing = missing(self.plan.phases.iter());
        if !missing.is_empty() {
            return Err(RunError::Failed(missing.join("\n")));
        }
        self.print_warnings();
        if self.out.is_file() {
            let out = self.out.display();
            return Err(RunError::Failed(format!(
                "{out} is a file; `--out` names the folder of the run"
            )));
        }
        std::fs::create_dir_all(&self.out)
            .map_err(|e| RunError::Failed(format!("{}: {e}", self.out.display())))?;
        let lock = self.lock()?;
        leftovers::remove(&self.out, self.plan);
        if earlier.is_none() && !self.out.join("checkpoint").exists() {
            self.refuse_foreign_models()?;
        }
        let point = resume::newest(&self.out, self.plan, &*self.report)?;
        if let Some(point) = point.as_ref().filter(|_| earlier.is_none()) {
            self.check_graph(point, &record)?;
        }
        record.write(file)?;
        self.report.say(&lines::start(self, &record));
        Ok(Some(BegunRun {
            record,
            point,
            _lock: lock,
        }))
    }

    /// Refuses to begin where a folder stands that is of no run, in the place of a model that this one
    /// will write: what is in it would be lost.
    fn refuse_foreign_models(&self) -> Result<(), RunError> {
        for phase in &self.plan.phases {
            let folder = self.plan.folder(phase, &self.out);
            let writers = phase
                .nodes
                .iter()
                .filter(|node| node.info.model().is_some());
            let foreign = writers.map(|node| folder.join(node.name())).find(|model| {
                std::fs::read_dir(model).is_ok_and(|mut files| files.next().is_some())
            });
            if let Some(model) = foreign {
                return Err(RunError::Failed(format!(
                    "{} is there, and of no run: a model would be written in its place; move it, or name \
                     another folder by `--out`",
                    printable_path(&model)
                )));
            }
        }
        Ok(())
    }

    /// Writes record and report of the finished run, and prints its summary.
    fn finish(&self, mut record: RunRecord, file: &Path) -> nodes::Result<()> {
        let metrics = summary::metrics(&self.out);
        let summary = summary::read(self.plan, &self.out, &metrics);
        record.finished = Some(now());
        record.peak_bytes = machine::peak();
        record.summary = Some(serde_json::to_value(&summary)?);
        record.write(file)?;
        report::write(
            self.plan,
            &self.out,
            &serde_json::to_value(&record)?,
            &metrics,
        )?;
        for phase in &summary {
            self.report.say(&phase.to_string());
        }
        for line in lines::results(self.plan, &self.out) {
            self.report.say(&line);
        }
        Ok(())
    }

    fn print_warnings(&self) {
        let mut printed = vec![];
        for node in self.plan.phases.iter().flat_map(|phase| &phase.nodes) {
            for warning in &node.info.warnings {
                let line = format!("warning: node `{}`: {warning}", node.name());
                if !printed.contains(&line) {
                    self.report.say(&line);
                    printed.push(line);
                }
            }
        }
        for line in self.plan.phases.iter().filter_map(Phase::leaves_nothing) {
            self.report.say(&format!("warning: {line}"));
        }
    }

    fn record(&self, earlier: Option<&RunRecord>) -> RunRecord {
        RunRecord {
            graph: self.plan.resolved.clone(),
            arguments: self.arguments.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            seed: self.plan.seed,
            threads: threads(),
            ranks: self.ranks.count(),
            device: self.device.clone(),
            instructions: Some(instructions(&self.plan.resolved)),
            data: hashes(&self.plan.resolved, Contents::Manifest),
            models: Some(hashes(&self.plan.resolved, Contents::Files)),
            started: earlier.map_or_else(now, |earlier| earlier.started),
            finished: None,
            peak_bytes: None,
            summary: None,
        }
    }
}

/// Names the instructions of a graph's products on the CPU.
fn instructions(graph: &Value) -> String {
    let vectors = Vectors::detect().name();
    let has_bf16 = graph.to_string().contains("\"precision\":\"bf16\"");
    match has_bf16 && has_tiles() {
        true => format!("{vectors} and AMX"),
        false => vectors.to_owned(),
    }
}

/// Returns a line for each file that a node reads and that does not exist, or in whose place
/// something else stands, such as a Git LFS pointer.
pub fn missing<'a>(phases: impl Iterator<Item = &'a Phase>) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for node in phases.flat_map(|phase| &phase.nodes) {
        for path in &node.info.reads {
            if path.starts_with("$OUT/") {
                continue;
            }
            let name = node.name();
            let written = printable(path);
            let line = match regular::stand_in(Path::new(path)) {
                Some(what) => format!("node `{name}`: `{written}`: {what}"),
                None => match store::try_exists(Path::new(path)) {
                    Ok(true) => continue,
                    Err(error) if store::is_address(Path::new(path)) => {
                        format!("node `{name}`: `{written}` cannot be read: {error}")
                    }
                    _ => format!("node `{name}`: there is no `{written}`{}", hint(path)),
                },
            };
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    lines
}

/// Returns the number of threads: all cores, or `RAYON_NUM_THREADS`.
pub fn threads() -> usize {
    let asked = std::env::var("RAYON_NUM_THREADS")
        .ok()
        .and_then(|n| n.parse().ok());
    asked
        .filter(|n| *n > 0)
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()))
}

/// Returns Unix seconds.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}
