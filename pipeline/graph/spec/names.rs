//! Names of graphs, phases and nodes.
use crate::graph::problem::{Location, Problems};

/// Checks the form of a name of a graph, phase or node.
pub(super) fn check_name(name: &str, location: &Location, problems: &mut Problems) {
    let is_alphanumeric = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let valid = name.len() <= 100
        && name.bytes().next().is_some_and(is_alphanumeric)
        && name
            .bytes()
            .all(|c| is_alphanumeric(c) || c == b'_' || c == b'-');
    if !valid {
        problems.add(
            location,
            "a name is made of a-z, 0-9, `_` and `-`, begins with a letter or a digit, and is at \
             most 100 long",
        );
    }
}

/// Checks that the folder of a phase or node is not the run's folder of checkpoints.
pub(super) fn check_not_checkpoint(
    what: &str,
    name: &str,
    location: &Location,
    problems: &mut Problems,
) {
    if name == "checkpoint" {
        problems.add(
            location,
            format!(
                "no {what} is called `checkpoint`: a run keeps its checkpoints in a folder of \
                 this name"
            ),
        );
    }
}
