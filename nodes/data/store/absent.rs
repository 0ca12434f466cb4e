//! Takes the place of `remote` in builds without the feature `store`: nothing can be read.
use super::address::Address;
use super::opened::RemoteFile;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

/// Why no address can be read.
pub(super) const UNSUPPORTED: Option<&str> =
    Some("object stores are not read by this build; build it with `--features store`");

fn refused<T>() -> io::Result<T> {
    let message = UNSUPPORTED.unwrap_or_default();
    Err(io::Error::new(ErrorKind::Unsupported, message))
}

pub(super) fn open(_: &Address) -> io::Result<Box<dyn RemoteFile>> {
    refused()
}

pub(super) fn size(_: &Address) -> io::Result<u64> {
    refused()
}

pub(super) fn has_objects_below(_: &Address) -> io::Result<bool> {
    refused()
}

pub(super) fn visit_below(_: &Address, _: impl FnMut(PathBuf, u64)) -> io::Result<()> {
    refused()
}

pub(super) fn read(_: &Address) -> io::Result<Vec<u8>> {
    refused()
}

pub(super) fn read_exact_at(_: &Address, _: u64, _: &mut [u8]) -> io::Result<()> {
    refused()
}

pub(super) fn create(_: &Address, _: &[u8]) -> io::Result<()> {
    refused()
}

pub(super) fn rename(_: &Address, _: &Address) -> io::Result<()> {
    refused()
}

pub(super) fn remove(_: &Address) -> io::Result<()> {
    refused()
}

pub(super) fn list(_: &Address) -> io::Result<Vec<PathBuf>> {
    refused()
}

pub(super) fn many_threads() -> Option<&'static rayon::ThreadPool> {
    None
}
