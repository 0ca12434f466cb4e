//! The rows of one layer, or of a kind without layers: an index of its parts, and what is not yet in a part.
use super::fingerprint::Fingerprint;
use super::part::{self, Slot};
use crate::cache::rows::{Key, Rows};
use crate::data::entry::Entry;
use crate::node::NodeContext;
use crate::{Error, Result};
use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

/// Fresh rows become a part, of one row group, as soon as they are so many bytes.
const PART_BYTES: usize = 64 << 20;

/// What the rows of a layer lie in, below the folder of their fingerprint; None: of a kind without layers.
pub fn folder(layer: Option<usize>) -> String {
    layer.map_or(ROWS.into(), |n| format!("{LAYER}{n:02}"))
}

/// The layer whose folder has this name, if it is one.
pub fn named(folder: &str) -> Option<Option<usize>> {
    if folder == ROWS {
        Some(None)
    } else {
        folder.strip_prefix(LAYER)?.parse().ok().map(Some)
    }
}

const ROWS: &str = "rows";
const LAYER: &str = "layer-";

pub struct Layer {
    folder: PathBuf,
    fingerprint: Fingerprint,
    context: NodeContext,
    parts: Vec<Part>,
    index: HashMap<Key, At>,
    fresh: Rows,
}

struct Part {
    path: PathBuf,
    /// Its bytes were compared with its name, or written by this run.
    intact: bool,
}

#[derive(Clone, Copy)]
enum At {
    Fresh(usize),
    Part(u32, Slot),
}

impl Layer {
    /// Reads the keys of all parts. Bytes are hashed when a part first serves a row: a cache may hold terabytes.
    pub fn open(folder: PathBuf, fingerprint: Fingerprint, context: &NodeContext) -> Result<Layer> {
        let paths = part::list(&folder)?;
        let (context, fresh) = (context.clone(), Rows::default());
        let mut layer = Layer {
            folder,
            fingerprint,
            context,
            parts: vec![],
            index: HashMap::new(),
            fresh,
        };
        for path in paths {
            match part::slots(&path, &layer.fingerprint) {
                Ok(slots) => layer.add(
                    Part {
                        path,
                        intact: false,
                    },
                    slots,
                ),
                Err(why) => layer.set_aside(
                    &Part {
                        path,
                        intact: false,
                    },
                    why,
                ),
            }
        }
        Ok(layer)
    }

    /// Of equal rows the first stays; fresh ones are now in this part.
    fn add(&mut self, part: Part, slots: Vec<(Key, Slot)>) {
        let number = self.parts.len() as u32;
        for (key, slot) in slots {
            let at = self.index.entry(key).or_insert(At::Part(number, slot));
            if let At::Fresh(_) = at {
                *at = At::Part(number, slot);
            }
        }
        self.parts.push(part);
    }

    /// A part that turns out to be damaged is none from here on: its rows are misses.
    pub fn get(&mut self, key: &Key) -> Option<Entry> {
        match *self.index.get(key)? {
            At::Fresh(row) => Some(self.fresh.entry(row)),
            At::Part(number, slot) => match self.read(number, slot) {
                Ok(entry) => Some(entry),
                Err(why) => {
                    self.index
                        .retain(|_, at| !matches!(at, At::Part(n, _) if *n == number));
                    self.set_aside(&self.parts[number as usize], why);
                    None
                }
            },
        }
    }

    fn read(&mut self, number: u32, slot: Slot) -> Result<Entry> {
        let part = &mut self.parts[number as usize];
        if !part.intact {
            part::verify(&part.path)?;
            part.intact = true;
        }
        Ok(part::read(&part.path, slot)?)
    }

    /// A file that could not be read may be good another time, and keeps its name.
    fn set_aside(&self, part: &Part, why: Error) {
        let path = part.path.display();
        let damaged = part.path.with_extension("parquet.damaged");
        if why.is::<std::io::Error>() || fs::rename(&part.path, &damaged).is_err() {
            self.context.say(format!(
                "the cache's {path} cannot be used: {why}; its rows count as missing"
            ));
        } else {
            let says = "it is now called *.damaged, and its rows count as missing";
            self.context
                .say(format!("the cache's {path} is damaged: {why}; {says}"));
        }
    }

    pub fn put(&mut self, key: Key, id: &str, samples: usize, entry: &Entry) -> Result<()> {
        if self.index.contains_key(&key) {
            return Ok(()); // the same samples twice in one batch
        }
        self.fresh.push(key, id, samples, entry)?;
        self.index.insert(key, At::Fresh(self.fresh.len() - 1));
        if self.fresh.bytes() >= PART_BYTES {
            self.write()
        } else {
            Ok(())
        }
    }

    /// Puts the fresh rows into a part.
    pub fn write(&mut self) -> Result<()> {
        if self.fresh.len() == 0 {
            return Ok(());
        }
        let path = part::write(
            &self.folder,
            std::mem::take(&mut self.fresh),
            &self.fingerprint,
        )?;
        let slots = part::slots(&path, &self.fingerprint)?;
        self.add(Part { path, intact: true }, slots);
        Ok(())
    }
}
