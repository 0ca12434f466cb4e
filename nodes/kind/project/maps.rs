//! The maps of groups of layers, and the file that they are read from.
use super::{GROUPS, Groups};
use crate::Result;
use crate::data::error::error_at;
use crate::data::file;
use compute::tensor::{Param, param};
use serde_json::json;
use std::path::PathBuf;

/// The map of a group of layers.
pub(super) struct LinearMap {
    pub(super) layers: Vec<usize>,
    /// (out, in)
    pub(super) weight: Param,
    pub(super) bias: Param,
}

/// A heads.safetensors.
pub(super) struct MapFile {
    tensors: file::Tensors,
}

impl MapFile {
    /// Reads the file.
    ///
    /// # Errors
    /// The file cannot be read or, if it says which groups its maps are for, they are other groups.
    pub(super) fn open(path: PathBuf, groups: &Groups) -> Result<MapFile> {
        let tensors = file::Tensors::read(&path)?;
        let expected = json!(groups).to_string();
        if tensors
            .metadata
            .get(GROUPS)
            .is_some_and(|found| *found != expected)
        {
            let message = format!("its maps are not for the groups {groups:?}");
            return Err(error_at(&path, message));
        }
        Ok(MapFile { tensors })
    }

    /// Returns the maps from width `from` to width `to`.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub(super) fn maps(mut self, groups: Groups, from: usize, to: usize) -> Result<Vec<LinearMap>> {
        let mut maps = vec![];
        for (g, layers) in groups.into_iter().enumerate() {
            maps.push(LinearMap {
                layers,
                weight: self.take(&format!("{g}.weight"), &[to, from])?,
                bias: self.take(&format!("{g}.bias"), &[to])?,
            });
        }
        Ok(maps)
    }

    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Param> {
        Ok(param(self.tensors.take(name, shape)?))
    }
}
