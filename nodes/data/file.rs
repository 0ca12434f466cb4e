//! Files and folders that appear complete or not at all: they are written under a temporary name,
//! synced and renamed.
mod floats;
mod growing;
mod hint;
mod leftovers;
mod tensors;

use crate::Result;
use crate::data::error::{PathContext, error_at};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub(crate) use floats::decode_floats;
pub use growing::create_temporary_folder;
pub(crate) use growing::{GrowingFile, GrowingFolder};
pub use hint::hint;
pub use leftovers::{remove_leftover_folders, remove_leftovers};
pub(crate) use tensors::write_tensors;
pub use tensors::{
    FileMetadata, Loaded, Tensor, TensorError, Tensors, Verified, load, metadata, save,
    tensor_names, verify,
};

/// Writes `bytes` to `path` atomically, creating its folder. Errors name `path`.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic_with(path, |file| file.write_all(bytes))
}

/// Writes what `write` puts into the file to `path` atomically, creating its folder. Errors name
/// `path`.
pub(crate) fn write_atomic_with(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<()> {
    create_parent(path)?;
    let mut growing = GrowingFile::create(path).at(path)?;
    write(growing.file()).at(path)?;
    growing.finish().at(path)
}

/// Returns where a file goes that replaces what is at `path`: to the end of a link, so that the link
/// stays. Errors name `path`.
///
/// # Errors
/// What is there is no regular file: a folder, a device or a pipe, or a link to nothing.
pub(crate) fn replaced_by_output(path: &Path) -> Result<PathBuf> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => fs::canonicalize(path).at(path),
        Ok(_) => Err(error_at(
            path,
            "is no regular file, and the whole file would be put in its place; name another",
        )),
        Err(_) if path.is_symlink() => Err(error_at(path, "is a link to nothing")),
        Err(_) => Ok(path.to_owned()),
    }
}

/// Returns an error if the file that is at `out` is also among those that are read to make it.
pub fn refuse_input<'a>(out: &Path, inputs: impl IntoIterator<Item = &'a Path>) -> Result<()> {
    let Ok(real) = fs::canonicalize(out) else {
        return Ok(());
    };
    let is_out = |input: &&Path| fs::canonicalize(input).is_ok_and(|input| input == real);
    match inputs.into_iter().find(is_out) {
        Some(_) => Err(error_at(
            out,
            "is one of the files that are read; name another place in `--out`",
        )),
        None => Ok(()),
    }
}

/// Creates the folder of `path`. Errors name `path`.
pub(crate) fn create_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(folder) => fs::create_dir_all(folder).at(path),
        None => Ok(()),
    }
}

/// Renames a file or folder that has been written and synced to its final name, and syncs the
/// folder it is in.
fn rename_and_sync(growing: &Path, path: &Path) -> io::Result<()> {
    fs::rename(growing, path)?;
    File::open(folder_of(path))?.sync_all()
}

/// Returns the folder that a path is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    let folder = path.parent();
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// Renames a damaged file to its name with `.damaged` appended, and returns the new path.
pub fn set_aside(path: &Path) -> Result<PathBuf> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".damaged");
    let damaged = path.with_file_name(name);
    rename_and_sync(path, &damaged).at(path)?;
    Ok(damaged)
}
