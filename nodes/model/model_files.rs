//! The files of a model that this program reads.
use super::checkpoint::open_file;
use super::formats::{describing_files, is_diarizen_folder};
use super::{CMVN_FILE, Normalization, label_head_path, weight_paths};
use crate::data::read_files::ReadFiles;
use std::path::{Path, PathBuf};

/// Returns the paths of the files that determine the hidden states of a model, those that exist.
fn encoder_files(model: &Path) -> Vec<PathBuf> {
    if model.is_file() {
        let mut paths = vec![model.to_owned()];
        paths.extend(files_beside(model));
        return paths;
    }
    let mut paths = vec![model.join("config.json"), model.join(CMVN_FILE)];
    if is_diarizen_folder(model) {
        paths.extend(describing_files(model));
    }
    paths.extend(weight_paths(model));
    paths.extend(Normalization::file(model).map(|name| model.join(name)));
    paths.retain(|path| path.exists());
    paths
}

/// Returns the files beside a checkpoint that are read with it: a recipe, statistics.
fn files_beside(checkpoint: &Path) -> Vec<PathBuf> {
    let mut read_files = ReadFiles::default();
    // A file that cannot be opened is named when the model is loaded.
    let _ = open_file(checkpoint, &mut read_files);
    let others = read_files.paths().filter(|path| *path != checkpoint);
    others.map(Path::to_owned).collect()
}

/// Returns the files that determine the hidden states of a model, each with a name that stays when
/// the model is moved.
pub fn named_encoder_files(model: &Path) -> Vec<(String, PathBuf)> {
    let name = |path: &Path| {
        let of_file = |part: Option<&std::ffi::OsStr>| {
            part.unwrap_or_default().to_string_lossy().into_owned()
        };
        let is_inside = !model.is_file() && path.parent() == Some(model);
        if is_inside {
            of_file(path.file_name())
        } else if path == model {
            "checkpoint".to_owned()
        } else {
            format!("beside.{}", of_file(path.extension()))
        }
    };
    let files = encoder_files(model).into_iter();
    files.map(|path| (name(&path), path)).collect()
}

/// Returns the paths of all files that are read of a model, those that exist: the encoder's and the
/// label head's. Of another file, that file.
pub fn model_files(model: &Path) -> Vec<PathBuf> {
    let mut paths = encoder_files(model);
    if !model.is_file() {
        paths.push(label_head_path(model));
    }
    paths.retain(|path| path.exists());
    paths
}
