//! The files of a model folder that this program reads.
use super::{CMVN_FILE, Normalization, label_head_path, weight_paths};
use std::path::{Path, PathBuf};

/// Returns the paths of the files that determine the hidden states of a model folder, those that
/// exist.
pub fn encoder_files(folder: &Path) -> Vec<PathBuf> {
    let mut paths = vec![folder.join("config.json"), folder.join(CMVN_FILE)];
    paths.extend(weight_paths(folder));
    paths.extend(Normalization::file(folder).map(|name| folder.join(name)));
    paths.retain(|path| path.exists());
    paths
}

/// Returns the paths of all files that are read of a model folder, those that exist: the encoder's
/// and the label head's.
pub fn model_files(folder: &Path) -> Vec<PathBuf> {
    let mut paths = encoder_files(folder);
    paths.push(label_head_path(folder));
    paths.retain(|path| path.exists());
    paths
}
