//! The phases of a run, one after the other.
use crate::graph::plan::Phase;
use crate::report;
use crate::report::summary;
use crate::run::error::{PhaseEnd, RunError};
use crate::run::pace::Pace;
use crate::run::record::RunRecord;
use crate::run::resume::ResumePoint;
use crate::run::stage::NodeEvent;
use crate::run::test_pass::TestPass;
use crate::run::{Run, lines, phase};
use nodes::data::audio::resample::audio_seconds;
use nodes::node::report::Progress;
use nodes::node::step::StepInfo;
use nodes::node::{Clock, RunContext};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

impl Run<'_> {
    /// Runs the phases from `point` on, unless a signal has come: `stop`. Only the first rank has a
    /// `record`.
    pub(super) fn run_phases(
        &self,
        record: Option<&RunRecord>,
        point: Option<&ResumePoint>,
        mut stop: bool,
    ) -> Result<PhaseEnd, RunError> {
        let first = point.map_or(0, |p| p.phase);
        for (i, phase) in self.plan.phases.iter().enumerate().skip(first) {
            if stop {
                return Ok(PhaseEnd::Stopped);
            }
            let mut end = PhaseEnd::Finished;
            if self.takes_part(phase) {
                let point = point.filter(|p| p.phase == i);
                end = self.run_phase(phase, point, record)?;
            }
            (end, stop) = self.end_together(phase, end)?;
            if end == PhaseEnd::Stopped {
                return Ok(PhaseEnd::Stopped);
            }
        }
        Ok(PhaseEnd::Finished)
    }

    fn run_phase(
        &self,
        phase: &Phase,
        point: Option<&ResumePoint>,
        record: Option<&RunRecord>,
    ) -> Result<PhaseEnd, RunError> {
        // A share of a test set would give another number without a word.
        let steps = self.steps.filter(|_| !phase.measures());
        let clock = phase.clock(steps, point.map_or(0, |p| p.update));
        if self.ranks.is_first() {
            self.report.say(&lines::phase(phase, &clock));
        }
        if let Some(point) = point.filter(|_| self.ranks.is_first()) {
            self.report.say(&format!(
                "going on after update {} of phase `{}`",
                point.update, phase.name
            ));
        }
        self.report.phase_started(&phase.name, &clock);
        let context = self.context(phase, clock, record);
        let test_pass = TestPass::default();
        let pace: Mutex<Pace> = Mutex::default();
        let first_of_last_stage = phase.first_of_last_stage().name();
        let watch = |node: &str, info: StepInfo, event: NodeEvent| match event {
            NodeEvent::Started if node == first_of_last_stage => {
                self.report.step_started(&phase.name, &info);
                locked(&pace).begin(Instant::now());
            }
            // An optimizer reports its progress itself.
            NodeEvent::Finished(_, sent) if phase.optimizer.is_none() => {
                test_pass.add(node, info, sent);
                if node == phase.last().name() {
                    let progress = progress(info, &context, &mut locked(&pace));
                    self.report.update(&phase.name, progress);
                }
            }
            _ => {}
        };
        let mut end = phase::run(phase, &context, point.map(|p| p.path.as_path()), &watch);
        if matches!(end, Ok(PhaseEnd::Finished)) {
            end = self
                .end_test_pass(test_pass, phase)
                .map(|()| PhaseEnd::Finished);
        }
        let Some(record) = record else {
            return end;
        };
        let metrics = summary::metrics(&self.out);
        // Also after a failure.
        let record = serde_json::to_value(record).map_err(nodes::Error::from)?;
        let written = report::write(self.plan, &self.out, &record, &metrics);
        let end = end?;
        if end == PhaseEnd::Finished {
            written?;
        }
        Ok(end)
    }

    /// Returns what the nodes of a phase know of the run.
    fn context(&self, phase: &Phase, clock: Clock, record: Option<&RunRecord>) -> Arc<RunContext> {
        let has_cache = phase.nodes.iter().any(|node| node.spec.cache.is_some());
        Arc::new(RunContext {
            phase: phase.name.clone(),
            phased: self.plan.phased,
            folder: self.out.clone(),
            graph: record.map_or_else(String::new, RunRecord::identity),
            seed: self.plan.seed,
            clock,
            has_optimizer: phase.optimizer.is_some(),
            bench: false,
            shard: self.shard,
            synthetic: None,
            phase_outputs: self.plan.phase_outputs.clone(),
            report: self.report.clone(),
            rows: has_cache.then(Arc::default),
            samples: Arc::default(),
            bad_files: Arc::default(),
            tapped: None,
            models: Arc::default(),
            stop: self.stop.clone(),
            ranks: match phase.optimizer {
                Some(_) => self.ranks.clone(),
                None => Arc::default(), // this rank runs the phase alone
            },
            shares_dev: phase.shares_dev(),
        })
    }

    /// Writes the metrics of a phase without an optimizer, and says what they are.
    fn end_test_pass(&self, test_pass: TestPass, phase: &Phase) -> Result<(), RunError> {
        let folder = self.plan.folder(phase, &self.out);
        let metrics = test_pass.write(&self.out, &folder, &phase.name)?;
        if !metrics.is_empty() {
            let metrics = metrics
                .iter()
                .map(|(name, value)| format!("{name} {value:.4}"));
            let metrics: Vec<String> = metrics.collect();
            self.report
                .say(&format!("phase `{}`: {}", phase.name, metrics.join(", ")));
        }
        Ok(())
    }
}

/// Locks the pace, also after a panic of another thread.
fn locked(pace: &Mutex<Pace>) -> MutexGuard<'_, Pace> {
    pace.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the progress of a phase without an optimizer: it has no loss, and its number of updates
/// may be unknown.
fn progress(info: StepInfo, context: &RunContext, pace: &mut Pace) -> Progress {
    let total = context.samples.get().copied();
    let (audio, audio_per_second) = pace.add(info.samples, total, Instant::now());
    Progress {
        update: info.update,
        updates: context.clock.updates.unwrap_or(0),
        loss: f32::NAN,
        sparsity: None,
        audio_seconds: audio_seconds(info.samples),
        audio_per_second: audio_per_second as f32,
        audio,
    }
}
