//! Checks options of a student against its model and its gates.
use super::{GATES, Options};
use crate::model::Architecture;
use crate::node::OptionError;
use crate::node::port::{Shape, Shapes, shape_of};

impl Options {
    /// Returns why a layer cannot be computed again by itself, if it must be.
    pub(super) fn recompute_error(&self, architecture: &Architecture) -> Option<OptionError> {
        if self.recompute && architecture.is_lstm() {
            return Some(OptionError::option(
                "recompute",
                "is for transformer layers; the model's are an LSTM",
            ));
        }
        let mut layers = 0..architecture.num_hidden_layers;
        let reuses = self.recompute && layers.any(|layer| architecture.reuses_attention(layer));
        OptionError::unless(
            !reuses,
            "recompute",
            "a layer that uses the attention map of another cannot be computed by itself",
        )
    }

    /// Checks the options that are factors.
    pub(super) fn factor_errors(&self) -> Vec<OptionError> {
        let factors = [
            ("feature_penalty", self.feature_penalty),
            ("feature_gradient", self.feature_gradient),
        ];
        let mut errors = vec![];
        for (option, factor) in factors {
            errors.extend(OptionError::unless(
                factor >= 0.0 && factor.is_finite(),
                option,
                format!("{factor} is not a number from 0"),
            ));
        }
        errors
    }
}

/// Returns the architecture that pruning with the gates of the input is expected to leave; `None`
/// without gates.
pub(super) fn pruned_architecture(
    architecture: &Architecture,
    inputs: &Shapes,
) -> Result<Option<Architecture>, OptionError> {
    let Some(Shape::Gates(pruning)) = shape_of(inputs, GATES) else {
        return Ok(None);
    };
    if pruning.architecture.tensors() != architecture.tensors() {
        return Err(OptionError::input(
            GATES,
            "its gates are for a model of another shape than this student's",
        ));
    }
    Ok(Some(pruning.estimate()))
}
