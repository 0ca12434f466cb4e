//! Random histories of a cache against a model of what must be found: graphs change, processes are
//! killed, parts are damaged and merged, and each batch is computed exactly where the model says.
use super::*;
use codec::Scale;
use compute::random::Key;
use merge::merge;
use std::collections::{BTreeMap, BTreeSet};

const HISTORIES: u64 = 6;
const EVENTS: u64 = 16;
const ROWS: u64 = 6;

/// Draws numbers one after the other.
struct Draws {
    key: Key,
    drawn: u64,
}

impl Draws {
    fn below(&mut self, n: usize) -> usize {
        self.drawn += 1;
        self.key.below(0, self.drawn, n as u64) as usize
    }

    fn ids(&mut self) -> Vec<usize> {
        (0..=self.below(4))
            .map(|_| self.below(ROWS as usize))
            .collect()
    }
}

/// What is stored: rows by part. A part's folder tells its fingerprint and its layer.
#[derive(Default)]
struct Model {
    parts: BTreeMap<PathBuf, BTreeSet<usize>>,
}

impl Model {
    /// Whether a part has a row of a layer under a fingerprint.
    fn has(&self, folder: &Path, row: usize) -> bool {
        let parts = self.parts.iter();
        let mut in_folder = parts.filter(|(path, _)| path.parent() == Some(folder));
        in_folder.any(|(_, rows)| rows.contains(&row))
    }

    /// Takes over the parts on disk, and checks that together they have these rows more than before.
    fn check_added(&mut self, cache: &TestCache, added: &BTreeSet<(PathBuf, usize)>) {
        let stored_rows = |model: &Model| -> BTreeSet<(PathBuf, usize)> {
            let parts = model.parts.iter();
            let rows = parts.flat_map(|(path, rows)| {
                let folder = path.parent().unwrap();
                rows.iter().map(move |&row| (folder.to_owned(), row))
            });
            rows.collect()
        };
        let mut expected = stored_rows(self);
        expected.extend(added.iter().cloned());
        let damaged = self.damaged(cache);
        self.parts.clear();
        for path in cache.files(".parquet") {
            if damaged.contains(&path) {
                continue;
            }
            let rows = part::identities(&path).unwrap();
            let number = |id: &str| id.strip_prefix("row ").unwrap().parse().unwrap();
            let rows = rows.iter().map(|row| number(&row.id)).collect();
            self.parts.insert(path, rows);
        }
        assert_eq!(stored_rows(self), expected);
    }

    /// Returns the parts on disk that are damaged.
    fn damaged(&self, cache: &TestCache) -> BTreeSet<PathBuf> {
        let parts = cache.files(".parquet").into_iter();
        parts.filter(|path| part::verify(path).is_err()).collect()
    }
}

/// A graph: layers and codec of its node.
fn graph(draws: &mut Draws) -> (FakeConfig, CodecOption) {
    let layers: &[usize] = [&[1][..], &[1, 4], &[4, 0]][draws.below(3)];
    let codecs = [CodecOption::F32, CodecOption::Int8(Scale::Channel)];
    (fake(layers), codecs[draws.below(2)].clone())
}

/// Runs batches of a graph, the last of them not to its end if the process is killed.
fn fill(cache: &TestCache, model: &mut Model, draws: &mut Draws) {
    let (config, codec) = graph(draws);
    let context = cache.context();
    let open =
        |root: Option<&Path>| wrap(Arc::new(config.clone()), root, &codec, true, &context).unwrap();
    let fingerprint = Codec::open(&codec, &context).unwrap();
    let fingerprint = Fingerprint::of(&config, "targets", &fingerprint, &cache.root, &context);
    let fingerprint = cache.root.join(fingerprint.unwrap().name());
    let folder = |layer: usize| fingerprint.join(format!("layer-{layer:02}"));
    let mut live = open(None);
    let mut node = open(Some(&cache.root));
    let mut gathered = BTreeSet::new();
    let mut added = BTreeSet::new();
    for batch in 0..=draws.below(3) {
        let ids = draws.ids();
        let is_checkpoint = draws.below(2) == 0;
        let expected = cache.run(&mut *live, &ids, false);
        config.record.lock().unwrap().rows = 0;
        assert_eq!(cache.run(&mut *node, &ids, is_checkpoint), expected);
        let is_missing = |row: usize, layer: usize| {
            let folder = folder(layer);
            !model.has(&folder, row) && !gathered.contains(&(folder, row))
        };
        let misses = |row: &&usize| config.layers.iter().any(|&layer| is_missing(**row, layer));
        let computed = ids.iter().filter(misses).count();
        assert_eq!(
            config.record.lock().unwrap().rows,
            computed,
            "batch {batch}: {ids:?}"
        );
        let rows = ids.iter();
        let rows = rows.flat_map(|&row| config.layers.iter().map(move |&layer| (layer, row)));
        let rows = rows.map(|(layer, row)| (folder(layer), row));
        let new: Vec<_> = rows
            .filter(|(folder, row)| !model.has(folder, *row))
            .collect();
        gathered.extend(new);
        if is_checkpoint {
            added.extend(gathered.iter().cloned());
        }
    }
    let is_killed = draws.below(3) == 0;
    if is_killed {
        let _ = fs::create_dir_all(folder(config.layers[0]));
        let leftover = "part-0123456789abcdef.parquet.tmp-0123456789abcdef";
        fs::write(folder(config.layers[0]).join(leftover), "half a p").unwrap();
    } else {
        node.leave().unwrap();
        added = gathered;
    }
    model.check_added(cache, &added);
}

/// Changes a byte of a part.
fn damage(cache: &TestCache, model: &mut Model, draws: &mut Draws) {
    let parts: Vec<PathBuf> = model.parts.keys().cloned().collect();
    if parts.is_empty() {
        return;
    }
    let path = &parts[draws.below(parts.len())];
    let mut bytes = fs::read(path).unwrap();
    let offset = draws.below(bytes.len());
    bytes[offset] ^= 1 << draws.below(8);
    fs::write(path, bytes).unwrap();
    model.parts.remove(path);
    assert!(model.damaged(cache).contains(path));
}

/// Merges, maybe killed before all old parts are removed.
fn merge_some(cache: &TestCache, model: &mut Model, draws: &mut Draws) {
    if cache.files("fingerprint.json").is_empty() {
        return;
    }
    let old: Vec<(PathBuf, Vec<u8>)> = model
        .parts
        .keys()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    merge(&cache.root).unwrap();
    model.check_added(cache, &BTreeSet::new());
    let mut rows = BTreeSet::new();
    for (path, part_rows) in &model.parts {
        for row in part_rows {
            assert!(
                rows.insert((path.parent().unwrap(), row)),
                "a row stands twice"
            );
        }
    }
    if draws.below(2) == 0 {
        for (path, bytes) in old {
            if draws.below(2) == 0 {
                fs::write(path, bytes).unwrap();
            }
        }
        model.check_added(cache, &BTreeSet::new());
    }
}

#[test]
fn rows_are_found_exactly_where_they_are() {
    for history in 0..HISTORIES {
        let cache = TestCache::new(&format!("history-{history}"));
        let mut model = Model::default();
        let mut draws = Draws {
            key: Key::new(history, &["history"]),
            drawn: 0,
        };
        for _ in 0..EVENTS {
            match draws.below(6) {
                0 => damage(&cache, &mut model, &mut draws),
                1 => merge_some(&cache, &mut model, &mut draws),
                _ => fill(&cache, &mut model, &mut draws),
            }
        }
    }
}
