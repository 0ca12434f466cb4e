//! The option `cache`: serves the rows it has, runs the node inside on the others, and keeps what that gave.
//!
//! ```text
//! row key      first 16 bytes of BLAKE3(number of samples, samples): the very samples the node receives
//! fingerprint  first 16 hex digits of BLAKE3(canonical JSON of what the node is)
//! entry        (row key, layer) -> frames, width, hidden
//!
//! <cache>/files.json                                     hashes of the models' files, by path, size and time
//! <cache>/<fingerprint>/fingerprint.json
//! <cache>/<fingerprint>/layer-03/part-<16 hex>.parquet
//! ```
//!
//! Content is the only address, so nothing upstream has to be remembered: a wrong hit would need a hash collision.
//! The node inside is built at the first miss, so a full hit never opens the teacher, and it writes nothing.
mod fingerprint;
mod layer;
mod part;
mod rows;
#[cfg(test)]
mod tests;
pub mod tools;

use crate::node::{Cacheable, Config, Node, Place};
use crate::port::Value;
use crate::step::{Head, Step};
use crate::tensor::Tape;
use crate::{Result, column, file};
use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use fingerprint::Fingerprint;
use layer::Layer;
use rows::{Entry, Key};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The node `inside` behind the cache in the folder `root`. What an earlier run left there is indexed, not yet read.
///
/// # Errors
/// The node cannot be cached, its model cannot be read, or `root` is no folder that can be read.
pub fn wrap(inside: Arc<dyn Config>, root: &Path, place: &Place) -> Result<Box<dyn Node>> {
    let what = cacheable(&*inside)?;
    remove_leftovers(root);
    let fingerprint = Fingerprint::of(what, root, place)?;
    let folder = root.join(fingerprint.name());
    let open = |&n: &usize| Layer::open(folder.join(format!("layer-{n:02}")), fingerprint.clone(), place);
    let layers = what.layers().iter().map(open).collect::<Result<_>>()?;
    Ok(Box::new(Cached { inside, place: place.clone(), fingerprint, folder, layers, node: None, computes: vec![] }))
}

fn cacheable(inside: &dyn Config) -> Result<&dyn Cacheable> {
    inside.cacheable().ok_or_else(|| "what it sends is not a function of its rows, so it cannot be cached".into())
}

struct Cached {
    inside: Arc<dyn Config>,
    place: Place,
    fingerprint: Fingerprint,
    folder: PathBuf,
    /// In the order in which the node sends them.
    layers: Vec<Layer>,
    /// The node inside, since the first miss, and the layers it computes.
    node: Option<Box<dyn Node>>,
    computes: Vec<usize>,
}

/// By row and layer; None is missing.
type Found = Vec<Vec<Option<Entry>>>;

impl Node for Cached {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let (input, output) = cacheable(&*self.inside).map(|what| (what.input(), what.output()))?;
        let rows = step.batch(input)?;
        let keys = (0..rows.num_rows()).map(|row| Ok(rows::key(column::floats(&rows, column::SAMPLES, row)?)));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let mut found = keys.iter().map(|key| self.layers.iter_mut().map(|layer| layer.get(key)).collect()).collect();
        self.fill(step.head, &rows, &keys, &mut found)?;
        if step.head.checkpoint {
            self.leave()?;
        }
        let found: Vec<Vec<_>> = found.into_iter().map(|row| row.into_iter().flatten().collect()).collect();
        step.send(output, Value::Batch(targets(&rows, &found)?));
        Ok(())
    }
    fn finish(&mut self, _: &mut Step) -> Result<()> {
        self.leave()
    }
    fn leave(&mut self) -> Result<()> {
        self.layers.iter_mut().try_for_each(Layer::write)
    }
}

