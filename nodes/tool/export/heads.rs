//! The heads of a heads.safetensors, for an upstream that returns their outputs.
use crate::Result;
use crate::data::error::{PathContext, error_at};
use crate::data::file::{FileMetadata, Loaded, Tensor, Tensors};
use crate::model::Architecture;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;

/// The key of the metadata for the layers of each head, as JSON.
const GROUPS: &str = "groups";

pub(super) struct Heads {
    /// The layers that each head reads.
    pub(super) groups: Vec<Vec<usize>>,
    tensors: Loaded,
}

impl Heads {
    /// Reads the heads of a model.
    ///
    /// # Errors
    /// The file cannot be read, does not say which layers its heads read, or its heads are not for
    /// layers of this model.
    pub(super) fn read(path: &Path, a: &Architecture) -> Result<Heads> {
        let file = Tensors::read(path)?;
        let Some(groups) = file.metadata.get(GROUPS) else {
            let message = "its metadata have no `groups`, the layers that each head reads";
            return Err(error_at(path, message));
        };
        let groups: Vec<Vec<usize>> = serde_json::from_str(groups).at(path)?;
        let heads = Heads {
            groups,
            tensors: file.floats,
        };
        heads.check(a).at(path)?;
        Ok(heads)
    }

    fn check(&self, a: &Architecture) -> Result<(), String> {
        let mut known = BTreeSet::new();
        for (group, layers) in self.groups.iter().enumerate() {
            let form = self.form(group)?;
            known.extend(form.iter().map(|name| format!("{group}.{name}")));
            let Some((shape, _)) = form
                .first()
                .map(|name| &self.tensors[&format!("{group}.{name}")])
            else {
                return Err(format!("head {group} has no tensor"));
            };
            let from = shape.last().copied().unwrap_or(0);
            for &layer in layers {
                if layer > a.num_hidden_layers {
                    let deepest = a.num_hidden_layers;
                    return Err(format!(
                        "head {group} reads layer {layer}, but the model has 0 to {deepest}"
                    ));
                }
                let width = a.layer_width(layer);
                if width != from {
                    return Err(format!(
                        "head {group} reads {from} channels, but layer {layer} has {width}"
                    ));
                }
            }
        }
        match self.tensors.keys().find(|name| !known.contains(*name)) {
            Some(name) => Err(format!("the tensor `{name}` is of no head that is known")),
            None => Ok(()),
        }
    }

    /// Lists the tensors of a head, the one that reads its layer first.
    fn form(&self, group: usize) -> Result<Vec<String>, String> {
        let has = |name: &str| self.tensors.contains_key(&format!("{group}.{name}"));
        let mut names: Vec<String> = vec![];
        if has("expand.weight") {
            names.extend(["expand.weight", "expand.bias"].map(str::to_owned));
            let mut target = 0;
            while has(&format!("targets.{target}.weight")) {
                names.push(format!("targets.{target}.weight"));
                names.push(format!("targets.{target}.bias"));
                target += 1;
            }
        } else {
            if has("upsample.weight") {
                names.extend(["upsample.weight", "upsample.bias"].map(str::to_owned));
            }
            names.extend(["weight", "bias"].map(str::to_owned));
        }
        match names.iter().find(|name| !has(name)) {
            Some(name) => Err(format!("head {group} has no `{group}.{name}`")),
            None => Ok(names),
        }
    }

    /// Returns sentences on layers whose meaning depends on the convention of the graph.
    pub(super) fn caveats(&self, a: &Architecture) -> Vec<String> {
        let reads = |layer: usize| self.groups.iter().flatten().any(|l| *l == layer);
        let last = a.num_hidden_layers;
        let mut caveats = vec![];
        if reads(0) {
            caveats.push(
                "the head of layer 0 reads the input of layer 1 (convention hf); a head that was \
                 trained with convention torchaudio expects the feature projection's output"
                    .to_owned(),
            );
        }
        if a.do_stable_layer_norm && reads(last) {
            caveats.push(format!(
                "the head of layer {last} reads it behind the final norm (convention hf)"
            ));
        }
        caveats
    }

    /// Returns the tensors to write.
    pub(super) fn tensors(&self) -> Vec<Tensor<'_>> {
        let tensors = self.tensors.iter();
        tensors
            .map(|(name, (shape, values))| {
                (name.clone(), shape.clone(), Cow::from(values.as_slice()))
            })
            .collect()
    }

    /// Returns the metadata to write.
    pub(super) fn metadata(&self) -> FileMetadata {
        let groups = serde_json::json!(self.groups).to_string();
        [(GROUPS.to_owned(), groups)].into()
    }
}
