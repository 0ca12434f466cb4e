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
use nodes::node::RunContext;
use nodes::node::report::Progress;
use nodes::node::step::StepInfo;
use std::sync::{Arc, Mutex, PoisonError};
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
        let has_cache = phase.nodes.iter().any(|node| node.spec.cache.is_some());
        let context = Arc::new(RunContext {
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
        });
        let test_pass = TestPass::default();
        let pace: Mutex<Option<Pace>> = Mutex::default(); // from the first step on
        let first_of_last_stage = phase.first_of_last_stage().name();
        // An optimizer reports its progress itself.
        let watch = |node: &str, info: StepInfo, event: NodeEvent| {
            if matches!(event, NodeEvent::Started) && node == first_of_last_stage {
                self.report.step_started(&phase.name, &info);
                let mut pace = pace.lock().unwrap_or_else(PoisonError::into_inner);
                pace.get_or_insert_with(|| Pace::new(Instant::now()));
            }
            let NodeEvent::Finished(_, sent) = event else {
                return;
            };
            if phase.optimizer.is_none() {
                test_pass.add(node, info, sent);
            }
            if phase.optimizer.is_none() && node == phase.last().name() {
                let mut pace = pace.lock().unwrap_or_else(PoisonError::into_inner);
                let pace = pace.get_or_insert_with(|| Pace::new(Instant::now()));
                self.report
                    .update(&phase.name, progress(info, &context, pace));
            }
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

    /// Writes the metrics of a phase without an optimizer, and says what they are.
    fn end_test_pass(&self, test_pass: TestPass, phase: &Phase) -> Result<(), RunError> {
        let folder = match self.plan.phased {
            true => self.out.join(&phase.name),
            false => self.out.clone(),
        };
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
        audio_seconds: info.samples as f64 / 16000.0,
        audio_per_second: audio_per_second as f32,
        audio,
    }
}
