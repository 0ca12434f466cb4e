//! The source of a phase: makes the steps and reads their batches.
use super::clock::StepClock;
use super::rank_steps::RankSteps;
use super::utterances::UtteranceSet;
use super::{Crop, OUT, Options};
use crate::Result;
use crate::node::row_counts::RowCounts;
use crate::node::step::{Step, StepInfo};
use crate::node::{Node, NodeContext};

/// The node of `decode`.
pub(super) struct Decode {
    train: UtteranceSet,
    dev: Option<UtteranceSet>,
    steps: RankSteps,
    views: u64,
    seed: u64,
    /// The epoch of the train set's order.
    epoch: Option<u64>,
    /// The number of the step's batch in the order of its set.
    batch: usize,
}

impl Decode {
    /// Reads the headers of all files.
    pub(super) fn new(options: &Options, context: &NodeContext) -> Result<Decode> {
        let bad_files = &context.run.bad_files;
        bad_files.allow(options.bad_files);
        let open =
            |manifest: &str, crop| UtteranceSet::open(manifest, options, crop, bad_files, context);
        let train = open(&options.manifest, options.crop)?;
        if train.len() == 0 {
            let message = "this shard has no row of it; take at most as many shards as rows";
            return Err(format!("{}: {message}", options.manifest).into());
        }
        let dev = match &options.dev {
            Some(manifest) => Some(open(manifest, Crop::None)?),
            None => None,
        };
        if let Some(rows) = &context.run.rows
            && let Some(counts) = row_counts(options, context.run.seed, &train, dev.as_ref())
        {
            let _ = rows.set(counts); // a phase has one source
        }
        let train_batches = train.batches.len() as u64;
        let run = &context.run;
        let mut clock = run.clock;
        if !run.has_optimizer && (!run.bench || run.tapped.is_some()) {
            // What is only measured is measured once, also where training phases end early.
            let batches = options.views * train_batches;
            clock.updates = clock.updates.map(|updates| updates.min(batches));
            if clock.updates.is_none() {
                let dev_samples = dev.as_ref().map_or(0, UtteranceSet::all_samples);
                let samples = options.views * train.all_samples() + dev_samples;
                let _ = run.samples.set(samples); // a phase has one source
            }
        }
        let clock = StepClock::new(
            clock,
            options.views,
            options.dev_every,
            train_batches,
            dev.as_ref().map_or(0, |dev| dev.batches.len() as u64),
        );
        Ok(Decode {
            train,
            dev,
            steps: RankSteps::new(clock, &context.run),
            views: options.views,
            seed: context.run.seed,
            epoch: None,
            batch: 0,
        })
    }

    fn view(&self, info: &StepInfo) -> u64 {
        match self.views {
            _ if info.dev => 0,
            0 => info.epoch,
            views => info.epoch % views,
        }
    }
}

impl Node for Decode {
    fn next_step(&mut self) -> Result<StepInfo> {
        let (info, batch) = self.steps.next().ok_or("has no step left")?;
        if !info.dev && self.epoch != Some(info.epoch) {
            let view = self.view(&info);
            self.train.begin_epoch(self.seed, view, info.epoch);
            self.epoch = Some(info.epoch);
        }
        self.batch = batch;
        let set = set_of_step(&self.train, &self.dev, &info);
        Ok(StepInfo {
            samples: set.samples(batch),
            ..info
        })
    }

    fn run(&mut self, step: &mut Step) -> Result<()> {
        let view = self.view(&step.info);
        let set = set_of_step(&self.train, &self.dev, &step.info);
        // A batch without a readable row is replaced by the next one. The number of batches stays,
        // so that a run that resumes finds its position.
        let count = set.batches.len();
        for index in (self.batch..count).chain(0..self.batch) {
            let batch = set.batches.batch(index);
            let speech = set.read(batch, view, &step.context.run.bad_files, step.context)?;
            if !speech.ids.is_empty() {
                step.send(OUT, speech.into_value(view)?);
                return Ok(());
            }
        }
        Err("no file of the epoch can be read".into())
    }
}

/// Counts the rows of the phase; `None` if they are not known before its end.
fn row_counts(
    options: &Options,
    seed: u64,
    train: &UtteranceSet,
    dev: Option<&UtteranceSet>,
) -> Option<RowCounts> {
    if options.views == 0 || matches!(options.crop, Crop::Batch) {
        return None;
    }
    let mut hashes = vec![];
    train.add_row_hashes(seed, options.views, &mut hashes);
    if let Some(dev) = dev {
        dev.add_row_hashes(seed, 1, &mut hashes);
    }
    Some(RowCounts::new(hashes))
}

/// Returns the set of a step. Only a clock with a dev set makes dev steps.
fn set_of_step<'a>(
    train: &'a UtteranceSet,
    dev: &'a Option<UtteranceSet>,
    info: &StepInfo,
) -> &'a UtteranceSet {
    match dev {
        Some(dev) if info.dev => dev,
        _ => train,
    }
}
