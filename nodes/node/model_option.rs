//! Where a node's model comes from: a folder, an earlier phase of the same file, or an architecture alone.
use crate::Result;
use crate::model::{Architecture, Model, read_architecture};
use crate::node::port::{self, Shapes};
use crate::node::{Place, World, Wrong};
use compute::random::Key;
use serde_json::Value as Json;

/// The two options, and what the first is called (`model`, `init`).
pub struct Source<'a> {
    pub option: &'static str,
    pub folder: Option<&'a str>,
    pub architecture: Option<&'a Json>,
}

/// What is known of a model before it is opened.
#[derive(Clone, Debug)]
pub struct Known {
    pub architecture: Architecture,
    /// An earlier phase decides: these are the numbers at its target sparsity.
    pub estimated: bool,
    /// Where to look for it when the graph runs.
    pub reads: Option<String>,
}

impl Source<'_> {
    /// What the option `architecture` makes of a folder's.
    fn overridden(&self, under: Option<&Architecture>) -> Result<Option<Architecture>, Wrong> {
        self.architecture
            .map(|option| Architecture::from_option(option, under))
            .transpose()
    }

    pub fn known(&self, world: &World) -> Result<Known, Wrong> {
        let option = |under| self.overridden(under);
        let Some(folder) = self.folder else {
            let none = || {
                Wrong::at(
                    "",
                    format!("needs the option `{}` or `architecture`", self.option),
                )
            };
            return Ok(Known {
                architecture: option(None)?.ok_or_else(none)?,
                estimated: false,
                reads: None,
            });
        };
        if let Some(earlier) = folder.strip_prefix("$OUT/") {
            let (own, estimated) = world.models.get(earlier).cloned().ok_or_else(|| {
                let there: Vec<_> = world.models.keys().map(|k| format!("`$OUT/{k}`")).collect();
                let there = if there.is_empty() {
                    "none does".to_owned()
                } else {
                    format!("there is {}", there.join(", "))
                };
                Wrong::at(
                    self.option,
                    format!(
                        "option `{}`: no student of an earlier phase writes `{folder}`; {there}",
                        self.option
                    ),
                )
            })?;
            let architecture = option(Some(&own))?.unwrap_or(own);
            return Ok(Known {
                architecture,
                estimated,
                reads: None,
            });
        }
        let path = std::path::Path::new(folder);
        if path.exists() {
            let own = read_architecture(path)
                .map_err(|e| Wrong::at(self.option, format!("option `{}`: {e}", self.option)))?;
            let architecture = option(Some(&own))?.unwrap_or(own);
            let weights = format!("{}/model.safetensors", folder.trim_end_matches('/'));
            return Ok(Known {
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
            Wrong::at(self.option, says)
        };
        Ok(Known {
            architecture: option(None)?.ok_or_else(gone)?,
            estimated: false,
            reads: Some(folder.to_owned()),
        })
    }

    /// The architecture as it stands when the phase begins.
    pub fn architecture_at(&self, place: &Place) -> Result<Architecture> {
        let own = match self.folder {
            Some(text) if !place.bench || place.path(text).exists() => {
                Some(read_architecture(&place.path(text))?)
            }
            Some(text) => {
                let earlier = text
                    .strip_prefix("$OUT/")
                    .and_then(|key| place.world.models.get(key));
                earlier.map(|(architecture, _)| architecture.clone())
            }
            None => None,
        };
        let there = self.overridden(own.as_ref()).map_err(|w| w.says)?.or(own);
        Ok(there.ok_or("there is neither a model folder nor an `architecture`")?)
    }

    /// Opens the folder; draws random weights where none is named, or where `bench` does without it.
    pub fn open(&self, place: &Place, key: Key) -> Result<Model> {
        let architecture = self.architecture_at(place)?;
        match self.folder.map(|text| place.path(text)) {
            Some(folder) if folder.exists() => Model::load(&folder, Some(&architecture)),
            _ => Ok(Model::random(&architecture, key)),
        }
    }
}

/// What is wrong with the option `layers` of a teacher or student.
pub fn layers_wrong(layers: &[usize], a: &Architecture) -> Result<(), Vec<Wrong>> {
    let (mut wrong, deepest) = (vec![], a.num_hidden_layers);
    if layers.is_empty() {
        wrong.push(Wrong::at("layers", "option `layers`: names no layer"));
    }
    for (i, layer) in layers.iter().enumerate() {
        let mut add = |says: String| {
            wrong.push(Wrong::at(
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
pub fn mask_wrong(inputs: &Shapes, a: &Architecture) -> Result<(), Vec<Wrong>> {
    let wrong = a
        .mask_wrong()
        .filter(|_| inputs.contains_key(port::MASK.name));
    wrong.map_or(Ok(()), |says| {
        Err(vec![Wrong::at(
            "inputs.mask",
            format!("input `mask`: {says}"),
        )])
    })
}
