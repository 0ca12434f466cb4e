//! The utterances of one manifest that can be used, their batches, and their samples.
use super::Options;
use super::batches::Batches;
use super::crop::{self, Crop};
use super::speech::Speech;
use crate::data::manifest;
use crate::data::manifest::Utterance;
use crate::node::NodeContext;
use crate::{Error, Result};
use rayon::prelude::*;
use std::collections::BTreeSet;

pub struct Set {
    /// Utterances and their samples at 16 kHz.
    rows: Vec<(Utterance, u64)>,
    batches: Batches,
    /// The batches of the epoch that is going on.
    pub order: Vec<Vec<usize>>,
}

impl Set {
    /// Reads every header, in parallel; files that cannot be used are named and counted.
    pub fn open(
        manifest: &str,
        options: &Options,
        crop: Crop,
        bad: &mut Bad,
        context: &NodeContext,
    ) -> Result<Set> {
        let all = manifest::read(&context.path(manifest))?;
        let lengths = manifest::lengths(&all);
        let (total, mut rows, mut short, mut long) = (all.len(), vec![], 0, 0);
        for (utterance, length) in all.into_iter().zip(lengths) {
            match length {
                Err(why) => bad.meet(why, context)?,
                Ok(length) if options.is_too_short(length) => short += 1,
                Ok(length) if options.is_too_long(length) => long += 1,
                Ok(length) => rows.push((utterance, length)),
            }
        }
        if rows.is_empty() {
            let unread = total - short - long;
            let why = format!("{short} too short, {long} too long, {unread} bad");
            return Err(format!("{manifest} has no utterance to use: {why}").into());
        }
        if short + long > 0 {
            context.say(format!(
                "{manifest}: of {total} utterances {short} are too short, {long} too long: left out"
            ));
        }
        let batches = options.batches(rows.iter().map(|row| row.1), crop);
        Ok(Set {
            order: batches.in_order(),
            batches,
            rows,
        })
    }
    /// Puts the batches in the order of an epoch.
    pub fn begin(&mut self, seed: u64, view: u64, epoch: u64) {
        self.order = self.batches.of_epoch(seed, view, epoch);
    }
    /// Samples of all rows of a batch.
    pub fn samples(&self, batch: usize) -> u64 {
        self.batches.kept(&self.order[batch]).iter().sum()
    }
    /// The rows of a batch that can be read, in its order; the others are named and counted.
    pub fn read(
        &self,
        batch: &[usize],
        view: u64,
        bad: &mut Bad,
        context: &NodeContext,
    ) -> Result<Speech> {
        let kept = self.batches.kept(batch);
        let rows: Vec<_> = batch.iter().map(|&row| &self.rows[row]).zip(kept).collect();
        let wholes: Vec<_> = rows
            .par_iter()
            .map(|((utterance, _), _)| utterance.read())
            .collect();
        let mut speech = Speech::default();
        for (((utterance, length), kept), whole) in rows.into_iter().zip(wholes) {
            match whole {
                Ok(whole) if whole.len() as u64 == *length => {
                    let start =
                        crop::start(context.run.seed, &utterance.id, view, *length, kept) as usize;
                    speech.ids.push(utterance.id.clone());
                    speech
                        .samples
                        .extend_from_slice(&whole[start..start + kept as usize]);
                    speech.lengths.push(kept as usize);
                }
                Ok(_) => bad.meet(format!("`{}` has changed", utterance.id).into(), context)?,
                Err(why) => bad.meet(why, context)?,
            }
        }
        Ok(speech)
    }
}

/// Why files could not be used, each sentence counted once: it names the file.
pub struct Bad {
    met: BTreeSet<String>,
    allowed: u64,
}

impl Bad {
    pub fn new(allowed: u64) -> Bad {
        Bad {
            met: BTreeSet::new(),
            allowed,
        }
    }
    fn meet(&mut self, why: Error, context: &NodeContext) -> Result<()> {
        if !self.met.insert(why.to_string()) {
            return Ok(());
        }
        let (met, allowed) = (self.met.len() as u64, self.allowed);
        if met > allowed {
            return Err(format!("{why} (bad file {met}; `bad_files` is {allowed})").into());
        }
        context.say(format!(
            "{why}: left out (bad file {met}; `bad_files` is {allowed})"
        ));
        Ok(())
    }
}
