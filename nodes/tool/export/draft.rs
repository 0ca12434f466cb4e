//! A model that is being rewritten: its architecture, and tensors that need not fit it yet.
use crate::Result;
use crate::model::{Architecture, HUGGING_FACE_EPSILON, Model, Weights};
use compute::op::PackedWeights;
use compute::tensor::{param, read};
use std::collections::BTreeMap;

/// Names of tensors of the feature projection.
pub(super) const NORM_WEIGHT: &str = "feature_projection.layer_norm.weight";
pub(super) const PROJECTION_WEIGHT: &str = "feature_projection.projection.weight";

/// A tensor's shape and values.
pub(super) type Values = (Vec<usize>, Vec<f32>);

pub(super) struct Draft {
    pub(super) architecture: Architecture,
    pub(super) tensors: BTreeMap<String, Values>,
    normalize: bool,
}

impl Draft {
    pub(super) fn new(model: &Model) -> Draft {
        let architecture = model.architecture.clone();
        let tensors = architecture.tensors().into_iter().map(|(name, shape)| {
            let values = read(model.weights.get(&name)).into();
            (name, (shape, values))
        });
        Draft {
            tensors: tensors.collect(),
            architecture,
            normalize: model.normalize,
        }
    }

    /// Inserts or replaces a tensor.
    pub(super) fn set(&mut self, name: &str, shape: &[usize], values: Vec<f32>) {
        debug_assert_eq!(shape.iter().product::<usize>(), values.len(), "{name}");
        self.tensors
            .insert(name.to_owned(), (shape.to_vec(), values));
    }

    /// Enlarges a tensor: each dimension's entries go to their `places`, zeros fill the rest. A
    /// tensor that is missing becomes zeros.
    pub(super) fn enlarge(&mut self, name: &str, shape: &[usize], places: &[Vec<usize>]) {
        let mut enlarged = vec![0.0; shape.iter().product()];
        if let Some((_, values)) = self.tensors.get(name) {
            for (i, value) in values.iter().enumerate() {
                enlarged[place(i, shape, places)] = *value;
            }
        }
        self.set(name, shape, enlarged);
    }

    /// Builds the model, and drops tensors that its architecture does not have.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub(super) fn finish(mut self) -> Result<Model> {
        let mut weights = BTreeMap::new();
        for (name, shape) in self.architecture.tensors() {
            let Some((found, values)) = self.tensors.remove(&name) else {
                return Err(
                    format!("the form needs `{name}`, which the model does not have").into(),
                );
            };
            if found != shape {
                return Err(format!("`{name}` is {found:?}, but the form needs {shape:?}").into());
            }
            weights.insert(name, param(values));
        }
        Ok(Model {
            architecture: self.architecture,
            weights: Weights(weights),
            normalize: self.normalize,
            normalize_epsilon: HUGGING_FACE_EPSILON,
            cmvn: None,
            packed: PackedWeights::default(),
        })
    }
}

/// Returns the index in a tensor of `shape` of the entry with the flat index `i` before, whose
/// coordinate in dimension d goes to `places[d]`.
fn place(mut i: usize, shape: &[usize], places: &[Vec<usize>]) -> usize {
    let mut index = 0;
    let mut stride = 1;
    for (size, places) in shape.iter().zip(places).rev() {
        index += stride * places[i % places.len()];
        i /= places.len();
        stride *= size;
    }
    index
}

/// Returns the places of entries that keep their numbers.
pub(super) fn first(count: usize) -> Vec<usize> {
    (0..count).collect()
}
