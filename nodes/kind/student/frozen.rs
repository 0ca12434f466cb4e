//! The weights of a student that stand still: no gradient, no decay, no place in the optimizer.
use crate::data::suggestion::suggestion;
use crate::model::Architecture;
use crate::node::OptionError;
use std::collections::BTreeSet;

/// The option `frozen`: what the names of tensors that stand still begin with.
#[derive(Clone, Copy)]
pub(super) struct Frozen<'a>(pub(super) &'a [String]);

impl Frozen<'_> {
    pub(super) fn holds(self, tensor: &str) -> bool {
        self.0.iter().any(|prefix| tensor.starts_with(prefix))
    }

    /// Whether no tensor of the extractor is trained.
    pub(super) fn holds_extractor(self, architecture: &Architecture) -> bool {
        let tensors = architecture.tensors().into_iter();
        tensors
            .filter(|(name, _)| name.starts_with("feature_extractor."))
            .all(|(name, _)| self.holds(&name))
    }

    /// Returns an error for each prefix that no tensor has.
    pub(super) fn errors(self, architecture: &Architecture) -> Vec<OptionError> {
        let tensors = architecture.tensors();
        let mut errors = vec![];
        for (i, prefix) in self.0.iter().enumerate() {
            if tensors.iter().any(|(name, _)| name.starts_with(prefix)) {
                continue;
            }
            let mut known = BTreeSet::new();
            for (name, _) in &tensors {
                let dots = name.match_indices('.').map(|(dot, _)| &name[..=dot]);
                known.extend(dots.chain([name.as_str()]));
            }
            let hint = suggestion(prefix, known);
            errors.push(OptionError::element(
                &format!("frozen.{i}"),
                "frozen",
                format!("no tensor of the model begins with `{prefix}`{hint}"),
            ));
        }
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_name_tensors() {
        let base = Architecture::named("hubert-base").expect("known");
        let frozen = ["feature_extractor.", "encoder.layers.1."].map(str::to_owned);
        let frozen = Frozen(&frozen);
        assert!(frozen.errors(&base).is_empty());
        assert!(frozen.holds_extractor(&base));
        assert!(frozen.holds("encoder.layers.1.attention.q_proj.weight"));
        assert!(!frozen.holds("encoder.layers.10.attention.q_proj.weight"));
        let misspelt = ["feature_extractr.", "zzz"].map(str::to_owned);
        let errors = Frozen(&misspelt).errors(&base);
        assert_eq!(
            errors[0].message,
            "option `frozen`: no tensor of the model begins with `feature_extractr.`; did you mean \
             `feature_extractor.`?"
        );
        assert_eq!(
            errors[1].message,
            "option `frozen`: no tensor of the model begins with `zzz`"
        );
    }
}
