//! Files by path or by address. `s3://bucket/key`, `gs://bucket/key`, `az://container/key` and
//! `file:///path` are in an object store; every other path is on a disk.
//!
//! Object stores are read by builds with the feature `store` alone. In others a module whose errors
//! say so takes the place of `remote`.
#[cfg(not(feature = "store"))]
mod absent;
mod address;
mod opened;
#[cfg(feature = "store")]
mod remote;

use crate::Result;
use crate::data::error::{PathContext, error_at};
use crate::data::{file, regular};
#[cfg(not(feature = "store"))]
use absent as backend;
use address::Address;
use rayon::prelude::*;
#[cfg(feature = "store")]
use remote as backend;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

pub use address::is_address;
pub(crate) use opened::StoredFile;

/// An object of a store.
pub(crate) struct Listed {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

/// Returns why this build can read nothing at `path`; `None` if it can, or if `path` is no address.
pub fn unsupported(path: &Path) -> Option<String> {
    if !is_address(path) {
        return None;
    }
    let invalid = Address::parse(path).err().map(|error| error.to_string());
    backend::UNSUPPORTED.map(str::to_owned).or(invalid)
}

/// Returns the size of a file.
pub(crate) fn size(path: &Path) -> io::Result<u64> {
    match is_address(path) {
        true => backend::size(&Address::parse(path)?),
        false => Ok(std::fs::metadata(path)?.len()),
    }
}

/// Opens a file. On a disk it must be a regular one.
///
/// # Errors
/// It cannot be opened, or a stand-in such as a Git LFS pointer is in its place.
pub(crate) fn open(path: &Path) -> io::Result<StoredFile> {
    match is_address(path) {
        true => StoredFile::remote(Address::parse(path)?),
        false => Ok(StoredFile::Local(regular::open(path)?)),
    }
}

/// Returns whether a file or a folder is at `path`. In a store a folder is what objects are below.
///
/// # Errors
/// The store cannot be asked.
pub fn try_exists(path: &Path) -> io::Result<bool> {
    if !is_address(path) {
        return path.try_exists();
    }
    let address = Address::parse(path)?;
    match backend::size(&address) {
        Err(error) if error.kind() == ErrorKind::NotFound => backend::has_objects_below(&address),
        size => size.map(|_| true),
    }
}

/// Returns whether a file or a folder is at `path`, as far as can be told.
pub(crate) fn exists(path: &Path) -> bool {
    try_exists(path).unwrap_or(false)
}

/// Reads a whole file. It is a small one, or an object that one answer holds.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    match is_address(path) {
        true => backend::read(&Address::parse(path)?),
        false => std::fs::read(path),
    }
}

/// Fills `bytes` with those of a file from `start` on.
pub(crate) fn read_exact_at(path: &Path, start: u64, bytes: &mut [u8]) -> io::Result<()> {
    if is_address(path) {
        return backend::read_exact_at(&Address::parse(path)?, start, bytes);
    }
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(bytes)
}

/// Writes a file that is complete or not there, and creates its folder. In a store a file that is
/// there stays: whoever writes it names it by its contents. Errors name `path`.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    if !is_address(path) {
        return file::write_atomic(path, bytes);
    }
    let address = Address::parse(path).at(path)?;
    match backend::create(&address, bytes) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            // Another process has written the same, or the answer to an earlier request was lost.
            match backend::read(&address).at(path)? == bytes {
                true => Ok(()),
                false => Err(error_at(path, "it is there already, with other contents")),
            }
        }
        written => written.at(path),
    }
}

/// Gives a file another name.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match is_address(from) {
        true => backend::rename(&Address::parse(from)?, &Address::parse(to)?),
        false => std::fs::rename(from, to),
    }
}

/// Creates an object, or fails if it is there: of several processes one has made it.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    backend::create(&Address::parse(path)?, bytes)
}

/// Removes a file.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match is_address(path) {
        true => backend::remove(&Address::parse(path)?),
        false => std::fs::remove_file(path),
    }
}

/// Returns the paths of what is in a folder, in no order. A folder of a store that has nothing in it
/// is one that is not there.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    if is_address(folder) {
        return backend::list(&Address::parse(folder)?);
    }
    let entries = std::fs::read_dir(folder)?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// Lists the objects below an address, in no order.
pub(crate) fn list_below(folder: &Path) -> io::Result<Vec<Listed>> {
    let mut listed = vec![];
    backend::visit_below(&Address::parse(folder)?, |path, bytes| {
        listed.push(Listed { path, bytes });
    })?;
    Ok(listed)
}

/// Runs `work`, whose loops over files are parallel. If the files are in a store, its loops have many
/// threads, most of which wait for answers.
pub(crate) fn in_parallel<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> T {
    match is_address(path).then(backend::many_threads).flatten() {
        Some(threads) => threads.install(work),
        None => work(),
    }
}

/// Applies `work` to files of a folder: of a store to many at once, on a disk to one after another.
pub(crate) fn map_files<P: Send, T: Send>(
    folder: &Path,
    files: Vec<P>,
    work: impl Fn(P) -> T + Send + Sync,
) -> Vec<T> {
    match is_address(folder) {
        true => in_parallel(folder, || files.into_par_iter().map(work).collect()),
        false => files.into_iter().map(work).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_paths() {
        for path in ["s3://bucket/a", "gs://b/c.tsv", "az://c", "file:///tmp/x"] {
            assert!(is_address(Path::new(path)), "{path}");
        }
        for path in ["s3/a", "s3:/a", "", "data/s3://a", "http://a/b.tsv", "gs"] {
            assert!(!is_address(Path::new(path)), "{path}");
            assert_eq!(unsupported(Path::new(path)), None);
        }
        for path in ["s3://", "s3:///key", "s3://b/../c", "s3://b/a//c"] {
            assert!(unsupported(Path::new(path)).is_some(), "{path}");
        }
    }

    #[cfg(not(feature = "store"))]
    #[test]
    fn without_the_feature_an_address_is_refused() {
        let address = Path::new("s3://bucket/a.wav");
        let says = "object stores are not read by this build; build it with `--features store`";
        assert_eq!(unsupported(address).as_deref(), Some(says));
        assert_eq!(open(address).err().unwrap().to_string(), says);
        assert_eq!(try_exists(address).unwrap_err().to_string(), says);
    }
}
