//! The usable utterances of one manifest, their batches, and their samples.
use super::Options;
use super::batch_plan::{BatchPlan, OrderedBatches};
use super::crop::{self, Crop};
use super::order::Order;
use super::speech::Speech;
use crate::Result;
use crate::data::audio::resample::audio_seconds;
use crate::data::lengths::Lengths;
use crate::data::manifest;
use crate::data::manifest::{Listing, Utterance, Utterances};
use crate::data::printable::printable;
use crate::model::row_memory::{RowLength, check_decoded};
use crate::node::NodeContext;
use crate::node::bad_files::BadFiles;
use crate::node::row_counts::row_hash;
use std::collections::BTreeSet;

/// The train set or the dev set.
pub(super) struct UtteranceSet {
    /// All that the manifest lists.
    utterances: Utterances,
    /// The places in the manifest of the usable utterances, which are the rows of the set.
    listed: Vec<u32>,
    /// The number of samples of each row at 16 kHz.
    lengths: Lengths,
    plan: BatchPlan,
    /// How an epoch orders the batches.
    epoch_order: Order,
    /// The batches in the order of the current epoch.
    pub(super) batches: OrderedBatches,
}

/// With more files than this the reading of their headers is announced.
const MANY_FILES: usize = 10_000;

impl UtteranceSet {
    /// Reads the header of every file, in parallel. Files that cannot be used are reported and
    /// counted. Of a run by shards, only the rows of its shard are read: none, if there are more
    /// shards than rows.
    pub(super) fn open(
        manifest: &str,
        options: &Options,
        crop: Crop,
        bad_files: &BadFiles,
        context: &NodeContext,
    ) -> Result<UtteranceSet> {
        let Listing {
            utterances,
            left_out,
        } = manifest::read(&context.path(manifest))?;
        if !left_out.is_empty() {
            context.say_once(&format!("{manifest}: left out: {left_out}"));
        }
        let count = u32::try_from(utterances.len())
            .map_err(|_| format!("{manifest} has more than {} utterances", u32::MAX))?;
        let shard = context.run.shard;
        let is_read = |row: &u32| shard.is_none_or(|shard| shard.has(*row as usize));
        let candidates: Vec<u32> = (0..count).filter(is_read).collect();
        let total = candidates.len();
        if total > MANY_FILES {
            context.say_once(&format!("{manifest}: reading the headers of {total} files"));
        }
        let mut listed = vec![];
        let mut lengths = Lengths::default();
        let mut empty = 0;
        let mut short = 0;
        let mut long = 0;
        for (row, length) in candidates
            .iter()
            .zip(manifest::lengths(&utterances, &candidates))
        {
            match length {
                Err(error) => bad_files.add(error, |line| context.say_once(&line))?,
                Ok(0) => empty += 1,
                Ok(length) if options.is_too_short(length) => short += 1,
                Ok(length) if options.is_too_long(length) => long += 1,
                Ok(length) => {
                    listed.push(*row);
                    lengths.push(length);
                }
            }
        }
        drop(candidates);
        let is_empty_shard = total == 0 && !utterances.is_empty();
        if listed.is_empty() && !is_empty_shard {
            let bad = total - empty - short - long;
            let mut message = match total {
                0 => format!(
                    "{manifest} has no utterance: a list needs a line for each audio file, a folder \
                     audio files in it"
                ),
                _ => format!(
                    "{manifest} has no utterance to use: {short} too short, {long} too long, {bad} \
                     bad"
                ),
            };
            if empty > 0 {
                message += &format!(", {empty} without samples");
            }
            if !left_out.is_empty() {
                message += &format!("; left out: {left_out}");
            }
            return Err(message.into());
        }
        if !is_empty_shard {
            let reasons = [
                (short, "too short"),
                (long, "too long"),
                (empty, "without samples"),
                (total - listed.len() - short - long - empty, "bad"),
            ];
            let summary = summary(listed.len(), lengths.iter().sum(), &reasons);
            context.say_once(&format!("{manifest}: {summary}"));
        }
        let plan = options.batch_plan(lengths.iter(), crop);
        Ok(UtteranceSet {
            utterances,
            listed,
            lengths,
            epoch_order: options.order,
            batches: plan.in_order(),
            plan,
        })
    }

