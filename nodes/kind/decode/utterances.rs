//! The usable utterances of one manifest, their batches, and their samples.
use super::Options;
use super::batch_plan::BatchPlan;
use super::crop::{self, Crop};
use super::order::Order;
use super::speech::Speech;
use crate::data::audio::resample::RATE;
use crate::data::manifest;
use crate::data::manifest::{Listing, Utterance};
use crate::data::printable::printable;
use crate::model::row_memory::{RowLength, check_decoded};
use crate::node::NodeContext;
use crate::node::row_counts::RowCounts;
use crate::{Error, Result};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::iter;

/// The train set or the dev set.
pub(super) struct UtteranceSet {
    rows: Vec<Row>,
    plan: BatchPlan,
    /// How an epoch orders the batches.
    epoch_order: Order,
    /// The batches in the order of the current epoch, each a list of rows.
    pub order: Vec<Vec<usize>>,
}

/// With more files than this the reading of their headers is announced.
const MANY_FILES: usize = 10_000;

struct Row {
    utterance: Utterance,
    /// The number of samples at 16 kHz.
    length: u64,
}

impl UtteranceSet {
    /// Reads the header of every file, in parallel. Files that cannot be used are reported and
    /// counted. Of a run by shards, only the rows of its shard are read: none, if there are more
    /// shards than rows.
    pub(super) fn open(
        manifest: &str,
        options: &Options,
        crop: Crop,
        bad_files: &mut BadFiles,
        context: &NodeContext,
    ) -> Result<UtteranceSet> {
        let Listing {
            mut utterances,
            left_out,
        } = manifest::read(&context.path(manifest))?;
        if !left_out.is_empty() {
            context.say(format!("{manifest}: left out: {left_out}"));
        }
        let listed = utterances.len();
        if let Some(shard) = context.run.shard {
            let mut row = 0..;
            utterances.retain(|_| row.next().is_some_and(|row| shard.has(row)));
        }
        let total = utterances.len();
        if total > MANY_FILES {
            context.say(format!("{manifest}: reading the headers of {total} files"));
        }
        let lengths = manifest::lengths(&utterances);
        let mut rows = vec![];
        let mut empty = 0;
        let mut short = 0;
        let mut long = 0;
        for (utterance, length) in utterances.into_iter().zip(lengths) {
            match length {
                Err(error) => bad_files.add(error, context)?,
                Ok(0) => empty += 1,
                Ok(length) if options.is_too_short(length) => short += 1,
                Ok(length) if options.is_too_long(length) => long += 1,
                Ok(length) => rows.push(Row { utterance, length }),
            }
        }
        if rows.is_empty() && total == 0 && listed > 0 {
            let plan = options.batch_plan(iter::empty(), crop);
            return Ok(UtteranceSet {
                epoch_order: options.order,
                order: vec![],
                plan,
                rows,
            });
        }
        if rows.is_empty() {
            let bad = total - empty - short - long;
            let mut message = format!(
                "{manifest} has no utterance to use: {short} too short, {long} too long, {bad} bad"
            );
            if empty > 0 {
                message += &format!(", {empty} without samples");
            }
            if !left_out.is_empty() {
                message += &format!("; left out: {left_out}");
            }
            return Err(message.into());
        }
        let reasons = [
            (short, "too short"),
            (long, "too long"),
            (empty, "without samples"),
            (total - rows.len() - short - long - empty, "bad"),
        ];
        let samples = rows.iter().map(|row| row.length).sum();
        let summary = summary(rows.len(), samples, &reasons);
        context.say(format!("{manifest}: {summary}"));
        let plan = options.batch_plan(rows.iter().map(|row| row.length), crop);
        Ok(UtteranceSet {
            epoch_order: options.order,
            order: plan.in_order(),
            plan,
            rows,
        })
    }

    /// Adds the crops of all rows in `views` views; equal crops of a row count once.
    pub(super) fn count_rows(&self, seed: u64, views: u64, counts: &mut RowCounts) {
        for batch in &self.order {
            for (&row, kept) in batch.iter().zip(self.plan.kept(batch)) {
                let Row { utterance, length } = &self.rows[row];
                let starts: BTreeSet<u64> = (0..views)
                    .map(|view| crop::start(seed, &utterance.id, view, *length, kept))
                    .collect();
                counts.add(&utterance.id, kept, starts.len() as u64);
            }
        }
    }

