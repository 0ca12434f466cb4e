//! Labels from a file as fairseq's `.km`: a line an utterance, in the order of its manifest, a number of a cluster each
//! 20 ms. They are of whole utterances, so these must not be cropped.
use crate::column::{self, ID, LABELS, SPEECH};
use crate::label::{OUT, labels};
use crate::node::{Config, Facts, Node, Place, World, Wrong, shapes};
use crate::port::{Carries, Port, Ports, Shape, Shapes, Value};
use crate::step::Step;
use crate::{Result, decode};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Labels of frames from a file, as fairseq's `.km`.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// A line an utterance, numbers with spaces between.
    file: String,
    /// Whose order the lines have; a manifest as `decode` reads it.
    manifest: String,
}

const IN: &str = "speech";

impl Config for Options {
    fn ports(&self) -> Ports {
        const INPUTS: &[Port] = &[Port::new(IN, Carries::Batch(SPEECH))];
        const OUTPUTS: &[Port] = &[Port::new(OUT, Carries::Batch(LABELS))];
        Ports { inputs: INPUTS, outputs: OUTPUTS }
    }
    fn facts(&self, _: &World, _: &Shapes) -> Result<Facts, Vec<Wrong>> {
        let reads = vec![self.file.clone(), self.manifest.clone()];
        Ok(Facts { outputs: shapes([(OUT, Shape::Plain)]), reads, ..Facts::default() })
    }
    fn build(&self, place: &Place) -> Result<Box<dyn Node>> {
        let ids = decode::ids(&place.path(&self.manifest))?;
        let named = |says: String| format!("{}: {says}", self.file);
        let text = std::fs::read_to_string(place.path(&self.file)).map_err(|e| named(e.to_string()))?;
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() != ids.len() {
            return Err(
                named(format!("{} lines for the {} utterances of {}", lines.len(), ids.len(), self.manifest)).into()
            );
        }
        let row = |(at, line): (usize, &&str)| {
            let numbers = line.split_ascii_whitespace().map(str::parse).collect::<Result<Vec<u16>, _>>();
            numbers.map_err(|e| named(format!("line {} is not numbers of clusters: {e}", at + 1)))
        };
        let rows = lines.iter().enumerate().map(row).collect::<Result<Vec<_>, _>>()?;
        Ok(Box::new(LabelFile { rows: ids.into_iter().zip(rows).collect(), file: self.file.clone() }))
    }
}

struct LabelFile {
    rows: BTreeMap<String, Vec<u16>>,
    file: String,
}

impl Node for LabelFile {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let batch = step.batch(IN)?;
        let row = |id: Option<&str>| {
            let id = id.unwrap_or_default();
            self.rows.get(id).ok_or_else(|| format!("{}: has no labels of `{id}`", self.file))
        };
        let rows = column::texts(&batch, ID)?.iter().map(row).collect::<Result<Vec<_>, _>>()?;
        let counts: Vec<usize> = rows.iter().map(|row| row.len()).collect();
        let all = rows.into_iter().flatten().map(|label| *label as u32).collect();
        step.send(OUT, Value::Batch(labels(column::get(&batch, ID)?.clone(), all, &counts)?));
        Ok(())
    }
}
