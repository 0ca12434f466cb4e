//! Labels of whole utterances into a file, once, for every later phase and experiment: `labels.parquet`, and `labels.km`
//! in the order of a manifest.
use crate::Result;
use crate::data::column;
use crate::data::column::{ID, LABEL, LABELS};
use crate::data::labels::{Labels, TABLE, km, table};
use crate::data::manifest;
use crate::node::port::{Carries, Port, Ports, Shape, Shapes};
use crate::node::step::Step;
use crate::node::{
    Artifact, Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, PhaseOutputs,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Writes labels of whole utterances into files, for a `label-file` of a later phase or graph.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Whose order the lines of `labels.km` have; null: no such file.
    #[serde(default)]
    manifest: Option<String>,
}

const IN: &str = "labels";

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[Port::new(IN, Carries::Batch(LABELS))],
        outputs: &[],
    };
}

impl Config for Options {
    fn info(&self, _: &PhaseOutputs, inputs: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let classes = inputs.get(IN).and_then(|shapes| match shapes[..] {
            [Shape::Labels { classes }] => Some(classes),
            _ => None,
        });
        Ok(NodeInfo {
            writes: Some(Artifact::Labels { classes }),
            reads: self.manifest.iter().cloned().collect(),
            ..NodeInfo::default()
        })
    }
    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let ids = self
            .manifest
            .as_ref()
            .map(|manifest| manifest::ids(&context.path(manifest)))
            .transpose()?;
        Ok(Box::new(SaveLabels {
            ids,
            labels: Labels::new(),
        }))
    }
}

struct SaveLabels {
    /// In the order of the manifest.
    ids: Option<Vec<String>>,
    labels: Labels,
}

impl Node for SaveLabels {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let batch = step.batch(IN)?;
        for (id, row) in column::texts(&batch, ID)?
            .iter()
            .zip(column::labels_by_row(&batch, LABEL)?)
        {
            let id = id.unwrap_or_default();
            if self
                .labels
                .insert(id.to_owned(), row.to_vec())
                .is_some_and(|before| before != row)
            {
                let says = "comes again with other labels; they must be of whole utterances (`\"crop\": \"none\"`)";
                return Err(format!("`{id}` {says}").into());
            }
        }
        Ok(())
    }

    fn finish(&mut self, step: &mut Step) -> Result<()> {
        let folder = step.context.folder();
        table::write(&folder.join(TABLE), &self.labels)?;
        if let Some(ids) = &self.ids {
            km::write(&folder.join("labels.km"), &self.labels, ids)?;
        }
        let frames: usize = self.labels.values().map(Vec::len).sum();
        step.context.say(format!(
            "labels of {frames} frames in {} utterances",
            self.labels.len()
        ));
        Ok(())
    }
}
