//! A node behind its cache.
mod build;

use super::cacheable;
use super::codec::{Codec, NOT_FINITE};
use super::input_rows::InputRows;
use super::output::CachedOutput;
use super::rows::RowKey;
use super::store::FoundEntries;
use crate::Result;
use crate::data::column;
use crate::data::entry::Entry;
use crate::data::printable::{printable, printable_path};
use crate::node::port;
use crate::node::port::Value;
use crate::node::step::{Step, StepInfo};
use crate::node::{Config, Node, NodeContext, StoredEntry};
use arrow::array::RecordBatch;
use compute::tensor::Tape;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Sends stored entries, and those that the node computes for the other rows.
pub(super) struct CachedNode {
    config: Arc<dyn Config>,
    context: NodeContext,
    /// The cache's folder.
    root: PathBuf,
    codec: Codec,
    outputs: Vec<CachedOutput>,
    /// Whether another node reads the rows.
    is_read: bool,
    /// Whether stored rows were sent.
    has_served: bool,
    /// Whether the person who watches knows how many rows are stored.
    has_told: bool,
    /// The node, from the first miss on.
    node: Option<Box<dyn Node>>,
    /// What `node` computes of a row.
    computed: Vec<StoredEntry>,
    /// When all rows were last written.
    written_at: Instant,
    /// The longest time that a computed row stays in memory alone: a process that is killed loses it.
    pub(super) longest_unwritten: Duration,
}

/// What the node sent, by port.
type Sent = HashMap<&'static str, RecordBatch>;

impl CachedNode {
    /// Wraps a node that sends these outputs. `is_read` is false if its rows go nowhere but into the
    /// cache.
    pub(super) fn new(
        config: Arc<dyn Config>,
        context: &NodeContext,
        root: &Path,
        codec: Codec,
        outputs: Vec<CachedOutput>,
        is_read: bool,
    ) -> CachedNode {
        CachedNode {
            config,
            context: context.clone(),
            root: root.to_owned(),
            codec,
            outputs,
            is_read,
            has_served: false,
            has_told: false,
            node: None,
            computed: vec![],
            written_at: Instant::now(),
            longest_unwritten: Duration::from_secs(300),
        }
    }

    /// Tells once how many of the phase's rows are stored.
    fn tell_stored(&mut self) {
        let run = &self.context.run;
        if self.has_told || run.bench || !run.ranks.is_first() {
            return;
        }
        self.has_told = true;
        if let Some(rows) = run.rows.as_ref().and_then(|rows| rows.get()) {
            let outputs = self.outputs.iter();
            let stored = outputs.map(|output| output.store.stored(rows));
            let stored = stored.min().unwrap_or(0);
            let total = rows.total();
            let root = printable_path(&self.root);
            self.context
                .say(format!("{root} has {stored} of {total} rows"));
        }
    }

    /// Returns the stored entries of these rows, of all outputs, and builds the node for those that
    /// are missing.
    fn find(&mut self, keys: &[RowKey]) -> Result<FoundEntries> {
        loop {
            let mut found: FoundEntries = keys.iter().map(|_| vec![]).collect();
            for output in &mut self.outputs {
                for (row, entries) in found.iter_mut().zip(output.store.find(keys)) {
                    row.extend(entries);
                }
            }
            let is_complete = found.iter().flatten().all(Option::is_some);
            if is_complete || !self.build_node(&found)? {
                return Ok(found);
            }
        }
    }

