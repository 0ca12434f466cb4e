//! Labels from a file (`data::labels`): of the frames of whole utterances, which therefore must not
//! be cropped, or of utterances (module `utterances`).
mod node;
mod utterances;

use crate::Result;
use crate::data::column::{LABELS, SPEECH};
use crate::data::labels;
use crate::data::labels::{TABLE, has_ids};
use crate::data::manifest;
use crate::data::printable::printable;
use crate::model::Numbering;
use crate::node::contents::FileOption;
use crate::node::port::{Carries, LabelledUnit, Port, Ports, Shape, Shapes};
use crate::node::{
    Artifact, Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, PhaseOutputs,
    artifact_owner, shapes,
};
use node::LabelFile;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Labels of frames from a file of `save-labels` or from fairseq's `.km`, or labels of utterances
/// from a text file.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Of frames: a file that a `save-labels` writes (`$OUT/phase/node/labels.parquet`), or a `.km`,
    /// one line per utterance, numbers separated by spaces. Of utterances: one line each, the id and
    /// the label, or the labels of several slots, separated by tabs; or as in Kaldi, the id, a space,
    /// and the label.
    file: String,
    /// What has a label.
    #[serde(default)]
    units: Units,
    /// Labels of utterances in the order of their numbers; null: those of the file, sorted.
    #[serde(default)]
    classes: Option<Vec<String>>,
    /// The manifest, as `decode` reads it, whose order the lines of a `.km` have.
    #[serde(default)]
    manifest: Option<String>,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Units {
    /// Each frame of 20 ms.
    #[default]
    Frames,
    /// The utterance.
    Utterance,
}

impl Units {
    fn labelled(self) -> LabelledUnit {
        match self {
            Units::Frames => LabelledUnit::FRAME,
            Units::Utterance => LabelledUnit::Utterance,
        }
    }
}

const IN: &str = "speech";
const OUT: &str = "labels";

impl Options {
    /// Returns the shape of labels that an earlier phase of the file writes.
    fn earlier(&self, phase_outputs: &PhaseOutputs) -> Option<Shape> {
        match phase_outputs.0.get(artifact_owner(&self.file, TABLE)?)? {
            Artifact::Labels { classes, numbering } => Some(Shape::Labels {
                classes: *classes,
                numbering: *numbering,
                of: LabelledUnit::FRAME,
            }),
            _ => None,
        }
    }

    fn classes_errors(&self) -> Vec<OptionError> {
        let mut errors = vec![];
        let Some(classes) = &self.classes else {
            return errors;
        };
        errors.extend(OptionError::unless(
            self.units == Units::Utterance,
            "classes",
            "is for labels of utterances",
        ));
        for (i, name) in classes.iter().enumerate() {
            if classes[..i].contains(name) {
                errors.push(OptionError::element(
                    &format!("classes.{i}"),
                    &format!("classes[{i}]"),
                    format!("`{}` is named twice", printable(name)),
                ));
            }
        }
        errors
    }

    fn check_manifest(&self) -> Result<(), OptionError> {
        let file = &self.file;
        let has_ids = has_ids(file) || self.units == Units::Utterance;
        match (&self.manifest, has_ids) {
            (None, false) => Err(OptionError::option(
                "manifest",
                format!("is missing; the lines of `{file}` have the order of a manifest"),
            )),
            (Some(_), true) => Err(OptionError::option(
                "manifest",
                format!("`{file}` has ids of its own; leave it out"),
            )),
            _ => Ok(()),
        }
    }
}

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[Port::new(IN, Carries::Batch(SPEECH))],
        outputs: &[Port::new(OUT, Carries::Batch(LABELS))],
    };
    const FILES: &[FileOption] = &[FileOption::files("file"), FileOption::manifest("manifest")];
}

impl Config for Options {
    fn needs_whole_rows(&self) -> bool {
        self.units == Units::Frames
    }

    fn info(&self, phase_outputs: &PhaseOutputs, _: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let mut errors: Vec<_> = self.check_manifest().err().into_iter().collect();
        let file = &self.file;
        let earlier = self.earlier(phase_outputs);
        errors.extend(OptionError::unless(
            !file.starts_with("$OUT/") || earlier.is_some(),
            "file",
            format!("no `save-labels` of an earlier phase writes `{file}`"),
        ));
        errors.extend(self.classes_errors());
        OptionError::fail_if_any(errors)?;
        let mut reads: Vec<String> = self.manifest.iter().cloned().collect();
        if earlier.is_none() {
            reads.push(file.clone());
        }
        let shape = earlier.unwrap_or(Shape::Labels {
            classes: self.classes.as_ref().map(Vec::len),
            numbering: match self.units {
                // Label files of other programs number clusters.
                Units::Frames => Numbering::Clusters,
                Units::Utterance => Numbering::Learned,
            },
            of: self.units.labelled(),
        });
        Ok(NodeInfo {
            outputs: shapes([(OUT, shape)]),
            reads,
            ..NodeInfo::default()
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let path = context.path(&self.file);
        let unwritten = self.earlier(&context.run.phase_outputs).is_some() && !path.exists();
        let labels = if context.run.bench && unwritten {
            None
        } else {
            let ids = match &self.manifest {
                Some(manifest) => Some(manifest::ids(&context.path(manifest))?),
                None => None,
            };
            Some(match self.units {
                Units::Frames => labels::read(&path, ids)?,
                Units::Utterance => utterances::read(&path, self.classes.as_deref())?,
            })
        };
        Ok(Box::new(LabelFile {
            labels,
            file: self.file.clone(),
            units: self.units,
            heard: HashMap::new(),
        }))
    }
}
