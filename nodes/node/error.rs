//! What is wrong with an option.
use std::ops::RangeInclusive;

/// A wrong option: its path below the node (keys and indices), and a sentence.
#[derive(Debug)]
pub struct OptionError {
    pub path: Vec<String>,
    pub message: String,
}

impl OptionError {
    /// Builds an error at a dotted path (`layers`, `terms.0.weight`); an empty path is the node.
    pub fn at(path: &str, message: impl Into<String>) -> OptionError {
        let keys = path.split('.').filter(|key| !key.is_empty());
        OptionError {
            path: keys.map(str::to_owned).collect(),
            message: message.into(),
        }
    }

    /// Returns an error if a number is outside of its range.
    pub fn outside(option: &str, n: usize, range: RangeInclusive<usize>) -> Option<OptionError> {
        if range.contains(&n) {
            return None;
        }
        let (low, high) = range.into_inner();
        Some(OptionError::at(
            option,
            format!("option `{option}`: {n} is not from {low} to {high}"),
        ))
    }
}
