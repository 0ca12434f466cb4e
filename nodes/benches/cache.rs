//! How fast a cache is filled and read, by codec, beside the parquet crate on the same files from the
//! page cache: `cargo bench -p nodes --bench cache -- [ROWS [FRAMES [WIDTH [LAYERS]]]]`.
//!
//! Prints for each codec: its name, then GB of decoded f32 a second that are stored, that are served
//! to the next node, that are served from the disk in shuffled batches (Linux alone), and that the
//! parquet crate reads without turning them into f32; then bytes of the parts for each decoded byte.
//! "top-k-20" stores logits of WIDTH classes, the others hidden states.
use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use compute::random::{Key, noise};
use compute::tensor::Tape;
use nodes::Result;
use nodes::cache::codec::{CodecOption, Scale};
use nodes::data::column;
use nodes::data::entry::Entry;
use nodes::data::read_files::ReadFiles;
use nodes::data::targets::{batch_from_entries, entry};
use nodes::kmeans::residual::CodebookFile;
use nodes::node::port::{Shapes, Value};
use nodes::node::report::{Progress, Report};
use nodes::node::step::{Step, StepInfo};
use nodes::node::{
    BuiltNode, Cacheable, Config, LOGITS_PORT, Node, NodeContext, NodeInfo, OptionError,
    PhaseOutputs, RunContext, StoredEntry,
};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value as Json, json};
use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Rows of a batch.
const BATCH: usize = 8;
/// How often the cache is read; the fastest pass counts.
const PASSES: usize = 5;

/// A node that sends the same noise for every row.
#[derive(Clone)]
struct Noise {
    entry: Arc<Entry>,
    entries: Vec<StoredEntry>,
}

impl Config for Noise {
    fn info(&self, _: &PhaseOutputs, _: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        Ok(NodeInfo::default())
    }
    fn build(&self, _: &NodeContext) -> Result<Box<dyn Node>> {
        Ok(Box::new(self.clone()))
    }
    fn cacheable(&self) -> Option<&dyn Cacheable> {
        Some(self)
    }
}

impl Cacheable for Noise {
    fn identity(
        &self,
        _: &str,
        _: &NodeContext,
        _: &mut dyn FnMut(&Path) -> Result<String>,
    ) -> Result<Json> {
        Ok(json!({ "kind": "noise" }))
    }
    fn ports(&self) -> &'static [&'static str] {
        match self.entries[..] {
            [StoredEntry::Logits] => &[LOGITS_PORT],
            _ => &["targets"],
        }
    }
    fn entries(&self, _: &str, _: &NodeContext) -> Result<Vec<StoredEntry>> {
        Ok(self.entries.clone())
    }
    fn input(&self) -> &'static str {
        "speech"
    }
    fn build_for(&self, _: &[StoredEntry], context: &NodeContext) -> Result<BuiltNode> {
        Ok(BuiltNode {
            node: self.build(context)?,
            read_files: ReadFiles::default(),
        })
    }
    fn batch(&self, _: &str, rows: &RecordBatch, entries: &[Vec<Entry>]) -> Result<RecordBatch> {
        batch_from_entries(rows, entries)
    }
    fn entry(&self, _: &str, sent: &RecordBatch, row: usize, index: usize) -> Result<Entry> {
        entry(sent, row, index)
    }
}

impl Node for Noise {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let rows = step.batch("speech")?;
        let entries = vec![vec![(*self.entry).clone(); self.entries.len()]; rows.num_rows()];
        let batch = batch_from_entries(&rows, &entries)?;
        step.send(self.ports()[0], Value::Batch(batch));
        Ok(())
    }
}

struct Silence;

impl Report for Silence {
    fn update(&self, _: &str, _: Progress) {}
    fn say(&self, line: &str) {
        eprintln!("{line}");
    }
}

fn context(port: &'static str) -> NodeContext {
    let run = RunContext {
        bench: true,
        ..RunContext::alone(Arc::new(Silence))
    };
    NodeContext {
        node: "noise".into(),
        inputs: Shapes::default(),
        read_outputs: BTreeSet::from([port]),
        run: Arc::new(run),
    }
}

/// Returns a batch of short waveforms, whose content tells rows apart.
fn speech(first: usize) -> RecordBatch {
    let rows = first..first + BATCH;
    let samples = rows.clone().map(|row| row as f32).collect();
    let columns: Vec<(_, ArrayRef)> = vec![
        (
            column::ID,
            Arc::new(StringArray::from_iter_values(
                rows.map(|row| row.to_string()),
            )),
        ),
        (
            column::SAMPLES,
            Arc::new(column::list(samples, [1; BATCH]).expect("a column")),
        ),
        (column::VIEW, Arc::new(UInt64Array::from(vec![0; BATCH]))),
    ];
    column::batch(columns).expect("a batch")
}