    /// Adds the hashes of the crops of all rows in `views` views; equal crops of a row count once.
    pub(super) fn add_row_hashes(&self, seed: u64, views: u64, hashes: &mut Vec<u64>) {
        let mut rows = (0u32..).zip(&self.listed).peekable();
        for (id, place) in self.utterances.ids().iter().zip(0..) {
            let Some((row, _)) = rows.next_if(|(_, listed)| **listed == place) else {
                continue;
            };
            let length = self.lengths.get(row as usize);
            for kept in self.plan.kept(&[row]) {
                let hash = row_hash(&id, kept);
                if views == 1 || length == kept {
                    hashes.push(hash);
                    continue;
                }
                let starts: BTreeSet<u64> = (0..views)
                    .map(|view| crop::start(seed, &id, view, length, kept))
                    .collect();
                hashes.extend(starts.iter().map(|_| hash));
            }
        }
    }

    /// Returns the number of rows.
    pub(super) fn len(&self) -> u64 {
        self.listed.len() as u64
    }

    /// Puts the batches in the order of an epoch.
    pub(super) fn begin_epoch(&mut self, seed: u64, view: u64, epoch: u64) {
        self.batches = self.plan.of_epoch(self.epoch_order, seed, view, epoch);
    }

    /// Returns the samples of all rows of a batch.
    pub(super) fn samples(&self, batch: usize) -> u64 {
        self.plan.kept(self.batches.batch(batch)).sum()
    }

    /// Returns the samples of all batches.
    pub(super) fn all_samples(&self) -> u64 {
        (0..self.batches.len())
            .map(|batch| self.samples(batch))
            .sum()
    }

    fn utterance(&self, row: u32) -> Utterance {
        self.utterances.get(self.listed[row as usize] as usize)
    }

    /// Reads the rows of a batch, in its order. Files that cannot be used are reported, counted and
    /// left out.
    pub(super) fn read(
        &self,
        batch: &[u32],
        view: u64,
        bad_files: &BadFiles,
        context: &NodeContext,
    ) -> Result<Speech> {
        let utterances: Vec<Utterance> = batch.iter().map(|row| self.utterance(*row)).collect();
        let lengths: Vec<RowLength> = batch
            .iter()
            .zip(&utterances)
            .map(|(row, utterance)| RowLength {
                name: &utterance.id,
                samples: self.lengths.get(*row as usize) as usize,
            })
            .collect();
        check_decoded(&lengths)?;
        let seed = context.run.seed;
        let rows: Vec<u32> = batch.iter().map(|row| self.listed[*row as usize]).collect();
        let waveforms = self
            .utterances
            .map_parallel(&rows, |utterance| utterance.read());
        let kept = self.plan.kept(batch);
        let mut speech = Speech::default();
        for ((row, kept), waveform) in lengths.iter().zip(kept).zip(waveforms) {
            let id = row.name;
            match waveform {
                Ok(waveform) if waveform.len() == row.samples => {
                    let length = row.samples as u64;
                    let start = crop::start(seed, id, view, length, kept) as usize;
                    let kept = kept as usize;
                    speech.ids.push(id.to_owned());
                    speech
                        .samples
                        .extend_from_slice(&waveform[start..start + kept]);
                    speech.lengths.push(kept);
                }
                Ok(_) => {
                    let error = format!("`{}` has changed", printable(id));
                    bad_files.add(error.into(), |line| context.say_once(&line))?;
                }
                Err(error) => bad_files.add(error, |line| context.say_once(&line))?,
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
    let seconds = audio_seconds(samples);
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
