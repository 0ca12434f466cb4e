//! What a node declares so that it may carry the option `cache`.
use crate::Result;
use crate::data::entry::Entry;
use crate::data::read_files::ReadFiles;
use crate::node::{Node, NodeContext};
use arrow::record_batch::RecordBatch;
use serde_json::Value as Json;
use std::path::Path;

/// A node with the files that it was built from.
pub struct BuiltNode {
    pub node: Box<dyn Node>,
    /// The bytes of each file that decide the node's values, as they were read.
    pub read_files: ReadFiles,
}

/// What an entry of a row is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoredEntry {
    Layer(usize),
    Logits,
    /// All of the row.
    Rows,
}

/// The output whose entries are [`StoredEntry::Logits`].
pub const LOGITS_PORT: &str = "logits";

/// A node that may carry the option `cache`.
///
/// It takes waveforms on `input`, and may take their masks on [`crate::node::port::MASK`]. The batch
/// that it sends on each of `ports` has the same entries for each row.
pub trait Cacheable: Send + Sync {
    /// Returns the JSON of what the values of an output depend on: the kind, the options that change
    /// values (without `layers`), and the hash that `hash_of` returns for each file of the model.
    fn identity(
        &self,
        port: &str,
        context: &NodeContext,
        hash_of: &mut dyn FnMut(&Path) -> Result<String>,
    ) -> Result<Json>;
    /// Returns the output ports that are cached. Without a reader the first is.
    fn ports(&self) -> &'static [&'static str];
    /// Returns the entries that a row has on an output, in the order in which they are sent.
    fn entries(&self, port: &str, context: &NodeContext) -> Result<Vec<StoredEntry>>;
    /// Returns the name of the input port for waveforms.
    fn input(&self) -> &'static str;
    /// Builds the node so that it computes these entries only, in this order on each output.
    fn build_for(&self, entries: &[StoredEntry], context: &NodeContext) -> Result<BuiltNode>;
    /// Builds the batch of an output for the input batch `rows` from the entries,
    /// (rows)(entries).
    fn batch(&self, port: &str, rows: &RecordBatch, entries: &[Vec<Entry>]) -> Result<RecordBatch>;
    /// Extracts the entry at `index` of a row from the batch of an output.
    fn entry(&self, port: &str, sent: &RecordBatch, row: usize, index: usize) -> Result<Entry>;
}
