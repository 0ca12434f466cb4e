//! The file of heads.
use super::Groups;
use super::forms::{Head, HeadTensor, TensorPlan};
use crate::Result;
use crate::data::error::error_at;
use crate::data::file;
use compute::tensor::{param, read};
use serde_json::json;
use std::path::{Path, PathBuf};

/// The key of the metadata for the layers of each head, as JSON.
const GROUPS: &str = "groups";

/// A heads.safetensors that is read.
pub(super) struct HeadsFile {
    path: PathBuf,
    tensors: file::Loaded,
}

impl HeadsFile {
    /// Reads the file.
    ///
    /// # Errors
    /// The file cannot be read or, if it says which groups its heads are for, they are other groups.
    pub(super) fn open(path: PathBuf, groups: &Groups) -> Result<HeadsFile> {
        let tensors = file::load(&path)?;
        let metadata = file::metadata(&path)?;
        let expected = json!(groups).to_string();
        if metadata.get(GROUPS).is_some_and(|found| *found != expected) {
            let message = format!("its maps are not for the groups {groups:?}");
            return Err(error_at(&path, message));
        }
        Ok(HeadsFile { path, tensors })
    }

    /// Takes the tensors of the head of a group out.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub(super) fn head(&mut self, layers: Vec<usize>, plans: Vec<TensorPlan>) -> Result<Head> {
        let mut tensors = vec![];
        for plan in plans {
            let name = &plan.name;
            let Some((found, values)) = self.tensors.remove(name) else {
                return Err(error_at(&self.path, format!("there is no tensor `{name}`")));
            };
            if found != plan.shape {
                let message = format!("`{name}` is {found:?}, not {:?}", plan.shape);
                return Err(error_at(&self.path, message));
            }
            tensors.push(HeadTensor {
                plan,
                weight: param(values),
            });
        }
        Ok(Head { layers, tensors })
    }
}

/// Writes heads.
pub(super) fn save(path: &Path, heads: &[Head]) -> Result<()> {
    let groups: Vec<_> = heads.iter().map(|head| &head.layers).collect();
    let metadata = [(GROUPS.to_owned(), json!(groups).to_string())].into();
    let tensors: Vec<_> = heads
        .iter()
        .flat_map(|head| &head.tensors)
        .map(|tensor| {
            let plan = &tensor.plan;
            (plan.name.clone(), plan.shape.clone(), read(&tensor.weight))
        })
        .collect();
    file::save(path, &tensors, metadata)
}
