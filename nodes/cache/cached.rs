//! A node behind its cache.
use super::fingerprint::Fingerprint;
use super::input_rows::InputRows;
use super::rows::RowKey;
use super::store::{FoundEntries, Store};
use super::{cacheable, stored_layers};
use crate::Result;
use crate::data::column;
use crate::data::entry::Entry;
use crate::data::printable::printable_path;
use crate::node::port;
use crate::node::port::Value;
use crate::node::step::{Step, StepInfo};
use crate::node::{Cacheable, Config, Node, NodeContext};
use arrow::array::RecordBatch;
use compute::tensor::Tape;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Sends stored entries, and those that the node computes for the other rows.
pub(super) struct CachedNode {
    config: Arc<dyn Config>,
    context: NodeContext,
    /// The cache's folder.
    root: PathBuf,
    store: Store,
    /// Whether another node reads the rows.
    is_read: bool,
    /// Whether rows of this store were sent.
    has_served: bool,
    /// Whether the person who watches knows how many rows are stored.
    has_told: bool,
    /// The node, from the first miss on.
    node: Option<Box<dyn Node>>,
    /// The layers that `node` computes.
    computed_layers: Vec<usize>,
}

impl CachedNode {
    /// Wraps a node whose entries are in `store`. `is_read` is false if its rows go nowhere but into
    /// the cache.
    pub(super) fn new(
        config: Arc<dyn Config>,
        context: &NodeContext,
        root: &Path,
        store: Store,
        is_read: bool,
    ) -> CachedNode {
        CachedNode {
            config,
            context: context.clone(),
            root: root.to_owned(),
            store,
            is_read,
            has_served: false,
            has_told: false,
            node: None,
            computed_layers: vec![],
        }
    }

    /// Tells once how many of the phase's rows are stored.
    fn tell_stored(&mut self) {
        let run = &self.context.run;
        if self.has_told || run.bench {
            return;
        }
        self.has_told = true;
        if let Some(rows) = run.rows.get() {
            let stored = self.store.stored(rows);
            let total = rows.total();
            let root = printable_path(&self.root);
            self.context
                .say(format!("{root} has {stored} of {total} rows"));
        }
    }

    /// Returns the stored entries of these rows, and builds the node for those that are missing.
    fn find(&mut self, keys: &[RowKey]) -> Result<FoundEntries> {
        loop {
            let found = self.store.find(keys);
            let is_complete = found.iter().flatten().all(Option::is_some);
            if is_complete || !self.build_node(&found)? {
                return Ok(found);
            }
        }
    }

    /// Computes the rows that miss an entry, and stores the entries that were missing.
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
        let computed = self.compute(info, rows.take(&missing)?)?;
        let cacheable = cacheable(&*self.config)?;
        let ids = column::texts(&rows.speech, column::ID)?;
        for (computed_row, row) in missing.into_iter().enumerate() {
            let row = row as usize;
            let samples = column::floats(&rows.speech, column::SAMPLES, row)?.len();
            for (l, layer) in layer_numbers(cacheable).iter().enumerate() {
                if found[row][l].is_some() {
                    continue;
                }
                let mut computed_layers = self.computed_layers.iter();
                let layer_index = computed_layers
                    .position(|computed| computed == layer)
                    .ok_or("a missing layer was not computed")?;
                let entry = cacheable.entry(&computed, computed_row, layer_index)?;
                self.store
                    .put(l, keys[row], ids.value(row), samples, &entry)?;
                found[row][l] = Some(entry);
            }
        }
        let written = self.store.write_full();
        self.check_written(written)
    }

    /// Builds the node so that it computes every layer that is missing, unless it does already.
    ///
    /// Returns true if it was built from other bytes than those that the store is for, which is now
    /// the one of these bytes.
    fn build_node(&mut self, found: &FoundEntries) -> Result<bool> {
        let config = self.config.clone();
        let cacheable = cacheable(&*config)?;
        let mut wanted = vec![];
        for (l, &number) in layer_numbers(cacheable).iter().enumerate() {
            let missing = found.iter().any(|entries| entries[l].is_none());
            if missing || self.computed_layers.contains(&number) {
                wanted.push(number);
            }
        }
        if wanted == self.computed_layers {
            return Ok(false);
        }
        self.node = None; // two teachers at once might not fit into memory
        let built = cacheable.build_for(&wanted, &self.context)?;
        let fingerprint = Fingerprint::of_built(cacheable, &built.read_files, &self.context)?;
        self.node = Some(built.node);
        self.computed_layers = wanted;
        let is_other_model = fingerprint != self.store.fingerprint;
        if is_other_model {
            self.change_store(fingerprint)?;
        }
        if self.store.keeps_rows() {
            // A cache that cannot be written is noticed before the first row is computed.
            let written = self.store.write_fingerprint();
            self.check_written(written)?;
        }
        Ok(is_other_model)
    }

    /// Changes to the store of the model that was loaded, which is not the one that was hashed at
    /// the start.
    fn change_store(&mut self, fingerprint: Fingerprint) -> Result<()> {
        if self.has_served {
            let message = "the model's files have changed during the run, and its rows so far are \
                           those of the model before; run again";
            return Err(message.into());
        }
        let layers = stored_layers(cacheable(&*self.config)?);
        let keeps_rows = self.store.keeps_rows();
        self.store = Store::open(&self.root, fingerprint, layers, &self.context)?;
        if !keeps_rows {
            self.store.stop_keeping();
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
        if self.store.keeps_rows() {
            self.context.say(format!(
                "the cache cannot be written: {error}; rows that it has are read, others are \
                 computed and not kept"
            ));
            self.store.stop_keeping();
        }
        Ok(())
    }

    fn compute(&mut self, info: StepInfo, rows: InputRows) -> Result<RecordBatch> {
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
        let output = cacheable.output();
        match step.into_outputs().remove(output) {
            Some(value) => value.batch(),
            None => Err(format!("nothing came from `{output}`").into()),
        }
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
        if step.info.checkpoint {
            self.leave()?;
        }
        let mut entries: Vec<Vec<Entry>> = vec![];
        for row in found {
            entries.push(row.into_iter().flatten().collect());
        }
        let batch = cacheable.batch(&rows.speech, &entries)?;
        step.send(cacheable.output(), Value::Batch(batch));
        Ok(())
    }

    fn finish(&mut self, _: &mut Step) -> Result<()> {
        self.leave()
    }

    /// Writes the rows that are in no part yet.
    fn leave(&mut self) -> Result<()> {
        let written = self.store.write();
        self.check_written(written)
    }
}

/// Returns the layers of a node in the order in which it sends them; layer 0 of a kind without
/// layers.
fn layer_numbers(node: &dyn Cacheable) -> &[usize] {
    node.layers().unwrap_or(&[0])
}
