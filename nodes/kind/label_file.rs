//! Labels from a file (`data::labels`): of the frames of whole utterances, which therefore must not
//! be cropped, or of utterances (module `utterances`).
mod utterances;

use crate::Result;
use crate::data::column;
use crate::data::column::{ID, LABELS, SAMPLES, SPEECH};
use crate::data::labels;
use crate::data::labels::{Labels, TABLE, has_ids};
use crate::data::manifest;
use crate::data::printable::printable;
use crate::data::unicode::nfc;
use crate::model::{Architecture, Numbering};
use crate::node::contents::FileOption;
use crate::node::port::{Carries, LabelledUnit, Port, Ports, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{
    Artifact, Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, PhaseOutputs,
    artifact_owner, shapes,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};

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
            Units::Frames => LabelledUnit::Frame,
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
                of: LabelledUnit::Frame,
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

struct LabelFile {
    /// `None` in a benchmark whose earlier phases have not run: all labels are 0.
    labels: Option<Labels>,
    file: String,
    units: Units,
    /// A hash of the samples of each utterance so far.
    heard: HashMap<String, u64>,
}

impl LabelFile {
    /// Returns the labels of an utterance of this many samples.
    fn row(&self, id: &str, samples: usize) -> Result<Cow<'_, [u32]>> {
        let Some(labels) = &self.labels else {
            let frames = Architecture::default().frames(samples);
            return Ok(vec![0; frames].into());
        };
        match labels.get(&*nfc(id)) {
            Some(row) => Ok(row.into()),
            None => Err(format!("{}: has no labels of `{}`", self.file, printable(id)).into()),
        }
    }
}

impl LabelFile {
    /// Checks that an id stands for the same audio as before.
    fn check_audio(&mut self, id: &str, samples: &[f32]) -> Result<()> {
        let mut hasher = DefaultHasher::new();
        for sample in samples {
            hasher.write_u32(sample.to_bits());
        }
        let hash = hasher.finish();
        match self.heard.insert(id.to_owned(), hash) {
            Some(earlier) if earlier != hash => Err(format!(
                "two different utterances are called `{}`, so one would get the other's labels; \
                 make the ids of the manifest unique",
                printable(id)
            )
            .into()),
            _ => Ok(()),
        }
    }
}

impl Node for LabelFile {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let batch = step.batch(IN)?;
        let samples = column::floats_by_row(&batch, SAMPLES)?;
        let mut ids = vec![];
        let mut lengths = vec![];
        for (id, samples) in column::texts(&batch, ID)?.iter().zip(samples) {
            let id = id.unwrap_or_default();
            if self.labels.is_some() && self.units == Units::Frames {
                self.check_audio(id, samples)?;
            }
            ids.push(id);
            lengths.push(samples.len());
        }
        let mut rows = vec![];
        for (id, samples) in ids.iter().zip(lengths) {
            rows.push(self.row(id, samples)?);
        }
        let rows = ids.into_iter().zip(rows.iter().map(|row| &row[..]));
        step.send(OUT, Value::Batch(labels::rows(rows)?));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stands_for_one_utterance() {
        let mut node = LabelFile {
            labels: Some(Labels::new()),
            file: String::new(),
            units: Units::Frames,
            heard: HashMap::new(),
        };
        let mut check = |id: &str, samples: &[f32]| node.check_audio(id, samples);
        assert!(check("a", &[0.5, 0.25]).is_ok());
        assert!(check("b", &[0.25, 0.5]).is_ok());
        assert!(check("a", &[0.5, 0.25]).is_ok(), "the next epoch");
        let error = check("a", &[0.25, 0.5]).expect_err("another utterance");
        assert!(
            error
                .to_string()
                .starts_with("two different utterances are called `a`")
        );
    }
}
