//! A node behind its cache.
use super::fingerprint::Fingerprint;
use super::layer::LayerStore;
use super::rows::{RowKey, row_key};
use super::{cacheable, files, stored_layers};
use crate::Result;
use crate::data::column;
use crate::data::entry::Entry;
use crate::node::port;
use crate::node::port::Value;
use crate::node::step::{Step, StepInfo};
use crate::node::{Config, Node, NodeContext};
use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use compute::tensor::Tape;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Sends stored entries, and those that the node computes for the other rows.
pub(super) struct CachedNode {
    config: Arc<dyn Config>,
    context: NodeContext,
    fingerprint: Fingerprint,
    /// The folder of the fingerprint.
    folder: PathBuf,
    /// In the order in which the node sends them.
    layers: Vec<LayerStore>,
    /// The node, from the first miss on.
    node: Option<Box<dyn Node>>,
    /// The layers that `node` computes.
    computed_layers: Vec<usize>,
}

/// The input of a step.
struct InputRows {
    speech: RecordBatch,
    mask: Option<RecordBatch>,
}

impl InputRows {
    fn keys(&self) -> Result<Vec<RowKey>> {
        let samples = column::floats_by_row(&self.speech, column::SAMPLES)?;
        let masks = match &self.mask {
            Some(mask) => column::flags_by_row(mask, column::MASK)?,
            None => vec![vec![]; samples.len()],
        };
        let rows = samples.iter().zip(&masks);
        Ok(rows.map(|(samples, mask)| row_key(samples, mask)).collect())
    }

    /// Copies these rows.
    fn take(&self, rows: &[u32]) -> Result<InputRows> {
        let rows = UInt32Array::from(rows.to_vec());
        let mask = match &self.mask {
            Some(mask) => Some(take_record_batch(mask, &rows)?),
            None => None,
        };
        Ok(InputRows {
            speech: take_record_batch(&self.speech, &rows)?,
            mask,
        })
    }
}

/// Entries of a step, (rows)(layers); `None` if an entry is missing.
type FoundEntries = Vec<Vec<Option<Entry>>>;

impl CachedNode {
    /// Wraps a node whose entries are stored in `layers`.
    pub(super) fn new(
        config: Arc<dyn Config>,
        context: NodeContext,
        fingerprint: Fingerprint,
        folder: PathBuf,
        layers: Vec<LayerStore>,
    ) -> CachedNode {
        CachedNode {
            config,
            context,
            fingerprint,
            folder,
            layers,
            node: None,
            computed_layers: vec![],
        }
    }

    fn find(&mut self, keys: &[RowKey]) -> FoundEntries {
        keys.iter()
            .map(|key| self.layers.iter_mut().map(|layer| layer.get(key)).collect())
            .collect()
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
        self.build_node(found)?;
        let computed = self.compute(info, rows.take(&missing)?)?;
        let cacheable = cacheable(&*self.config)?;
        let ids = column::texts(&rows.speech, column::ID)?;
        for (computed_row, row) in missing.into_iter().enumerate() {
            let row = row as usize;
            let samples = column::floats(&rows.speech, column::SAMPLES, row)?.len();
            for (l, number) in stored_layers(cacheable).iter().enumerate() {
                if found[row][l].is_some() {
                    continue;
                }
                let mut computed_layers = self.computed_layers.iter();
                let layer_index = computed_layers
                    .position(|computed| computed == number)
                    .ok_or("a missing layer was not computed")?;
                let entry = cacheable.entry(&computed, computed_row, layer_index)?;
                self.layers[l].put(keys[row], ids.value(row), samples, &entry)?;
                found[row][l] = Some(entry);
            }
        }
        Ok(())
    }

    /// Builds the node so that it computes every layer that is missing, unless it does already.
    fn build_node(&mut self, found: &FoundEntries) -> Result<()> {
        let cacheable = cacheable(&*self.config)?;
        let mut wanted = vec![];
        for (l, &number) in stored_layers(cacheable).iter().enumerate() {
            let missing = found.iter().any(|entries| entries[l].is_none());
            if missing || self.computed_layers.contains(&number) {
                wanted.push(number);
            }
        }
        if wanted == self.computed_layers {
            return Ok(());
        }
        // A folder that cannot be written fails here, before the first row is computed.
        let json = self.fingerprint.json();
        files::write(&self.folder.join("fingerprint.json"), json.as_bytes())?;
        self.node = None; // two teachers at once might not fit into memory
        self.node = Some(cacheable.build_for(&wanted, &self.context)?);
        self.computed_layers = wanted;
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
        let config = self.config.clone();
        let cacheable = cacheable(&*config)?;
        let rows = InputRows {
            speech: step.batch(cacheable.input())?,
            mask: step.optional_batch(port::MASK.name),
        };
        let keys = rows.keys()?;
        let mut found = self.find(&keys);
        self.fill(step.info, &rows, &keys, &mut found)?;
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
        self.layers.iter_mut().try_for_each(LayerStore::write)
    }
}
