//! Caches that are empty, half filled, full, damaged or shared send the same rows.
mod codecs;
mod commands;
mod damage;
mod fake;
mod folders;
mod logits;
mod merging;
mod models;
mod random_histories;
mod ranks;
mod serving;
mod why_missing;

use super::*;
use crate::data::column;
use crate::data::entry::Entry;
use crate::data::read_files::ReadFiles;
use crate::data::targets::{batch_from_entries, entry};
use crate::node::port::{Shapes, Value};
use crate::node::report::ReportedLines;
use crate::node::step::{Step, StepInfo};
use crate::node::{BuiltNode, NodeInfo, OptionError, PhaseOutputs, StoredEntry};
use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use codec::EntryCodec;
use compute::tensor::Tape;
use fake::{FakeConfig, FakeNode, LOGITS_LAYER, Served, fake, served};
use fingerprint::Fingerprint;
use layer::LayerStore;
use rows::row_key;
use serde_json::{Value as Json, json};
use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;
use store::Store;

const WIDTH: usize = 3;

fn hidden(samples: &[f32], layer: usize) -> Entry {
    let mut values = vec![];
    for frame in samples.chunks_exact(320) {
        let x = (layer + 1) as f32 * frame[0];
        values.extend((0..WIDTH).map(|w| x + w as f32));
    }
    Entry {
        frames: (samples.len() / 320) as u32,
        values,
    }
}

/// Returns the samples of row `id`: `id` frames and a few samples more.
fn samples(id: usize) -> Vec<f32> {
    (0..id * 320 + 7)
        .map(|i| ((i * 37 + id * 11) % 101) as f32 / 7.0 - 5.0)
        .collect()
}

fn rows(ids: &[usize]) -> RecordBatch {
    let names = ids.iter().map(|id| format!("row {id}"));
    let lengths = ids.iter().map(|&id| samples(id).len());
    let values = ids.iter().flat_map(|&id| samples(id)).collect();
    let samples = column::list(values, lengths).unwrap();
    let views = UInt64Array::from(vec![0; ids.len()]);
    let columns: Vec<(_, ArrayRef)> = vec![
        (column::ID, Arc::new(StringArray::from_iter_values(names))),
        (column::SAMPLES, Arc::new(samples)),
        (column::VIEW, Arc::new(views)),
    ];
    column::batch(columns).unwrap()
}

/// Runs a step of these rows and returns what `output` sends.
fn run_step(
    node: &mut dyn Node,
    context: &NodeContext,
    ids: &[usize],
    checkpoint: bool,
    output: &str,
) -> Result<RecordBatch> {
    let inputs = HashMap::from([("speech".to_owned(), vec![Value::Batch(rows(ids))])]);
    let info = StepInfo {
        checkpoint,
        ..StepInfo::default()
    };
    let mut step = Step::new(info, context, Tape::default(), inputs, &mut []);
    node.run(&mut step)?;
    match step.into_outputs().remove(output) {
        Some(Value::Batch(batch)) => Ok(batch),
        _ => Err("no batch".into()),
    }
}

/// The folder of a cache, removed with the test, and what the cache reported.
struct TestCache {
    root: PathBuf,
    lines: Arc<ReportedLines>,
}

impl TestCache {
    fn new(test: &str) -> TestCache {
        let root = std::env::temp_dir().join(format!("cache-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        TestCache {
            root,
            lines: Arc::default(),
        }
    }

    fn context(&self) -> NodeContext {
        NodeContext::alone("teacher", self.lines.clone(), |run| {
            run.folder = self.root.clone()
        })
    }

    fn open(&self, config: &FakeConfig) -> Box<dyn Node> {
        wrap(
            Arc::new(config.clone()),
            Some(&self.root),
            &CodecOption::F32,
            true,
            &self.context(),
        )
        .unwrap()
    }

    /// Opens the cache and returns its error.
    fn open_error(&self, config: FakeConfig) -> String {
        let result = wrap(
            Arc::new(config),
            Some(&self.root),
            &CodecOption::F32,
            true,
            &self.context(),
        );
        result.err().unwrap().to_string()
    }

    fn run(&self, node: &mut dyn Node, ids: &[usize], checkpoint: bool) -> RecordBatch {
        run_step(node, &self.context(), ids, checkpoint, "targets").unwrap()
    }

    /// Runs a step and compares the batch, bit for bit, with the one that the node itself sends.
    fn check(&self, node: &mut dyn Node, config: &FakeConfig, ids: &[usize]) {
        let mut uncached = FakeNode {
            layers: config.layers.clone(),
            record: Arc::default(),
        };
        let expected = self.run(&mut uncached, ids, false);
        assert_eq!(self.run(node, ids, false), expected);
    }

    /// Opens the cache, checks the batch of these rows, and returns what the node did.
    fn serve(&self, config: &FakeConfig, ids: &[usize]) -> Served {
        let mut node = self.open(config);
        self.check(&mut *node, config, ids);
        node.leave().unwrap();
        std::mem::take(&mut *config.record.lock().unwrap())
    }

    /// Writes a file beside the cache's and returns a node whose model it is.
    fn with_model(&self, layers: &[usize], text: &str) -> FakeConfig {
        fs::create_dir_all(&self.root).unwrap();
        let path = self.root.join("weights");
        fs::write(&path, text).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(150)); // its times are settled
        FakeConfig {
            model: path.to_string_lossy().into_owned().leak(),
            ..fake(layers)
        }
    }

    /// Returns the files in all folders whose names end so, in order.
    fn files(&self, end: &str) -> Vec<PathBuf> {
        let mut files = vec![];
        add_files(&self.root, &mut files);
        files.retain(|path| path.to_string_lossy().ends_with(end));
        files.sort();
        files
    }

    /// Returns the folder of the first layer with a part.
    fn layer_folder(&self) -> PathBuf {
        self.files("parquet")[0].parent().unwrap().to_owned()
    }

    /// Opens the rows of the first layer with a part.
    fn open_store(&self) -> Store {
        let folder = self.layer_folder();
        let fingerprint = Fingerprint::read(folder.parent().unwrap()).unwrap();
        let layer = layer::entry_of_folder(folder.file_name().unwrap().to_str().unwrap());
        Store::open(
            &self.root,
            fingerprint,
            &Codec::F32,
            &[layer.unwrap()],
            &self.context(),
        )
        .unwrap()
    }
}

impl Drop for TestCache {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn add_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            add_files(&path, files);
        } else {
            files.push(path);
        }
    }
}
