//! Cold, half-filled, full, damaged and shared caches give the same rows.
use super::*;
use crate::data::targets::{batch_from_entries, entry};
use crate::node::port::Shapes;
use crate::node::report::{Progress, Report};
use crate::node::{NodeInfo, OptionError, PhaseOutputs};
use arrow::array::{StringArray, UInt64Array};
use serde_json::{Value as Json, json};
use std::collections::HashMap;
use std::fs;

const WIDTH: usize = 3;

/// hidden(layer, frame, w) = (layer + 1) * sample[320 frame] + w; a frame every 320 samples.
#[derive(Clone, Default)]
struct Fake {
    layers: Vec<usize>,
    model: &'static str,
    /// The layers of each node that was built, and the rows of each batch that one was given.
    built: Arc<Mutex<Vec<Vec<usize>>>>,
    ran: Arc<Mutex<Vec<usize>>>,
}
impl Config for Fake {
    fn info(&self, _: &PhaseOutputs, _: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        Ok(NodeInfo::default())
    }
    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        self.build_for(&self.layers, context)
    }
    fn cacheable(&self) -> Option<&dyn Cacheable> {
        Some(self)
    }
}
impl Cacheable for Fake {
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
        Ok(json!({"model": model, "kind": "fake"}))
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
    fn build_for(&self, layers: &[usize], _: &NodeContext) -> Result<Box<dyn Node>> {
        self.built.lock().unwrap().push(layers.to_vec());
        Ok(Box::new(Inside {
            layers: layers.to_vec(),
            ran: self.ran.clone(),
        }))
    }
    fn batch(&self, rows: &RecordBatch, entries: &[Vec<Entry>]) -> Result<RecordBatch> {
        batch_from_entries(rows, entries)
    }
    fn entry(&self, sent: &RecordBatch, row: usize, place: usize) -> Result<Entry> {
        entry(sent, row, place)
    }
}
struct Inside {
    layers: Vec<usize>,
    ran: Arc<Mutex<Vec<usize>>>,
}
impl Node for Inside {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let rows = step.batch("speech")?;
        self.ran.lock().unwrap().push(rows.num_rows());
        let samples =
            (0..rows.num_rows()).map(|row| column::floats(&rows, column::SAMPLES, row).unwrap());
        let found: Vec<_> = samples
            .map(|x| self.layers.iter().map(|&n| hidden(x, n)).collect())
            .collect();
        step.send("targets", Value::Batch(batch_from_entries(&rows, &found)?));
        Ok(())
    }
}
fn hidden(samples: &[f32], layer: usize) -> Entry {
    let frames = samples
        .chunks_exact(320)
        .map(|chunk| (layer + 1) as f32 * chunk[0]);
    let values = frames
        .flat_map(|x| (0..WIDTH).map(move |w| x + w as f32))
        .collect();
    Entry {
        frames: (samples.len() / 320) as u32,
        values,
    }
}

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);
impl Report for Lines {
    fn update(&self, _: &str, _: Progress) {}
    fn say(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
}

/// A folder that is gone with the test, and what the cache said.
struct Bench {
    root: PathBuf,
    lines: Arc<Lines>,
}
impl Bench {
    fn new(test: &str) -> Bench {
        let root = std::env::temp_dir().join(format!("cache-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        Bench {
            root,
            lines: Arc::default(),
        }
    }
    fn context(&self) -> NodeContext {
        NodeContext::alone("teacher", self.lines.clone(), |run| {
            run.folder = self.root.clone()
        })
    }
    fn open(&self, fake: &Fake) -> Box<dyn Node> {
        wrap(Arc::new(fake.clone()), &self.root, &self.context()).unwrap()
    }
    /// Serves `ids` from a new wrapper and checks every value; what was built, and how many rows were computed.
    fn serve(&self, fake: &Fake, ids: &[usize]) -> (Vec<Vec<usize>>, usize) {
        let mut node = self.open(fake);
        check(&mut *node, &self.context(), fake, ids);
        node.leave().unwrap();
        let built = std::mem::take(&mut *fake.built.lock().unwrap());
        (
            built,
            std::mem::take(&mut *fake.ran.lock().unwrap()).iter().sum(),
        )
    }
    fn files(&self, end: &str) -> Vec<PathBuf> {
        fn below(folder: &Path) -> Vec<PathBuf> {
            let all = fs::read_dir(folder)
                .into_iter()
                .flatten()
                .flatten()
                .map(|e| e.path());
            all.flat_map(|p| if p.is_dir() { below(&p) } else { vec![p] })
                .collect()
        }
        let mut files = below(&self.root);
        files.retain(|p| p.to_string_lossy().ends_with(end));
        files.sort();
        files
    }
    fn lines(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.0.lock().unwrap())
    }
}
impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Row `id` has `id` frames and a few samples more.
fn samples(id: usize) -> Vec<f32> {
    (0..id * 320 + 7)
        .map(|i| ((i * 37 + id * 11) % 101) as f32 / 7.0 - 5.0)
        .collect()
}
fn rows(ids: &[usize]) -> RecordBatch {
    let lengths = ids.iter().map(|&id| samples(id).len());
    let values = ids.iter().flat_map(|&id| samples(id)).collect();
    let columns: Vec<(_, arrow::array::ArrayRef)> = vec![
        (
            column::ID,
            Arc::new(StringArray::from_iter_values(
                ids.iter().map(|id| format!("row {id}")),
            )),
        ),
        (
            column::SAMPLES,
            Arc::new(column::list(values, lengths).unwrap()),
        ),
        (
            column::VIEW,
            Arc::new(UInt64Array::from(vec![0; ids.len()])),
        ),
    ];
    column::batch(columns).unwrap()
}
fn attempt(
    node: &mut dyn Node,
    context: &NodeContext,
    ids: &[usize],
    checkpoint: bool,
) -> Result<RecordBatch> {
    let inputs = HashMap::from([("speech".to_owned(), vec![Value::Batch(rows(ids))])]);
    let mut step = Step::new(
        StepInfo {
            checkpoint,
            ..StepInfo::default()
        },
        context,
        Tape::default(),
        inputs,
        &mut [],
    );
    node.run(&mut step)?;
    match step.into_outputs().remove("targets") {
        Some(Value::Batch(batch)) => Ok(batch),
        _ => Err("no targets".into()),
    }
}
fn run(node: &mut dyn Node, context: &NodeContext, ids: &[usize], checkpoint: bool) -> RecordBatch {
    attempt(node, context, ids, checkpoint).unwrap()
}
/// The batch is the one that the node inside sends, bit for bit.
fn check(node: &mut dyn Node, context: &NodeContext, fake: &Fake, ids: &[usize]) {
    let live = Inside {
        layers: fake.layers.clone(),
        ran: Arc::default(),
    };
    assert_eq!(
        run(node, context, ids, false),
        run(&mut { live }, context, ids, false)
    );
}
fn fake(layers: &[usize]) -> Fake {
    Fake {
        layers: layers.to_vec(),
        ..Fake::default()
    }
}

#[test]
fn cold_then_full() {
    let bench = Bench::new("full");
    let fake = fake(&[3, 0]);
    assert_eq!(bench.serve(&fake, &[5, 0, 2, 5]), (vec![vec![3, 0]], 4));
    assert_eq!(bench.serve(&fake, &[2, 5, 0]), (vec![], 0));
    assert_eq!(bench.files("parquet").len(), 2);
    assert_eq!(bench.serve(&fake, &[]), (vec![], 0));
    let folder = bench.files("fingerprint.json").remove(0);
    let says = fs::read_to_string(&folder).unwrap();
    assert_eq!(
        says,
        r#"{"codec":"f32","format":1,"kind":"fake","model":""}"#
    );
    assert!(
        folder
            .parent()
            .unwrap()
            .ends_with(&blake3::hash(says.as_bytes()).to_hex()[..16])
    );
    assert!(bench.lines().is_empty());
}

#[test]
fn an_empty_batch_writes_nothing() {
    let bench = Bench::new("empty");
    assert_eq!(bench.serve(&fake(&[1]), &[]), (vec![], 0));
    assert!(!bench.root.exists());
}

#[test]
fn only_what_is_missing_is_computed_and_stored() {
    let bench = Bench::new("half");
    assert_eq!(bench.serve(&fake(&[4]), &[1, 2]), (vec![vec![4]], 2));
    assert_eq!(bench.serve(&fake(&[4]), &[1, 3, 2]), (vec![vec![4]], 1));
    assert_eq!(
        bench.serve(&fake(&[0, 4, 7]), &[3, 2]),
        (vec![vec![0, 7]], 2)
    );
    // Row 1 misses layers 0 and 7, row 6 all of them: the node is built once more, for all three.
    let (three, mut node) = (fake(&[0, 4, 7]), bench.open(&fake(&[0, 4, 7])));
    for ids in [&[1, 2][..], &[6, 3], &[6, 1, 2, 3, 0]] {
        check(&mut *node, &bench.context(), &three, ids);
    }
    node.leave().unwrap();
    assert_eq!(bench.serve(&three, &[0, 1, 2, 3, 6]), (vec![], 0));
    let listing = tools::list(&bench.root).unwrap().remove(0);
    assert_eq!(
        (listing.layers, listing.rows, listing.frames),
        (vec![0, 4, 7], 5, 12)
    );
    let of = |n| {
        bench
            .files("parquet")
            .iter()
            .filter(|p| p.parent().unwrap().ends_with(n))
            .count()
    };
    assert_eq!((of("layer-00"), of("layer-04"), of("layer-07")), (2, 3, 2));
}

#[test]
fn rows_are_kept_at_checkpoints() {
    let bench = Bench::new("checkpoint");
    let mut node = bench.open(&fake(&[2]));
    run(&mut *node, &bench.context(), &[3, 4], false);
    assert!(bench.files("parquet").is_empty());
    run(&mut *node, &bench.context(), &[4, 5], true);
    assert_eq!(bench.files("parquet").len(), 1);
    check(&mut *node, &bench.context(), &fake(&[2]), &[5, 3]);
    drop(node); // killed: nothing was left to write
    assert_eq!(bench.serve(&fake(&[2]), &[3, 4, 5]), (vec![], 0));
}

#[test]
fn two_writers_and_the_first_of_equal_rows() {
    let bench = Bench::new("writers");
    let (mut a, mut b) = (bench.open(&fake(&[1])), bench.open(&fake(&[1])));
    run(&mut *a, &bench.context(), &[2, 3], true);
    run(&mut *b, &bench.context(), &[3, 2], true);
    assert_eq!(bench.files("parquet").len(), 2);
    let mut c = bench.open(&fake(&[1]));
    run(&mut *b, &bench.context(), &[9], true);
    run(&mut *c, &bench.context(), &[9], true); // the very same part
    assert_eq!(bench.files("parquet").len(), 3);
    assert_eq!(bench.serve(&fake(&[1]), &[2, 3, 9]), (vec![], 0));
    assert_eq!(tools::verify(&bench.root).unwrap(), vec![]);
}

#[test]
fn a_model_has_a_cache_of_its_own_and_is_hashed_once() {
    let bench = Bench::new("model");
    fs::create_dir_all(&bench.root).unwrap();
    let model: &'static str = bench
        .root
        .join("weights")
        .to_string_lossy()
        .into_owned()
        .leak();
    let with = Fake {
        model,
        ..fake(&[1])
    };
    fs::write(model, "one").unwrap();
    assert_eq!(bench.serve(&with, &[4]).1, 1);
    assert_eq!(bench.serve(&fake(&[1]), &[4]).1, 1);
    assert_eq!(tools::list(&bench.root).unwrap().len(), 2);
    let known = fs::read_to_string(bench.root.join("files.json")).unwrap();
    let hash = blake3::hash(b"one").to_hex();
    // A remembered hash is believed, and one that cannot be read is not.
    fs::write(
        bench.root.join("files.json"),
        known.replace(&hash[..], "another"),
    )
    .unwrap();
    assert_eq!(bench.serve(&with, &[4]).1, 1);
    fs::write(bench.root.join("files.json"), &known[..known.len() / 2]).unwrap();
    assert_eq!(bench.serve(&with, &[4]).1, 0);
    assert_eq!(
        fs::read_to_string(bench.root.join("files.json")).unwrap(),
        known
    );
    fs::write(model, "three").unwrap();
    assert_eq!(bench.serve(&with, &[4]).1, 1);
    fs::remove_file(model).unwrap();
    let says = wrap(Arc::new(with), &bench.root, &bench.context())
        .err()
        .unwrap()
        .to_string();
    assert!(says.starts_with(model), "{says}");
}

#[test]
fn a_damaged_part_is_set_aside_once_it_is_read() {
    let bench = Bench::new("damaged");
    assert_eq!(bench.serve(&fake(&[1]), &[6, 7]).1, 2);
    let part = bench.files("parquet").remove(0);
    let good = fs::read(&part).unwrap();
    let at = good.windows(8).position(|w| w == good_floats()).unwrap();
    let mut bad = good.clone();
    bad[at] ^= 1; // one bit of one hidden state: nothing but the hash can tell
    fs::write(&part, bad).unwrap();
    assert_eq!(tools::verify(&bench.root).unwrap()[0].path, part);
    assert_eq!(bench.serve(&fake(&[1]), &[]).1, 0);
    assert!(part.exists() && bench.lines().is_empty());
    assert_eq!(bench.serve(&fake(&[1]), &[7, 6]).1, 2);
    let says = bench.lines();
    assert!(
        says.len() == 1 && says[0].contains(part.to_str().unwrap()),
        "{says:?}"
    );
    assert_eq!(bench.files("damaged").len(), 1);
    assert_eq!(bench.serve(&fake(&[1]), &[6, 7]), (vec![], 0));
}
/// The first two floats of row 6 in layer 1.
fn good_floats() -> Vec<u8> {
    hidden(&samples(6), 1).values[..2]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect()
}

#[test]
fn no_damage_to_any_byte_is_believed() {
    let bench = Bench::new("bytes");
    assert_eq!(bench.serve(&fake(&[1]), &[1]).1, 1);
    let part = bench.files("parquet").remove(0);
    let layer = part.parent().unwrap().to_owned();
    let fingerprint = Fingerprint::read(layer.parent().unwrap()).unwrap();
    let get = |bytes: &[u8]| {
        fs::write(&part, bytes).unwrap();
        let mut layer = Layer::open(layer.clone(), fingerprint.clone(), &bench.context()).unwrap();
        layer.get(&rows::key(&samples(1), &[]))
    };
    let good = fs::read(&part).unwrap();
    assert_eq!(get(&good), Some(hidden(&samples(1), 1)));
    for at in 0..good.len() {
        for bits in [1, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] ^= bits;
            assert_eq!(get(&bad), None, "byte {at}");
        }
        assert_eq!(get(&good[..at]), None, "cut at {at}");
    }
}

