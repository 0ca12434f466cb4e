//! Writes labels of whole utterances once, for later phases and other graphs: `labels.parquet`, and
//! `labels.km` in the order of a manifest.
use crate::Result;
use crate::data::column;
use crate::data::column::{ID, LABEL, LABELS};
use crate::data::labels::{Labels, TABLE, km, table};
use crate::data::manifest;
use crate::model::Numbering;
use crate::node::contents::FileOption;
use crate::node::port::{Carries, LabelledUnit, Port, Ports, Shape, Shapes, shape_of};
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
    /// The manifest whose order the lines of `labels.km` have; null: no such file.
    #[serde(default)]
    manifest: Option<String>,
}

const IN: &str = "labels";

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[Port::new(IN, Carries::Batch(LABELS))],
        outputs: &[],
    };
    const FILES: &[FileOption] = &[FileOption::manifest("manifest")];
    const NEEDS_ALL_ROWS: bool = true;
}

impl Config for Options {
    fn needs_whole_rows(&self) -> bool {
        true
    }

    fn info(&self, _: &PhaseOutputs, inputs: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let (classes, numbering) = match shape_of(inputs, IN) {
            Some(Shape::Labels {
                classes,
                numbering,
                of,
            }) => {
                let error = of.error_unless(LabelledUnit::FRAME, IN);
                OptionError::fail_if_any(error.into_iter().collect())?;
                (*classes, *numbering)
            }
            _ => (None, Numbering::Clusters),
        };
        Ok(NodeInfo {
            writes: Some(Artifact::Labels { classes, numbering }),
            reads: self.manifest.iter().cloned().collect(),
            ..NodeInfo::default()
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let ids = match &self.manifest {
            Some(manifest) => Some(manifest::ids(&context.path(manifest))?),
            None => None,
        };
        Ok(Box::new(SaveLabels {
            ids,
            labels: Labels::new(),
        }))
    }
}

struct SaveLabels {
    /// The ids of the manifest, in its order.
    ids: Option<Vec<String>>,
    labels: Labels,
}

impl Node for SaveLabels {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let batch = step.batch(IN)?;
        let ids = column::texts(&batch, ID)?.iter();
        for (id, row) in ids.zip(column::labels_by_row(&batch, LABEL)?) {
            let id = id.unwrap_or_default();
            let earlier = self.labels.insert(id.to_owned(), row.to_vec());
            if earlier.is_some_and(|earlier| earlier != row) {
                return Err(format!(
                    "`{id}` comes again with other labels; they must be of whole utterances \
                     (`\"crop\": \"none\"`)"
                )
                .into());
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
        let utterances = self.labels.len();
        step.context.say(format!(
            "labels of {frames} frames in {utterances} utterances"
        ));
        Ok(())
    }
}