impl Cached {
    /// Computes the rows that miss a layer, and keeps exactly what was missing.
    fn fill(&mut self, head: Head, rows: &RecordBatch, keys: &[Key], found: &mut Found) -> Result<()> {
        let missing: Vec<u32> = (0u32..).zip(&*found).filter(|(_, row)| row.contains(&None)).map(|(r, _)| r).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let places = self.prepare(found)?;
        let made = self.compute(head, take_record_batch(rows, &UInt32Array::from(missing.clone()))?)?;
        let (ids, frames) = (column::texts(rows, column::ID)?, column::u32s(&made, column::FRAMES)?);
        for (at, row) in missing.into_iter().map(|row| row as usize).enumerate() {
            let samples = column::floats(rows, column::SAMPLES, row)?.len();
            let slots = found[row].iter_mut().zip(&mut self.layers).zip(&places);
            for ((slot, layer), &place) in slots.filter(|((slot, _), _)| slot.is_none()) {
                let values = column::floats_of_layer(&made, column::HIDDEN, at, place)?.to_vec();
                let entry = Entry { frames: frames[at], values };
                layer.put(keys[row], ids.value(row), samples, &entry)?;
                *slot = Some(entry);
            }
        }
        Ok(())
    }

    /// Sees to it that the node inside computes every layer that is missing; at which place it sends each layer.
    fn prepare(&mut self, found: &Found) -> Result<Vec<usize>> {
        let what = cacheable(&*self.inside)?;
        let wanted = |(l, n): &(usize, &usize)| self.computes.contains(n) || found.iter().any(|row| row[*l].is_none());
        let computes: Vec<usize> = what.layers().iter().enumerate().filter(wanted).map(|(_, &n)| n).collect();
        if computes != self.computes {
            // A folder that cannot be written is found now, before the first row is computed, and not hours later.
            write(&self.folder.join("fingerprint.json"), self.fingerprint.json().as_bytes())?;
            self.node = None; // two teachers at once might not fit
            self.node = Some(what.build_for(&computes, &self.place)?);
            self.computes = computes;
        }
        Ok(what.layers().iter().map(|n| self.computes.iter().take_while(|&c| c != n).count()).collect())
    }

    fn compute(&mut self, head: Head, rows: RecordBatch) -> Result<RecordBatch> {
        let what = cacheable(&*self.inside)?;
        let inputs = HashMap::from([(what.input().to_owned(), vec![Value::Batch(rows)])]);
        let mut step = Step::new(head, &self.place, Tape::default(), inputs, &mut []);
        self.node.as_mut().ok_or("the node inside was not built")?.run(&mut step)?;
        match step.into_outputs().remove(what.output()) {
            Some(Value::Batch(made)) => Ok(made),
            _ => Err(format!("no batch came from `{}`", what.output()).into()),
        }
    }
}

/// The batch that the node inside would have sent.
fn targets(rows: &RecordBatch, found: &[Vec<Entry>]) -> Result<RecordBatch> {
    let all: Vec<&[f32]> = found.iter().flatten().map(|entry| &*entry.values).collect();
    let layers = found.first().map_or(0, Vec::len);
    let hidden = column::list_by_layer(all.concat(), all.iter().map(|v| v.len()), found.len(), layers)?;
    let frames = UInt32Array::from_iter_values(found.iter().map(|row| row.first().map_or(0, |entry| entry.frames)));
    let ids = column::texts(rows, column::ID)?.clone();
    let (ids, frames, hidden) = (Arc::new(ids), Arc::new(frames), Arc::new(hidden));
    column::batch(vec![(column::ID, ids), (column::FRAMES, frames), (column::HIDDEN, hidden)])
}

/// Two nodes of one process may fill one cache; while they write, their files would have the same temporary names.
fn alone() -> MutexGuard<'static, ()> {
    static WRITES: Mutex<()> = Mutex::new(());
    WRITES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let _alone = alone();
    file::whole(path, bytes)
}

/// Removes what a killed process left half-written. Where there is no /proc to ask, nobody is taken for dead.
fn remove_leftovers(root: &Path) {
    let _alone = alone();
    let proc = Path::new("/proc");
    let gone =
        |pid: u32| pid == std::process::id() || proc.join("self").exists() && !proc.join(pid.to_string()).exists();
    for path in std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if fingerprint::is_name(name) {
            file::remove_leftovers(&path, &gone);
        } else if name.strip_prefix("files.json.tmp").and_then(|pid| pid.parse().ok()).is_some_and(gone) {
            let _ = std::fs::remove_file(&path);
        }
    }
}