#[test]
fn a_part_is_written_once_it_is_large() {
    let bench = Bench::new("large");
    let mut node = bench.open(&fake(&[1]));
    run(&mut *node, &bench.context(), &[1], true);
    let folder = bench.files("parquet")[0].parent().unwrap().to_owned();
    let fingerprint = Fingerprint::read(folder.parent().unwrap()).unwrap();
    let mut layer = Layer::open(folder, fingerprint, &bench.context()).unwrap();
    let large = Entry {
        frames: 1000,
        values: vec![0.5; 1000 * 17_000],
    };
    layer.put([7; 16], "large", 0, &large).unwrap();
    assert_eq!(bench.files("parquet").len(), 2);
    assert!(layer.get(&[7; 16]) == Some(large));
}

#[test]
fn a_part_of_another_cache_is_not_believed() {
    let (bench, other) = (Bench::new("other"), Bench::new("other-model"));
    fs::create_dir_all(&other.root).unwrap();
    let model: &'static str = other
        .root
        .join("weights")
        .to_string_lossy()
        .into_owned()
        .leak();
    fs::write(model, "two").unwrap();
    other.serve(
        &Fake {
            model,
            ..fake(&[1])
        },
        &[4],
    );
    bench.serve(&fake(&[1]), &[5]);
    let (foreign, folder) = (
        other.files("parquet").remove(0),
        bench.files("parquet").remove(0),
    );
    fs::copy(
        &foreign,
        folder.with_file_name(foreign.file_name().unwrap()),
    )
    .unwrap();
    assert_eq!(bench.serve(&fake(&[1]), &[4, 5]).1, 1);
    assert_eq!((bench.lines().len(), bench.files("damaged").len()), (1, 1));
}

