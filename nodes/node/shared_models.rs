//! Frozen models of a phase, so that nodes of equal models share one copy of the weights.
//!
//! On a GPU a tensor belongs to the thread that made it, so that there each node has a copy.
use crate::Result;
use crate::data::read_files::ReadFiles;
use crate::model::Model;
use crate::node::shared_features::SharedFeatures;
#[cfg(not(feature = "cuda"))]
use std::collections::BTreeMap;
use std::sync::Arc;
#[cfg(not(feature = "cuda"))]
use std::sync::{Mutex, PoisonError};

/// A model and the files that it was loaded from.
type Loaded = (Model, ReadFiles);

/// A model that several nodes may have.
#[derive(Clone)]
pub struct SharedModel {
    pub model: Model,
    /// The files that it was loaded from.
    pub read_files: ReadFiles,
    pub features: Arc<SharedFeatures>,
}

impl SharedModel {
    fn new((model, read_files): Loaded) -> SharedModel {
        SharedModel {
            model,
            read_files,
            features: Arc::default(),
        }
    }
}

/// The models that the nodes of a phase have opened.
#[derive(Default)]
pub struct SharedModels {
    #[cfg(not(feature = "cuda"))]
    opened: Mutex<BTreeMap<String, SharedModel>>,
}

impl SharedModels {
    /// Returns the model that was opened under `key`, or opens it: once, also if several threads
    /// ask at the same time.
    #[cfg(not(feature = "cuda"))]
    pub fn open(&self, key: String, open: impl FnOnce() -> Result<Loaded>) -> Result<SharedModel> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = opened.get(&key) {
            return Ok(loaded.clone());
        }
        let loaded = SharedModel::new(open()?);
        opened.insert(key, loaded.clone());
        Ok(loaded)
    }

    /// Opens the model.
    #[cfg(feature = "cuda")]
    pub fn open(&self, _: String, open: impl FnOnce() -> Result<Loaded>) -> Result<SharedModel> {
        Ok(SharedModel::new(open()?))
    }
}

#[cfg(all(test, not(feature = "cuda")))]
mod tests {
    use super::*;
    use crate::model::Architecture;
    use compute::random::Key;
    use compute::tensor::read;

    #[test]
    fn equal_keys_share_the_weights() {
        let small = Architecture {
            conv_dim: vec![4; 7],
            hidden_size: 8,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            intermediate_size: 6,
            num_conv_pos_embeddings: 4,
            num_conv_pos_embedding_groups: 2,
            ..Architecture::default()
        };
        let models = SharedModels::default();
        let open = |key: &str, seed: u64| {
            let drawn = || {
                let model = Model::random(&small, Key::new(seed, &["weights"]));
                Ok((model, ReadFiles::default()))
            };
            models.open(key.into(), drawn).expect("a model").model
        };
        let name = "encoder.layer_norm.weight";
        let first = open("a", 1);
        let again = open("a", 2);
        let other = open("b", 2);
        let place = |model: &Model| read(model.weights.get(name)).as_ptr();
        assert_eq!(place(&first), place(&again));
        assert_ne!(place(&first), place(&other));
    }
}