/// Serves the batches that begin at these rows, and returns the seconds.
fn serve(node: &mut dyn Node, context: &NodeContext, firsts: &[usize]) -> f64 {
    let started = Instant::now();
    for &first in firsts {
        let inputs = HashMap::from([("speech".to_owned(), vec![Value::Batch(speech(first))])]);
        let mut step = Step::new(
            StepInfo::default(),
            context,
            Tape::default(),
            inputs,
            &mut [],
        );
        node.run(&mut step).expect("rows");
    }
    started.elapsed().as_secs_f64()
}

fn parts(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            parts(&path, found);
        } else if path.extension().is_some_and(|end| end == "parquet") {
            found.push(path);
        }
    }
}

/// Takes files out of the page cache.
#[cfg(target_os = "linux")]
fn evict(paths: &[PathBuf]) {
    for path in paths {
        let file = File::open(path).expect("a part");
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("a disk's file");
    }
}

#[cfg(not(target_os = "linux"))]
fn evict(_: &[PathBuf]) {}

/// Reads the values of all parts by the parquet crate and returns the seconds.
fn read_parquet(paths: &[PathBuf]) -> f64 {
    let started = Instant::now();
    for path in paths {
        let file = File::open(path).expect("a part");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a part");
        let columns = reader.parquet_schema().root_schema().get_fields().len();
        let values = ProjectionMask::roots(reader.parquet_schema(), 5..columns);
        let reader = reader.with_projection(values).with_batch_size(BATCH);
        for batch in reader.build().expect("a reader") {
            std::hint::black_box(batch.expect("rows"));
        }
    }
    started.elapsed().as_secs_f64()
}

fn main() {
    let mut sizes: [usize; 4] = [256, 500, 768, 2];
    let words = std::env::args().skip(1).filter(|word| word != "--bench");
    for (size, word) in sizes.iter_mut().zip(words) {
        *size = word.parse().expect("a number");
    }
    let [rows, frames, width, layers] = sizes;
    let rows = rows.next_multiple_of(BATCH);
    let config = Noise {
        entry: Arc::new(Entry {
            frames: frames as u32,
            values: noise("bench", frames * width),
        }),
        entries: (0..layers).map(StoredEntry::Layer).collect(),
    };
    let firsts: Vec<usize> = (0..rows).step_by(BATCH).collect();
    let mut shuffled = firsts.clone();
    Key::new(0, &["order"]).shuffle(0, &mut shuffled);
    let root = std::env::temp_dir().join(format!("cache-bench-{}", std::process::id()));
    let numbers: Vec<usize> = (0..layers).collect();
    let codebooks = |books: usize| {
        let path = root.join(format!("{books}-books.safetensors"));
        let key = Key::new(0, &["bench"]);
        let file = CodebookFile::random(&numbers, books, width, key);
        file.save(&path).expect("codebooks");
        CodecOption::MultiCodebook {
            file: path.to_string_lossy().into_owned(),
        }
    };
    let codecs = [
        ("f32", CodecOption::F32),
        ("f16", CodecOption::F16),
        ("bf16", CodecOption::Bf16),
        ("int8-frame", CodecOption::Int8(Scale::Frame)),
        ("int8-channel", CodecOption::Int8(Scale::Channel)),
        ("multi-codebook-8", codebooks(8)),
        ("multi-codebook-16", codebooks(16)),
        ("top-k-20", CodecOption::TopK(20)),
    ];
    for (name, codec) in codecs {
        let config = match codec {
            CodecOption::TopK(_) => Noise {
                entries: vec![StoredEntry::Logits],
                ..config.clone()
            },
            _ => config.clone(),
        };
        let decoded = (rows * frames * width * config.entries.len() * 4) as f64;
        let context = context(config.ports()[0]);
        let folder = root.join(name);
        let open = || {
            nodes::cache::wrap(
                Arc::new(config.clone()),
                Some(&folder),
                &codec,
                true,
                &context,
            )
            .expect("a cache")
        };
        let mut node = open();
        let started = Instant::now();
        serve(&mut *node, &context, &firsts);
        node.leave().expect("parts");
        let write = started.elapsed().as_secs_f64();
        let mut node = open();
        serve(&mut *node, &context, &firsts); // parts are hashed when they are first read
        let passes = (0..PASSES).map(|_| serve(&mut *node, &context, &firsts));
        let read = passes.fold(f64::INFINITY, f64::min);
        let mut paths = vec![];
        parts(&folder, &mut paths);
        evict(&paths);
        let from_disk = serve(&mut *node, &context, &shuffled);
        let passes = (0..PASSES).map(|_| read_parquet(&paths));
        let parquet = passes.fold(f64::INFINITY, f64::min);
        let bytes: u64 = paths
            .iter()
            .map(|path| fs::metadata(path).expect("a part").len())
            .sum();
        let speed = |seconds: f64| decoded / seconds / 1e9;
        println!(
            "{name} {:.3} {:.3} {:.3} {:.3} {:.5}",
            speed(write),
            speed(read),
            speed(from_disk),
            speed(parquet),
            bytes as f64 / decoded
        );
        fs::remove_dir_all(&folder).expect("the folder");
    }
    fs::remove_dir_all(&root).expect("the folder");
}