#[test]
fn folders_that_are_none() {
    let bench = Bench::new("folders");
    let refused = || {
        wrap(Arc::new(fake(&[1])), &bench.root, &bench.context())
            .err()
            .unwrap()
            .to_string()
    };
    fs::write(&bench.root, "a file").unwrap();
    assert!(refused().starts_with(&*bench.root.to_string_lossy()));
    fs::remove_file(&bench.root).unwrap();
    bench.serve(&fake(&[1]), &[1]);
    let layer = bench.files("parquet")[0].parent().unwrap().to_owned();
    fs::remove_dir_all(&layer).unwrap();
    fs::write(&layer, "a file").unwrap();
    assert!(refused().starts_with(&*layer.to_string_lossy()));
    fs::remove_file(&layer).unwrap();
    fs::create_dir_all(layer.join("part-0123456789abcdef.parquet")).unwrap();
    assert_eq!(bench.serve(&fake(&[1]), &[1]).1, 1);
    assert_eq!(bench.lines().len(), 1);
    // What cannot be written is found before a row is computed.
    let fingerprint = bench.files("fingerprint.json").remove(0);
    fs::remove_file(&fingerprint).unwrap();
    fs::create_dir_all(fingerprint.join("in the way")).unwrap();
    let fake = fake(&[1]);
    let says = attempt(&mut *bench.open(&fake), &bench.context(), &[9], false)
        .unwrap_err()
        .to_string();
    assert!(
        says.starts_with(&*fingerprint.to_string_lossy()) && fake.built.lock().unwrap().is_empty(),
        "{says}"
    );
}

