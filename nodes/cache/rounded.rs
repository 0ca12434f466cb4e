//! A node without a cache whose rows are rounded as a codec stores them, so that a run does not
//! depend on whether it has a cache.
use super::cacheable;
use super::codec::{Codec, CodecOption, EntryCodec};
use crate::Result;
use crate::data::column;
use crate::data::entry::Entry;
use crate::data::printable::printable;
use crate::node::port;
use crate::node::port::Value;
use crate::node::step::Step;
use crate::node::{Config, Node, NodeContext};
use arrow::array::RecordBatch;
use compute::tensor::Tape;
use std::collections::HashMap;
use std::sync::Arc;

/// Builds the node of `config`, and rounds what it sends unless the codec is exact.
///
/// # Errors
/// The node cannot be cached, though it has a codec, or its codebooks cannot be read.
pub(super) fn wrap(
    config: Arc<dyn Config>,
    codec: &CodecOption,
    context: &NodeContext,
) -> Result<Box<dyn Node>> {
    let node = config.build(context)?;
    if *codec == CodecOption::F32 {
        return Ok(node);
    }
    let codec = Codec::open(codec, context)?;
    let cacheable = cacheable(&*config)?;
    let mut ports = vec![];
    for port in super::output::served_ports(cacheable, context) {
        let entries = cacheable.entries(port, context)?.into_iter();
        let codecs = entries.map(|entry| codec.of_entry(entry));
        ports.push((port, codecs.collect::<Result<_>>()?));
    }
    Ok(Box::new(RoundedNode {
        config,
        node,
        ports,
        context: context.clone(),
    }))
}

struct RoundedNode {
    config: Arc<dyn Config>,
    node: Box<dyn Node>,
    /// The outputs that a cache would keep, with the codecs of their entries.
    ports: Vec<(&'static str, Vec<EntryCodec>)>,
    context: NodeContext,
}

impl RoundedNode {
    /// Returns what the node sends for these inputs, unrounded.
    fn compute(
        &mut self,
        step: &Step,
        inputs: HashMap<String, Vec<Value>>,
    ) -> Result<HashMap<&'static str, Value>> {
        let mut inner = Step::new(step.info, &self.context, Tape::default(), inputs, &mut []);
        self.node.run(&mut inner)?;
        Ok(inner.into_outputs())
    }

    /// Rounds the rows of an output for the input batch `speech`.
    fn round(
        &self,
        port: &str,
        codecs: &[EntryCodec],
        speech: &RecordBatch,
        sent: &RecordBatch,
    ) -> Result<RecordBatch> {
        let cacheable = cacheable(&*self.config)?;
        let ids = column::texts(speech, column::ID)?;
        let mut rows: Vec<Vec<Entry>> = vec![];
        for row in 0..speech.num_rows() {
            let mut entries = vec![];
            for (index, codec) in codecs.iter().enumerate() {
                let entry = cacheable.entry(port, sent, row, index)?;
                let rounded = codec.round(entry);
                let id = ids.value(row);
                entries.push(rounded.map_err(|e| format!("row `{}`: {e}", printable(id)))?);
            }
            rows.push(entries);
        }
        cacheable.batch(port, speech, &rows)
    }
}

impl Node for RoundedNode {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let input = cacheable(&*self.config)?.input();
        let speech = step.batch(input)?;
        let mut inputs = HashMap::new();
        inputs.insert(input.to_owned(), vec![Value::Batch(speech.clone())]);
        if let Some(mask) = step.optional_batch(port::MASK.name) {
            inputs.insert(port::MASK.name.to_owned(), vec![Value::Batch(mask)]);
        }
        let mut outputs = self.compute(step, inputs)?;
        for (port, codecs) in &self.ports {
            if let Some(value) = outputs.remove(port) {
                let rounded = self.round(port, codecs, &speech, &value.batch()?)?;
                step.send(port, Value::Batch(rounded));
            }
        }
        for (port, value) in outputs {
            step.send(port, value);
        }
        Ok(())
    }

    fn finish(&mut self, step: &mut Step) -> Result<()> {
        self.node.finish(step)
    }

    fn leave(&mut self) -> Result<()> {
        self.node.leave()
    }
}
