//! A node to be cached, which keeps a record of what it was asked.
use super::*;

/// A node with one frame per 320 samples and
/// hidden(layer, frame, w) = (layer + 1) · sample[320 frame] + w.
#[derive(Clone, Default)]
pub(super) struct FakeConfig {
    pub(super) layers: Vec<usize>,
    /// Whether it has a second output, the logits: hidden states of [`LOGITS_LAYER`].
    pub(super) has_logits: bool,
    /// The path of the model, if it has one.
    pub(super) model: &'static str,
    /// What somebody writes to the model's file before it is read, by the count of builds.
    pub(super) swaps: &'static [&'static str],
    pub(super) record: Arc<Mutex<Served>>,
}

/// The layer whose hidden states are the logits.
pub(super) const LOGITS_LAYER: usize = 99;

/// What a node has done: the layers of each node that was built, [`LOGITS_LAYER`] for logits, and
/// the number of computed rows.
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
        let entries = self.entries("targets", context)?;
        Ok(self.build_for(&entries, context)?.node)
    }
    fn cacheable(&self) -> Option<&dyn Cacheable> {
        Some(self)
    }
}

impl Cacheable for FakeConfig {
    fn identity(
        &self,
        port: &str,
        _: &NodeContext,
        hash_of: &mut dyn FnMut(&Path) -> Result<String>,
    ) -> Result<Json> {
        let model = if self.model.is_empty() {
            String::new()
        } else {
            hash_of(Path::new(self.model))?
        };
        Ok(match port {
            "logits" => json!({ "model": model, "kind": "fake", "temperature": 0.1 }),
            _ => json!({ "model": model, "kind": "fake" }),
        })
    }
    fn ports(&self) -> &'static [&'static str] {
        match self.has_logits {
            true => &["targets", "logits"],
            false => &["targets"],
        }
    }
    fn entries(&self, port: &str, _: &NodeContext) -> Result<Vec<StoredEntry>> {
        Ok(match port {
            "logits" => vec![StoredEntry::Logits],
            _ => self
                .layers
                .iter()
                .copied()
                .map(StoredEntry::Layer)
                .collect(),
        })
    }
    fn input(&self) -> &'static str {
        "speech"
    }
    fn build_for(&self, entries: &[StoredEntry], _: &NodeContext) -> Result<BuiltNode> {
        let layers: Vec<usize> = entries
            .iter()
            .map(|entry| match entry {
                StoredEntry::Layer(layer) => *layer,
                StoredEntry::Logits | StoredEntry::Rows => LOGITS_LAYER,
            })
            .collect();
        let mut record = self.record.lock().unwrap();
        if let Some(swap) = self.swaps.get(record.built.len()) {
            fs::write(self.model, swap)?;
        }
        record.built.push(layers.clone());
        let mut read_files = ReadFiles::default();
        if !self.model.is_empty() {
            read_files.text(Path::new(self.model))?;
        }
        let node = FakeNode {
            layers,
            record: self.record.clone(),
        };
        Ok(BuiltNode {
            node: Box::new(node),
            read_files,
        })
    }
    fn batch(&self, _: &str, rows: &RecordBatch, entries: &[Vec<Entry>]) -> Result<RecordBatch> {
        batch_from_entries(rows, entries)
    }
    fn entry(&self, _: &str, sent: &RecordBatch, row: usize, index: usize) -> Result<Entry> {
        entry(sent, row, index)
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
        let samples = column::floats_by_row(&rows, column::SAMPLES)?;
        let (logits, layers): (Vec<usize>, Vec<usize>) = self
            .layers
            .iter()
            .partition(|layer| **layer == LOGITS_LAYER);
        for (port, layers) in [("targets", layers), ("logits", logits)] {
            if layers.is_empty() {
                continue;
            }
            let mut entries = vec![];
            for samples in &samples {
                entries.push(layers.iter().map(|&layer| hidden(samples, layer)).collect());
            }
            let batch = batch_from_entries(&rows, &entries)?;
            step.send(port, Value::Batch(batch));
        }
        Ok(())
    }
}