#[test]
fn leftovers_of_the_dead_are_removed() {
    let bench = Bench::new("leftovers");
    bench.serve(&fake(&[1]), &[1]);
    let layer = bench.files("parquet")[0].parent().unwrap().to_owned();
    let dead = [
        layer.join("part-0.parquet.tmp4194999"),
        bench.root.join("files.json.tmp4194999"),
    ];
    let kept = [
        layer.join("part-0.parquet.tmp1"),
        bench.root.join("mine.tmp4194999"),
    ];
    dead.iter()
        .chain(&kept)
        .for_each(|path| fs::write(path, "").unwrap());
    bench.open(&fake(&[1]));
    assert_eq!(
        dead.iter()
            .chain(&kept)
            .map(|p| p.exists())
            .collect::<Vec<_>>(),
        [false, false, true, true]
    );
}

#[test]
fn remove_touches_nothing_else() {
    let bench = Bench::new("remove");
    fs::create_dir_all(bench.root.join("0123456789abcdef")).unwrap();
    fs::write(bench.root.join("letter"), "dear").unwrap();
    assert!(
        tools::remove(&bench.root)
            .unwrap_err()
            .to_string()
            .contains("not a cache")
    );
    bench.serve(&fake(&[1]), &[1]);
    assert_eq!(tools::remove(&bench.root).unwrap().len(), 1);
    assert!(bench.files("json").is_empty() && bench.root.join("letter").exists());
    assert!(tools::list(&bench.root).is_err());
    bench.serve(&fake(&[1]), &[1]);
    let folder = bench.files("fingerprint.json")[0]
        .parent()
        .unwrap()
        .to_owned();
    assert_eq!(
        tools::list(&folder).unwrap(),
        tools::list(&bench.root).unwrap()
    );
    assert_eq!(tools::remove(&folder).unwrap(), [folder]);
}

