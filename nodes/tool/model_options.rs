//! How a command opens the model that it is given.
use crate::Result;
use crate::data::error::error_at;
use crate::model::{FrontEnd, Model, UnknownKeys};
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
    ///
    /// # Errors
    /// It cannot be read, or it takes no normalised waveforms.
    pub(super) fn load(&self, path: &Path) -> Result<Model> {
        let unknown = UnknownKeys::Refuse {
            except: &self.ignore_keys,
        };
        let mut model = Model::load(path, unknown)?;
        if let Some(normalize) = self.normalize {
            if normalize && model.architecture.front_end != FrontEnd::Waveform {
                let message =
                    "reads log-mel frames of waveforms as they are: `--normalize` is false";
                return Err(error_at(path, message));
            }
            model.normalize = normalize;
        }
        Ok(model)
    }
}