    /// Computes the rows that miss an entry, all their missing entries in one pass, and stores these.
    fn fill(
        &mut self,
        info: StepInfo,
        rows: &InputRows,
        keys: &[RowKey],
        found: &mut FoundEntries,
    ) -> Result<()> {
        let missing: Vec<u32> = (0u32..)
            .zip(&*found)
            .filter(|(_, entries)| entries.contains(&None))
            .map(|(row, _)| row)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let sent = self.compute(info, rows.take(&missing)?)?;
        let cacheable = cacheable(&*self.config)?;
        let ids = column::texts(&rows.speech, column::ID)?;
        for (computed_row, row) in missing.into_iter().enumerate() {
            let row = row as usize;
            let samples = column::floats(&rows.speech, column::SAMPLES, row)?.len();
            let mut places = found[row].iter_mut();
            for output in &mut self.outputs {
                let is_sent = |entry: &&StoredEntry| output.entries.contains(entry);
                let sent_entries: Vec<_> = self.computed.iter().filter(is_sent).collect();
                for (i, entry) in output.entries.iter().enumerate() {
                    let place = places.next().ok_or("a row has too few entries")?;
                    if place.is_some() {
                        continue;
                    }
                    let index = sent_entries.iter().position(|sent| *sent == entry);
                    let index = index.ok_or("a missing entry was not computed")?;
                    let batch = sent
                        .get(output.port)
                        .ok_or_else(|| format!("nothing came from `{}`", output.port))?;
                    let entry = cacheable.entry(output.port, batch, computed_row, index)?;
                    let id = ids.value(row);
                    if self.is_read && !entry.is_finite() {
                        // Who reads it decides what becomes of the update.
                        self.context.say(format!(
                            "row `{}`: {NOT_FINITE}; it is not kept",
                            printable(id)
                        ));
                        *place = Some(entry);
                        continue;
                    }
                    *place = Some(output.store.put(i, keys[row], id, samples, entry)?);
                }
            }
        }
        for output in 0..self.outputs.len() {
            let written = self.outputs[output].store.write_full();
            self.check_written(written)?;
        }
        Ok(())
    }

    /// Reports, once, that the cache cannot be written: rows are computed and not kept.
    ///
    /// # Errors
    /// The rows go nowhere but into the cache.
    fn check_written(&mut self, written: Result<()>) -> Result<()> {
        let Err(error) = written else {
            return Ok(());
        };
        if !self.is_read {
            return Err(format!(
                "nothing reads what it sends, and its cache cannot be written: {error}"
            )
            .into());
        }
        if self.outputs.iter().any(|output| output.store.keeps_rows()) {
            self.context.say(format!(
                "the cache cannot be written: {error}; rows that it has are read, others are \
                 computed and not kept"
            ));
            for output in &mut self.outputs {
                output.store.stop_keeping();
            }
        }
        Ok(())
    }

    fn compute(&mut self, info: StepInfo, rows: InputRows) -> Result<Sent> {
        let cacheable = cacheable(&*self.config)?;
        let mut inputs = HashMap::new();
        inputs.insert(
            cacheable.input().to_owned(),
            vec![Value::Batch(rows.speech)],
        );
        if let Some(mask) = rows.mask {
            inputs.insert(port::MASK.name.to_owned(), vec![Value::Batch(mask)]);
        }
        let mut step = Step::new(info, &self.context, Tape::default(), inputs, &mut []);
        let node = self.node.as_mut().ok_or("the node was not built")?;
        node.run(&mut step)?;
        let mut sent = Sent::new();
        for (port, value) in step.into_outputs() {
            sent.insert(port, value.batch()?);
        }
        Ok(sent)
    }
}

impl Node for CachedNode {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        self.tell_stored();
        let config = self.config.clone();
        let cacheable = cacheable(&*config)?;
        let rows = InputRows {
            speech: step.batch(cacheable.input())?,
            mask: step.optional_batch(port::MASK.name),
        };
        let keys = rows.keys()?;
        let mut found = self.find(&keys)?;
        self.fill(step.info, &rows, &keys, &mut found)?;
        self.has_served |= !keys.is_empty();
        if step.info.checkpoint || self.written_at.elapsed() > self.longest_unwritten {
            self.leave()?;
        }
        let mut entries: Vec<Vec<Entry>> = vec![];
        for row in found {
            entries.push(row.into_iter().flatten().collect());
        }
        for output in &self.outputs {
            let later = |row: &mut Vec<Entry>| row.split_off(output.entries.len());
            let rest: Vec<Vec<Entry>> = entries.iter_mut().map(later).collect();
            let batch = cacheable.batch(output.port, &rows.speech, &entries)?;
            step.send(output.port, Value::Batch(batch));
            entries = rest;
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut Step) -> Result<()> {
        self.leave()
    }

    /// Writes the rows that are in no part yet.
    fn leave(&mut self) -> Result<()> {
        self.written_at = Instant::now();
        for output in 0..self.outputs.len() {
            let written = self.outputs[output].store.write();
            self.check_written(written)?;
        }
        Ok(())
    }
}
