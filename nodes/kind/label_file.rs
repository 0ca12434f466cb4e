//! Labels from a file (`data::labels`). They are of whole utterances, so these must not be
//! cropped.
use crate::Result;
use crate::data::column;
use crate::data::column::{ID, LABELS, SAMPLES, SPEECH};
use crate::data::labels;
use crate::data::labels::{Labels, TABLE, has_ids};
use crate::data::manifest;
use crate::model::Architecture;
use crate::node::port::{Carries, Port, Ports, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{
    Artifact, Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, PhaseOutputs,
    artifact_owner, shapes,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Labels of frames from a file: a `save-labels`' or fairseq's `.km`.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// What a `save-labels` wrote (`$OUT/phase/node/labels.parquet`), or a `.km`: a line an utterance, numbers with spaces
    /// between.
    file: String,
    /// Whose order the lines of a `.km` have; a manifest as `decode` reads it.
    #[serde(default)]
    manifest: Option<String>,
}

const IN: &str = "speech";
const OUT: &str = "labels";

impl Options {
    /// Returns the number of classes, if it is known, of labels that an earlier phase of the file
    /// leaves.
    fn earlier(&self, phase_outputs: &PhaseOutputs) -> Option<Option<usize>> {
        match phase_outputs.0.get(artifact_owner(&self.file, TABLE)?)? {
            Artifact::Labels { classes } => Some(*classes),
            _ => None,
        }
    }
}

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[Port::new(IN, Carries::Batch(SPEECH))],
        outputs: &[Port::new(OUT, Carries::Batch(LABELS))],
    };
}

impl Config for Options {
    fn info(&self, phase_outputs: &PhaseOutputs, _: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let wrong = |option: &str, says: String| {
            Err(vec![OptionError::at(
                option,
                format!("option `{option}`: {says}"),
            )])
        };
        let file = &self.file;
        match (&self.manifest, has_ids(file)) {
            (None, false) => {
                return wrong(
                    "manifest",
                    format!("is missing; the lines of `{file}` have the order of a manifest"),
                );
            }
            (Some(_), true) => {
                return wrong(
                    "manifest",
                    format!("`{file}` has ids of its own; leave it out"),
                );
            }
            _ => (),
        }
        let earlier = self.earlier(phase_outputs);
        if file.starts_with("$OUT/") && earlier.is_none() {
            return wrong(
                "file",
                format!("no `save-labels` of an earlier phase writes `{file}`"),
            );
        }
        let shape = earlier
            .flatten()
            .map_or(Shape::Plain, |classes| Shape::Labels { classes });
        let mut reads: Vec<String> = self.manifest.iter().cloned().collect();
        reads.extend(earlier.is_none().then(|| file.clone()));
        Ok(NodeInfo {
            outputs: shapes([(OUT, shape)]),
            reads,
            ..NodeInfo::default()
        })
    }
    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let path = context.path(&self.file);
        let rehearsal = context.run.bench
            && self.earlier(&context.run.phase_outputs).is_some()
            && !path.exists();
        let labels = if rehearsal {
            None
        } else {
            let ids = self
                .manifest
                .as_ref()
                .map(|manifest| manifest::ids(&context.path(manifest)))
                .transpose()?;
            Some(labels::read(&path, ids)?)
        };
        Ok(Box::new(LabelFile {
            labels,
            file: self.file.clone(),
        }))
    }
}

struct LabelFile {
    /// None: the phase that writes them has not run, all are 0.
    labels: Option<Labels>,
    file: String,
}

impl Node for LabelFile {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let batch = step.batch(IN)?;
        let ids = column::texts(&batch, ID)?;
        let zeros: Vec<Vec<u32>>;
        let rows: Vec<&[u32]> = match &self.labels {
            Some(labels) => {
                let row = |id: Option<&str>| {
                    let id = id.unwrap_or_default();
                    labels
                        .get(id)
                        .map(Vec::as_slice)
                        .ok_or_else(|| format!("{}: has no labels of `{id}`", self.file))
                };
                ids.iter().map(row).collect::<Result<_, _>>()?
            }
            None => {
                let frames = |samples: &[f32]| Architecture::default().frames(samples.len());
                zeros = column::floats_by_row(&batch, SAMPLES)?
                    .into_iter()
                    .map(|s| vec![0; frames(s)])
                    .collect();
                zeros.iter().map(Vec::as_slice).collect()
            }
        };
        step.send(
            OUT,
            Value::Batch(labels::rows(
                ids.iter().map(Option::unwrap_or_default).zip(rows),
            )?),
        );
        Ok(())
    }
}
