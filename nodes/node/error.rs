//! What is wrong with an option.
use std::fmt::Display;
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

    /// Builds the error "option `option`: message" at the option.
    pub fn option(option: &str, message: impl Display) -> OptionError {
        OptionError::element(option, option, message)
    }

    /// Builds the error "option `option`: message" at a dotted path, usually of an element of the
    /// option.
    pub fn element(path: &str, option: &str, message: impl Display) -> OptionError {
        OptionError::at(path, format!("option `{option}`: {message}"))
    }

    /// Builds the error "input `port`: message" at the input.
    pub fn input(port: &str, message: impl Display) -> OptionError {
        OptionError::at(
            &format!("inputs.{port}"),
            format!("input `{port}`: {message}"),
        )
    }

    /// Returns the error "option `option`: message" unless `holds`.
    pub fn unless(holds: bool, option: &str, message: impl Display) -> Option<OptionError> {
        (!holds).then(|| OptionError::option(option, message))
    }

    /// Returns an error if a number is outside of its range.
    pub fn outside(option: &str, n: usize, range: RangeInclusive<usize>) -> Option<OptionError> {
        let message = format!("{n} is not from {} to {}", range.start(), range.end());
        OptionError::unless(range.contains(&n), option, message)
    }

    /// Fails with the errors if there are any.
    pub fn fail_if_any(errors: Vec<OptionError>) -> Result<(), Vec<OptionError>> {
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }
}