    /// Returns the number of rows.
    pub(super) fn len(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Puts the batches in the order of an epoch.
    pub(super) fn begin_epoch(&mut self, seed: u64, view: u64, epoch: u64) {
        self.order = self.plan.of_epoch(self.epoch_order, seed, view, epoch);
    }

    /// Returns the samples of all rows of a batch.
    pub(super) fn samples(&self, batch: usize) -> u64 {
        self.plan.kept(&self.order[batch]).iter().sum()
    }

    /// Reads the rows of a batch, in its order. Files that cannot be used are reported, counted and
    /// left out.
    pub(super) fn read(
        &self,
        batch: &[usize],
        view: u64,
        bad_files: &mut BadFiles,
        context: &NodeContext,
    ) -> Result<Speech> {
        let lengths: Vec<RowLength> = batch
            .iter()
            .map(|&row| RowLength {
                name: &self.rows[row].utterance.id,
                samples: self.rows[row].length as usize,
            })
            .collect();
        check_decoded(&lengths)?;
        let seed = context.run.seed;
        let waveforms: Vec<_> = batch
            .par_iter()
            .map(|&row| self.rows[row].utterance.read())
            .collect();
        let kept = self.plan.kept(batch);
        let mut speech = Speech::default();
        for ((&row, kept), waveform) in batch.iter().zip(kept).zip(waveforms) {
            let Row { utterance, length } = &self.rows[row];
            let id = &utterance.id;
            match waveform {
                Ok(waveform) if waveform.len() as u64 == *length => {
                    let start = crop::start(seed, id, view, *length, kept) as usize;
                    let kept = kept as usize;
                    speech.ids.push(id.clone());
                    speech
                        .samples
                        .extend_from_slice(&waveform[start..start + kept]);
                    speech.lengths.push(kept);
                }
                Ok(_) => {
                    bad_files.add(format!("`{}` has changed", printable(id)).into(), context)?
                }
                Err(error) => bad_files.add(error, context)?,
            }
        }
        Ok(speech)
    }
}

/// Describes a set: how much it is, and how many utterances are left out for which reason.
fn summary(utterances: usize, samples: u64, reasons: &[(usize, &str)]) -> String {
    let noun = if utterances == 1 {
        "utterance"
    } else {
        "utterances"
    };
    let seconds = samples as f64 / RATE as f64;
    let length = match seconds {
        0.0..60.0 => format!("{seconds:.1} seconds"),
        60.0..3600.0 => format!("{:.1} minutes", seconds / 60.0),
        _ => format!("{:.1} hours", seconds / 3600.0),
    };
    let mut text = format!("{utterances} {noun}, {length}");
    let left_out: Vec<String> = reasons
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, reason)| format!("{count} {reason}"))
        .collect();
    if !left_out.is_empty() {
        text += &format!("; left out: {}", left_out.join(", "));
    }
    text
}

/// The files that could not be used, up to the number that the option `bad_files` allows.
pub(super) struct BadFiles {
    /// The errors. Each names its file, so that a file counts once.
    errors: BTreeSet<String>,
    allowed: u64,
}

impl BadFiles {
    /// Counts from 0 up to `allowed`.
    pub(super) fn new(allowed: u64) -> BadFiles {
        BadFiles {
            errors: BTreeSet::new(),
            allowed,
        }
    }

    /// Counts and reports a file, unless it is known.
    ///
    /// # Errors
    /// The error itself if there are more than allowed.
    fn add(&mut self, error: Error, context: &NodeContext) -> Result<()> {
        if !self.errors.insert(error.to_string()) {
            return Ok(());
        }
        let number = self.errors.len() as u64;
        let allowed = self.allowed;
        let count = format!("(bad file {number}; `bad_files` is {allowed})");
        if number > allowed {
            return Err(format!("{error} {count}").into());
        }
        context.say(format!("{error}: left out {count}"));
        Ok(())
    }
}
