//! What nodes leave in their folders for later phases, as a plan knows it.
use crate::model::{Architecture, Numbering};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a node leaves for later phases.
#[derive(Clone, Debug)]
pub enum Artifact {
    /// A model folder. `estimated`: its widths are decided while it is pruned.
    Model {
        architecture: Box<Architecture>,
        estimated: bool,
    },
    /// Projection heads: the groups of layers that share one.
    Heads {
        groups: Vec<Vec<usize>>,
        /// Names and shapes.
        tensors: Vec<(String, Vec<usize>)>,
    },
    /// The weights of a head that trains: names and shapes of its tensors.
    Head { tensors: Vec<(String, Vec<usize>)> },
    /// Centroids of clusters.
    Centroids { clusters: usize, width: usize },
    /// Codebooks of a teacher's layers.
    Codebooks {
        layers: Vec<usize>,
        width: usize,
        books: usize,
    },
    /// Mean and standard deviation of log-mel frames.
    Cmvn { bins: usize },
    /// Labels of frames; the number of classes, if it is known.
    Labels {
        classes: Option<usize>,
        numbering: Numbering,
    },
}

impl Artifact {
    /// Returns whether it is what a phase with an optimizer alone leaves: the weights of heads.
    pub fn is_head(&self) -> bool {
        matches!(self, Artifact::Heads { .. } | Artifact::Head { .. })
    }
}

/// What the phases of a graph file leave, by `phase/node`.
#[derive(Default)]
pub struct PhaseOutputs(pub BTreeMap<String, Artifact>);

impl PhaseOutputs {
    /// Returns the model that `phase/node` leaves, and whether its widths are an estimate.
    pub fn model(&self, owner: &str) -> Option<(&Architecture, bool)> {
        match self.0.get(owner)? {
            Artifact::Model {
                architecture,
                estimated,
            } => Some((architecture, *estimated)),
            _ => None,
        }
    }

    /// Returns the names, `phase/node`, of all models.
    pub fn model_names(&self) -> impl Iterator<Item = &str> {
        let models = self
            .0
            .iter()
            .filter(|(_, a)| matches!(a, Artifact::Model { .. }));
        models.map(|(name, _)| name.as_str())
    }
}

/// What the path of a file or folder of the run begins with.
const RUN_FOLDER: &str = "$OUT/";

/// Returns the path that the text of an option names: below the run's folder where it begins with
/// `$OUT/`, else as it stands, relative to the working directory.
pub fn path_in_run(text: &str, run: &Path) -> PathBuf {
    match text.strip_prefix(RUN_FOLDER) {
        Some(rest) => run.join(rest),
        None => text.into(),
    }
}

/// Returns the `phase/node` whose folder a path names, `$OUT/phase/node`; `None` for paths outside
/// of the run.
pub fn folder_owner(path: &str) -> Option<&str> {
    Some(path.strip_prefix(RUN_FOLDER)?.trim_end_matches('/'))
}

/// Returns the `phase/node` that leaves the file at this path, `$OUT/phase/node/file`; `None` for
/// other paths.
pub fn artifact_owner<'a>(path: &'a str, file: &str) -> Option<&'a str> {
    path.strip_prefix(RUN_FOLDER)?
        .strip_suffix(file)?
        .strip_suffix('/')
}
