//! The option `cache`: serves the rows it has, runs the node inside on the others, and keeps what that gave.
//!
//! ```text
//! row key      first 16 bytes of BLAKE3(number of samples, samples, mask): the very row the node receives
//! fingerprint  first 16 hex digits of BLAKE3(canonical JSON of what the node is)
//! entry        (row key, layer) -> frames, width, hidden
//!
//! <cache>/files.json                                     hashes of the models' files, by path, size and time
//! <cache>/<fingerprint>/fingerprint.json
//! <cache>/<fingerprint>/layer-03/part-<16 hex>.parquet   of kinds without layers: rows/
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

use crate::Result;
use crate::data::entry::Entry;
use crate::data::{column, file};
use crate::node::port;
use crate::node::port::Value;
use crate::node::step::{Step, StepInfo};
use crate::node::{Cacheable, Config, Node, NodeContext};
use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use compute::tensor::Tape;
use fingerprint::Fingerprint;
use layer::Layer;
use rows::Key;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The node `inside` behind the cache in the folder `root`. What an earlier run left there is indexed, not yet read.
///
/// # Errors
/// The node cannot be cached, its model cannot be read, or `root` is no folder that can be read.
pub fn wrap(inside: Arc<dyn Config>, root: &Path, context: &NodeContext) -> Result<Box<dyn Node>> {
    let what = cacheable(&*inside)?;
    remove_leftovers(root);
    let fingerprint = Fingerprint::of(what, root, context)?;
    let folder = root.join(fingerprint.name());
    let open = |&n: &usize| {
        Layer::open(
            folder.join(layer::folder(what.layers().map(|_| n))),
            fingerprint.clone(),
            context,
        )
    };
    let layers = layers(what).iter().map(open).collect::<Result<_>>()?;
    Ok(Box::new(Cached {
        inside,
        context: context.clone(),
        fingerprint,
        folder,
        layers,
        node: None,
        computes: vec![],
    }))
}

fn cacheable(inside: &dyn Config) -> Result<&dyn Cacheable> {
    inside
        .cacheable()
        .ok_or_else(|| "what it sends is not a function of its rows, so it cannot be cached".into())
}

fn layers(what: &dyn Cacheable) -> &[usize] {
    what.layers().unwrap_or(&[0])
}

struct Cached {
    inside: Arc<dyn Config>,
    context: NodeContext,
    fingerprint: Fingerprint,
    folder: PathBuf,
    /// In the order in which the node sends them.
    layers: Vec<Layer>,
    /// The node inside, since the first miss, and the layers it computes.
    node: Option<Box<dyn Node>>,
    computes: Vec<usize>,
}

/// The rows of a step.
struct Came {
    speech: RecordBatch,
    mask: Option<RecordBatch>,
}

impl Came {
    fn keys(&self) -> Result<Vec<Key>> {
        let masks = self
            .mask
            .as_ref()
            .map(|mask| column::flags_by_row(mask, column::MASK))
            .transpose()?;
        let key = |(row, samples): (usize, _)| {
            rows::key(
                samples,
                masks
                    .as_ref()
                    .map(|masks| &masks[row][..])
                    .unwrap_or_default(),
            )
        };
        Ok(column::floats_by_row(&self.speech, column::SAMPLES)?
            .into_iter()
            .enumerate()
            .map(key)
            .collect())
    }
    fn take(&self, rows: &UInt32Array) -> Result<Came> {
        let mask = self
            .mask
            .as_ref()
            .map(|mask| take_record_batch(mask, rows))
            .transpose()?;
        Ok(Came {
            speech: take_record_batch(&self.speech, rows)?,
            mask,
        })
    }
}

/// By row and layer; None is missing.
type Found = Vec<Vec<Option<Entry>>>;

