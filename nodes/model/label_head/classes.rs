//! Which classes a head has, and what their numbers mean.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which rows of the label embeddings are classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Classes {
    /// All, those of special symbols too.
    Rows,
    /// Those of clusters, in the order of the dictionary.
    #[default]
    Clusters,
}

/// Which numbers the classes of labels and logits have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Numbering {
    /// Those of what the logits are trained against, whatever these are.
    Learned,
    /// Those of clusters.
    Clusters,
    /// Rows of label embeddings, of which this many are special symbols before the clusters.
    Rows { special: usize },
}

impl Numbering {
    /// Whether labels or logits of both numberings may meet.
    pub fn agrees_with(self, other: Numbering) -> bool {
        self == other || self == Numbering::Learned || other == Numbering::Learned
    }
}

impl fmt::Display for Numbering {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Numbering::Learned => f.write_str("as they are learned"),
            Numbering::Clusters => f.write_str("as clusters"),
            Numbering::Rows { special } => {
                write!(
                    f,
                    "as rows of label embeddings, the first {special} of which are special"
                )
            }
        }
    }
}

/// The classes of a head.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadClasses {
    pub count: usize,
    pub numbering: Numbering,
}
