//! Files and folders that appear complete or not at all: they are written under a temporary name,
//! synced and renamed.
mod tensors;

use crate::Result;
use crate::data::error::PathContext;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub(crate) use tensors::decode_floats;
pub use tensors::{Loaded, Tensor, load, metadata, save};

/// Returns a hint for the error that `path` is missing, if it is one of the sample files of the
/// shipped graphs, or an empty string.
pub fn hint(path: &str) -> &'static str {
    if path.starts_with("data/sample") {
        " (it lies in the project's repository; paths are relative to the working directory)"
    } else {
        ""
    }
}

/// Returns the name, beside `path`, under which this process writes `path`: `path` with `.tmpPID`
/// appended.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".tmp{}", std::process::id()));
    path.with_file_name(name)
}

/// Returns the id of the process that writes under the temporary name `name`, or `None` for other
/// names.
fn writer_of(name: &OsStr) -> Option<u32> {
    let (_, pid) = name.to_str()?.rsplit_once(".tmp")?;
    pid.parse().ok()
}

/// Writes `bytes` to `path` atomically, creating its folder. Errors name `path`.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic_with(path, |file| file.write_all(bytes))
}

/// Writes what `write` puts into the file to `path` atomically, creating its folder. Errors name
/// `path`.
fn write_atomic_with(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    create_parent(path)?;
    let growing = temporary(path);
    let result = write_and_rename(&growing, path, write);
    if result.is_err() {
        let _ = fs::remove_file(&growing);
    }
    result.at(path)
}

fn write_and_rename(
    growing: &Path,
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = File::create(growing)?;
    write(&mut file)?;
    file.sync_all()?;
    rename_and_sync(growing, path)
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
pub(crate) fn rename_and_sync(growing: &Path, path: &Path) -> io::Result<()> {
    fs::rename(growing, path)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Replaces `folder` by the folder `growing`, which has been written and synced. Errors name
/// `folder`.
pub(crate) fn replace_folder(growing: &Path, folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).at(folder)?;
    }
    rename_and_sync(growing, folder).at(folder)
}

/// Removes, in `folder` and below, the temporary files and folders of processes for whose id
/// `is_stale` holds.
pub fn remove_leftovers(folder: &Path, is_stale: &dyn Fn(u32) -> bool) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|t| t.is_dir()); // not a link to one
        match writer_of(&entry.file_name()) {
            Some(pid) if is_stale(pid) && is_folder => drop(fs::remove_dir_all(&path)),
            Some(pid) if is_stale(pid) => drop(fs::remove_file(&path)),
            None if is_folder => remove_leftovers(&path, is_stale),
            _ => (),
        }
    }
}
