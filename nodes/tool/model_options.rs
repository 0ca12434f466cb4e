//! How a command opens the model that it is given.
use crate::Result;
use crate::model::{Model, UnknownKeys};
use std::path::Path;

/// What a user may say of a model beside where it is.
#[derive(Clone, Default)]
pub struct ModelOptions {
    /// Keys of config.json that are let through though they are unknown.
    pub ignore_keys: Vec<String>,
    /// Whether waveforms are normalised to zero mean and unit variance; `None`: as the model says.
    pub normalize: Option<bool>,
}

impl ModelOptions {
    /// Loads a model.
    pub(super) fn load(&self, path: &Path) -> Result<Model> {
        let unknown = UnknownKeys::Refuse {
            except: &self.ignore_keys,
        };
        let mut model = Model::load(path, unknown)?;
        model.normalize = self.normalize.unwrap_or(model.normalize);
        Ok(model)
    }
}
