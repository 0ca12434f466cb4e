//! A node to be cached, which keeps a record of what it was asked.
use super::*;

/// A node with one frame per 320 samples and
/// hidden(layer, frame, w) = (layer + 1) · sample[320 frame] + w.
#[derive(Clone, Default)]
pub(super) struct FakeConfig {
    pub(super) layers: Vec<usize>,
    /// The path of the model, if it has one.
    pub(super) model: &'static str,
    /// What somebody writes to the model's file before it is read, by the count of builds.
    pub(super) swaps: &'static [&'static str],
    pub(super) record: Arc<Mutex<Served>>,
}

/// What a node has done: the layers of each node that was built, and the number of computed rows.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Served {
    pub(super) built: Vec<Vec<usize>>,
    pub(super) rows: usize,
}

pub(super) fn served<const N: usize>(built: [&[usize]; N], rows: usize) -> Served {
    Served {
        built: built.map(<[usize]>::to_vec).to_vec(),
        rows,
    }
}

pub(super) fn fake(layers: &[usize]) -> FakeConfig {
    FakeConfig {
        layers: layers.to_vec(),
        ..FakeConfig::default()
    }
}

impl Config for FakeConfig {
    fn info(&self, _: &PhaseOutputs, _: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        Ok(NodeInfo::default())
    }
    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        Ok(self.build_for(&self.layers, context)?.node)
    }
    fn cacheable(&self) -> Option<&dyn Cacheable> {
        Some(self)
    }
}

impl Cacheable for FakeConfig {
    fn identity(
        &self,
        _: &NodeContext,
        hash_of: &mut dyn FnMut(&Path) -> Result<String>,
    ) -> Result<Json> {
        let model = if self.model.is_empty() {
            String::new()
        } else {
            hash_of(Path::new(self.model))?
        };
        Ok(json!({ "model": model, "kind": "fake" }))
    }
    fn layers(&self) -> Option<&[usize]> {
        Some(&self.layers)
    }
    fn input(&self) -> &'static str {
        "speech"
    }
    fn output(&self) -> &'static str {
        "targets"
    }
    fn build_for(&self, layers: &[usize], _: &NodeContext) -> Result<BuiltNode> {
        let mut record = self.record.lock().unwrap();
        if let Some(swap) = self.swaps.get(record.built.len()) {
            fs::write(self.model, swap)?;
        }
        record.built.push(layers.to_vec());
        let mut read_files = ReadFiles::default();
        if !self.model.is_empty() {
            read_files.text(Path::new(self.model))?;
        }
        let node = FakeNode {
            layers: layers.to_vec(),
            record: self.record.clone(),
        };
        Ok(BuiltNode {
            node: Box::new(node),
            read_files,
        })
    }
    fn batch(&self, rows: &RecordBatch, entries: &[Vec<Entry>]) -> Result<RecordBatch> {
        batch_from_entries(rows, entries)
    }
    fn entry(&self, sent: &RecordBatch, row: usize, layer_index: usize) -> Result<Entry> {
        entry(sent, row, layer_index)
    }
}

pub(super) struct FakeNode {
    pub(super) layers: Vec<usize>,
    pub(super) record: Arc<Mutex<Served>>,
}

impl Node for FakeNode {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let rows = step.batch("speech")?;
        self.record.lock().unwrap().rows += rows.num_rows();
        let mut entries = vec![];
        for samples in column::floats_by_row(&rows, column::SAMPLES)? {
            let layers = self.layers.iter();
            entries.push(layers.map(|&layer| hidden(samples, layer)).collect());
        }
        let batch = batch_from_entries(&rows, &entries)?;
        step.send("targets", Value::Batch(batch));
        Ok(())
    }
}
