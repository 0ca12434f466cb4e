//! The file of heads.
use super::Groups;
use super::forms::{Head, HeadTensor, TensorPlan};
use crate::Result;
use crate::data::error::error_at;
use crate::data::file::{self, FileMetadata};
use compute::tensor::param;
use serde_json::json;
use std::path::PathBuf;

/// The key of the metadata for the layers of each head, as JSON.
const GROUPS: &str = "groups";

/// A heads.safetensors that is read.
pub(super) struct HeadsFile {
    tensors: file::Tensors,
}

impl HeadsFile {
    /// Reads the file.
    ///
    /// # Errors
    /// The file cannot be read or, if it says which groups its heads are for, they are other groups.
    pub(super) fn open(path: PathBuf, groups: &Groups) -> Result<HeadsFile> {
        let tensors = file::Tensors::read(&path)?;
        let expected = json!(groups).to_string();
        let found = tensors.metadata.get(GROUPS);
        if found.is_some_and(|found| *found != expected) {
            let message = format!("its maps are not for the groups {groups:?}");
            return Err(error_at(&path, message));
        }
        Ok(HeadsFile { tensors })
    }

    /// Takes the tensors of the head of a group out.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub(super) fn head(&mut self, layers: Vec<usize>, plans: Vec<TensorPlan>) -> Result<Head> {
        let mut tensors = vec![];
        for plan in plans {
            let values = self.tensors.take(&plan.name, &plan.shape)?;
            tensors.push(HeadTensor {
                plan,
                weight: param(values),
            });
        }
        Ok(Head { layers, tensors })
    }
}

/// Returns the metadata of a file of heads for these layers each.
pub(super) fn groups_metadata<'a>(groups: impl Iterator<Item = &'a Vec<usize>>) -> FileMetadata {
    let groups: Vec<_> = groups.collect();
    [(GROUPS.to_owned(), json!(groups).to_string())].into()
}
