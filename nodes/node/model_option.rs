//! Where a node's model comes from: a folder, an earlier phase of the same file, or an architecture alone.
use crate::Result;
use crate::model::{Architecture, Model, read_architecture};
use crate::node::port::{self, Shapes};
use crate::node::{NodeContext, OptionError, PhaseOutputs};
use compute::random::Key;
use serde_json::Value as Json;

/// The two options, and what the first is called (`model`, `init`).
pub struct ModelOption<'a> {
    pub option: &'static str,
    pub folder: Option<&'a str>,
    pub architecture: Option<&'a Json>,
}

/// What is known of a model before it is opened.
#[derive(Clone, Debug)]
pub struct PlannedModel {
    pub architecture: Architecture,
    /// An earlier phase decides: these are the numbers at its target sparsity.
    pub estimated: bool,
    /// Where to look for it when the graph runs.
    pub reads: Option<String>,
}

impl ModelOption<'_> {
    /// What the option `architecture` makes of a folder's.
    fn overridden(
        &self,
        under: Option<&Architecture>,
    ) -> Result<Option<Architecture>, OptionError> {
        self.architecture
            .map(|option| Architecture::from_option(option, under))
            .transpose()
    }

    pub fn known(&self, phase_outputs: &PhaseOutputs) -> Result<PlannedModel, OptionError> {
        let option = |under| self.overridden(under);
        let Some(folder) = self.folder else {
            let none = || {
                OptionError::at(
                    "",
                    format!("needs the option `{}` or `architecture`", self.option),
                )
            };
            return Ok(PlannedModel {
                architecture: option(None)?.ok_or_else(none)?,
                estimated: false,
                reads: None,
            });
        };
        if let Some(earlier) = folder.strip_prefix("$OUT/") {
            let (own, estimated) = phase_outputs.model(earlier).ok_or_else(|| {
                let there: Vec<_> = phase_outputs
                    .model_names()
                    .map(|k| format!("`$OUT/{k}`"))
                    .collect();
                let there = if there.is_empty() {
                    "none does".to_owned()
                } else {
                    format!("there is {}", there.join(", "))
                };
                OptionError::at(
                    self.option,
                    format!(
                        "option `{}`: no student of an earlier phase writes `{folder}`; {there}",
                        self.option
                    ),
                )
            })?;
            let architecture = option(Some(own))?.unwrap_or_else(|| own.clone());
            return Ok(PlannedModel {
                architecture,
                estimated,
                reads: None,
            });
        }
        let path = std::path::Path::new(folder);
        if path.exists() {
            let own = read_architecture(path).map_err(|e| {
                OptionError::at(self.option, format!("option `{}`: {e}", self.option))
            })?;
            let architecture = option(Some(&own))?.unwrap_or(own);
            let weights = format!("{}/model.safetensors", folder.trim_end_matches('/'));
            return Ok(PlannedModel {
                architecture,
                estimated: false,
                reads: Some(weights),
            });
        }
        let gone = || {
            let says = format!(
                "option `{}`: there is no folder `{folder}`{}, and no `architecture` says what to count",
                self.option,
                crate::data::file::hint(folder)
            );
            OptionError::at(self.option, says)
        };
        Ok(PlannedModel {
            architecture: option(None)?.ok_or_else(gone)?,
            estimated: false,
            reads: Some(folder.to_owned()),
        })
    }

    /// The architecture as it stands when the phase begins.
    pub fn architecture_at(&self, context: &NodeContext) -> Result<Architecture> {
        let own = match self.folder {
            Some(text) if !context.run.bench || context.path(text).exists() => {
                Some(read_architecture(&context.path(text))?)
            }
            Some(text) => {
                let earlier = text
                    .strip_prefix("$OUT/")
                    .and_then(|key| context.run.phase_outputs.model(key));
                earlier.map(|(architecture, _)| architecture.clone())
            }
            None => None,
        };
        let there = self
            .overridden(own.as_ref())
            .map_err(|w| w.message)?
            .or(own);
        Ok(there.ok_or("there is neither a model folder nor an `architecture`")?)
    }

    /// Opens the folder; draws random weights where none is named, or where `bench` does without it.
    pub fn open(&self, context: &NodeContext, key: Key) -> Result<Model> {
        let architecture = self.architecture_at(context)?;
        match self.folder.map(|text| context.path(text)) {
            Some(folder) if folder.exists() => Model::load(&folder, Some(&architecture)),
            _ => Ok(Model::random(&architecture, key)),
        }
    }
}

/// What is wrong with the option `layers` of a teacher or student.
pub fn layers_wrong(layers: &[usize], a: &Architecture) -> Result<(), Vec<OptionError>> {
    let (mut wrong, deepest) = (vec![], a.num_hidden_layers);
    if layers.is_empty() {
        wrong.push(OptionError::at("layers", "option `layers`: names no layer"));
    }
    for (i, layer) in layers.iter().enumerate() {
        let mut add = |says: String| {
            wrong.push(OptionError::at(
                &format!("layers.{i}"),
                format!("option `layers`: {says}"),
            ))
        };
        if *layer > deepest {
            add(format!(
                "there is no layer {layer}, the model has 0 to {deepest}"
            ));
        } else if layers[..i].contains(layer) {
            add(format!("layer {layer} stands in it twice"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// What is wrong with the input `mask` of a teacher or student.
pub fn mask_wrong(inputs: &Shapes, a: &Architecture) -> Result<(), Vec<OptionError>> {
    let wrong = a
        .mask_wrong()
        .filter(|_| inputs.contains_key(port::MASK.name));
    wrong.map_or(Ok(()), |says| {
        Err(vec![OptionError::at(
            "inputs.mask",
            format!("input `mask`: {says}"),
        )])
    })
}