/// A kind without layers, as it is in the program: live, cold, half-filled and full give the same batch.
#[test]
fn rows_without_layers() {
    let bench = Bench::new("rows");
    let options = || json!({ "bins": 23, "cepstra": 13, "deltas": 1 });
    let fbank: Arc<dyn Config> = crate::node::parse::<crate::kind::fbank::Options>(options())
        .ok()
        .unwrap()
        .into();
    let features = |node: &mut dyn Node, ids: &[usize]| {
        let inputs = HashMap::from([("speech".to_owned(), vec![Value::Batch(rows(ids))])]);
        let context = bench.context();
        let mut step = Step::new(
            StepInfo::default(),
            &context,
            Tape::default(),
            inputs,
            &mut [],
        );
        node.run(&mut step).unwrap();
        let Some(Value::Batch(batch)) = step.into_outputs().remove("features") else {
            panic!("no features")
        };
        node.leave().unwrap();
        batch
    };
    let live = |ids: &[usize]| features(&mut *fbank.build(&bench.context()).unwrap(), ids);
    let cached = |ids: &[usize]| {
        features(
            &mut *wrap(fbank.clone(), &bench.root, &bench.context()).unwrap(),
            ids,
        )
    };
    for (ids, parts) in [
        (&[5, 0, 9][..], 1),
        (&[9, 3, 5, 4], 2),
        (&[3, 4, 0, 5, 9], 2),
        (&[], 2),
    ] {
        assert_eq!(cached(ids), live(ids));
        assert_eq!(bench.files("parquet").len(), parts);
    }
    assert!(
        bench
            .files("parquet")
            .iter()
            .all(|path| path.parent().unwrap().ends_with("rows"))
    );
    let listing = tools::list(&bench.root).unwrap().remove(0);
    // Rows of 7, 967, 1287, 1607 and 2887 samples.
    assert_eq!(
        (
            listing.kind.as_deref(),
            listing.layers,
            listing.rows,
            listing.frames
        ),
        (Some("fbank"), vec![], 5, 34)
    );
    assert_eq!(tools::verify(&bench.root).unwrap(), vec![]);
    fs::write(&bench.files("parquet")[0], "damaged").unwrap();
    assert_eq!(tools::verify(&bench.root).unwrap().len(), 1);
    assert_eq!(tools::remove(&bench.root).unwrap().len(), 1);
    assert!(!bench.root.exists());
}

#[test]
fn a_mask_is_part_of_the_key() {
    let key = |masked: &[usize]| rows::key(&samples(3), &[0, 1, 2].map(|t| masked.contains(&t)));
    assert!(
        key(&[0]) == key(&[0]) && key(&[0]) != key(&[1]) && key(&[]) != rows::key(&samples(3), &[])
    );
    let bytes: Vec<u8> = samples(3).iter().flat_map(|x| x.to_le_bytes()).collect();
    let all = [&967u64.to_le_bytes()[..], &bytes, &[0, 1, 0]].concat();
    assert_eq!(key(&[1]), blake3::hash(&all).as_bytes()[..16]);
}