impl Node for Cached {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let inside = self.inside.clone();
        let what = cacheable(&*inside)?;
        let rows = Came {
            speech: step.batch(what.input())?,
            mask: step.optional_batch(port::MASK.name),
        };
        let keys = rows.keys()?;
        let mut found = keys
            .iter()
            .map(|key| self.layers.iter_mut().map(|layer| layer.get(key)).collect())
            .collect();
        self.fill(step.info, &rows, &keys, &mut found)?;
        if step.info.checkpoint {
            self.leave()?;
        }
        let found: Vec<Vec<_>> = found
            .into_iter()
            .map(|row| row.into_iter().flatten().collect())
            .collect();
        step.send(
            what.output(),
            Value::Batch(what.batch(&rows.speech, &found)?),
        );
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
    fn fill(&mut self, info: StepInfo, rows: &Came, keys: &[Key], found: &mut Found) -> Result<()> {
        let missing: Vec<u32> = (0u32..)
            .zip(&*found)
            .filter(|(_, row)| row.contains(&None))
            .map(|(r, _)| r)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let places = self.prepare(found)?;
        let made = self.compute(info, rows.take(&UInt32Array::from(missing.clone()))?)?;
        let (what, ids) = (
            cacheable(&*self.inside)?,
            column::texts(&rows.speech, column::ID)?,
        );
        for (at, row) in missing.into_iter().map(|row| row as usize).enumerate() {
            let samples = column::floats(&rows.speech, column::SAMPLES, row)?.len();
            let slots = found[row].iter_mut().zip(&mut self.layers).zip(&places);
            for ((slot, layer), &context) in slots.filter(|((slot, _), _)| slot.is_none()) {
                let entry = what.entry(&made, at, context)?;
                layer.put(keys[row], ids.value(row), samples, &entry)?;
                *slot = Some(entry);
            }
        }
        Ok(())
    }

    /// Sees to it that the node inside computes every layer that is missing; at which place it sends each layer.
    fn prepare(&mut self, found: &Found) -> Result<Vec<usize>> {
        let what = cacheable(&*self.inside)?;
        let wanted = |(l, n): &(usize, &usize)| {
            self.computes.contains(n) || found.iter().any(|row| row[*l].is_none())
        };
        let computes: Vec<usize> = layers(what)
            .iter()
            .enumerate()
            .filter(wanted)
            .map(|(_, &n)| n)
            .collect();
        if computes != self.computes {
            // A folder that cannot be written is found now, before the first row is computed, and not hours later.
            write(
                &self.folder.join("fingerprint.json"),
                self.fingerprint.json().as_bytes(),
            )?;
            self.node = None; // two teachers at once might not fit
            self.node = Some(what.build_for(&computes, &self.context)?);
            self.computes = computes;
        }
        Ok(layers(what)
            .iter()
            .map(|n| self.computes.iter().take_while(|&c| c != n).count())
            .collect())
    }

    fn compute(&mut self, info: StepInfo, rows: Came) -> Result<RecordBatch> {
        let what = cacheable(&*self.inside)?;
        let input = |port: &str, batch| (port.to_owned(), vec![Value::Batch(batch)]);
        let mask = rows.mask.map(|mask| input(port::MASK.name, mask));
        let inputs = mask
            .into_iter()
            .chain([input(what.input(), rows.speech)])
            .collect();
        let mut step = Step::new(info, &self.context, Tape::default(), inputs, &mut []);
        self.node
            .as_mut()
            .ok_or("the node inside was not built")?
            .run(&mut step)?;
        let made = step.into_outputs().remove(what.output());
        made.ok_or_else(|| format!("nothing came from `{}`", what.output()))?
            .batch()
    }
}

/// Two nodes of one process may fill one cache; while they write, their files would have the same temporary names.
fn alone() -> MutexGuard<'static, ()> {
    static WRITES: Mutex<()> = Mutex::new(());
    WRITES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let _alone = alone();
    file::write_atomic(path, bytes)
}

/// Removes what a killed process left half-written. Where there is no /proc to ask, nobody is taken for dead.
fn remove_leftovers(root: &Path) {
    let _alone = alone();
    let proc = Path::new("/proc");
    let gone = |pid: u32| {
        pid == std::process::id()
            || proc.join("self").exists() && !proc.join(pid.to_string()).exists()
    };
    for path in std::fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
    {
        let name = path
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        if fingerprint::is_name(name) {
            file::remove_leftovers(&path, &gone);
        } else if name
            .strip_prefix("files.json.tmp")
            .and_then(|pid| pid.parse().ok())
            .is_some_and(gone)
        {
            let _ = std::fs::remove_file(&path);
        }
    }
}
