//! Object stores, by the crate object_store. Its futures are waited for: a node works in plain
//! threads, which wait for an object as they wait for a disk.
mod connection;
mod file;

use super::address::Address;
use super::opened::RemoteFile;
use bytes::Bytes;
use connection::{connect, wait};
use file::ObjectFile;
use futures_util::TryStreamExt;
use object_store::path::Path as Key;
use object_store::{ObjectStoreExt, PutMode, PutOptions};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::future::ready;
use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Every address can be read.
pub(super) const UNSUPPORTED: Option<&str> = None;

/// How many objects are read at a time: an answer takes some ten milliseconds, whatever its size.
const THREADS: usize = 64;

/// Opens an object, and asks for its first block.
pub(super) fn open(address: &Address) -> io::Result<Box<dyn RemoteFile>> {
    Ok(Box::new(ObjectFile::open(address)?))
}

/// Returns the size of an object.
pub(super) fn size(address: &Address) -> io::Result<u64> {
    let store = connect(address)?;
    let key = key(address)?;
    Ok(wait(async { store.head(&key).await })?.size)
}

/// Returns whether an address is a folder.
pub(super) fn has_objects_below(address: &Address) -> io::Result<bool> {
    let store = connect(address)?;
    let key = key(address)?;
    let first = wait(async { store.list(Some(&key)).try_next().await })?;
    Ok(first.is_some())
}

/// Passes the path and the size of each object below an address to `visit`.
pub(super) fn visit_below(
    address: &Address,
    mut visit: impl FnMut(PathBuf, u64),
) -> io::Result<()> {
    let store = connect(address)?;
    let key = key(address)?;
    wait(async {
        let objects = store.list(Some(&key));
        let visited = objects.try_for_each(|object| {
            visit(address.path_of(object.location.as_ref()), object.size);
            ready(Ok(()))
        });
        visited.await
    })
}

/// Reads a whole object.
pub(super) fn read(address: &Address) -> io::Result<Vec<u8>> {
    let store = connect(address)?;
    let key = key(address)?;
    let bytes = wait(async { store.get(&key).await?.bytes().await })?;
    Ok(bytes.into())
}

/// Fills `bytes` with those of an object from `start` on.
pub(super) fn read_exact_at(address: &Address, start: u64, bytes: &mut [u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let store = connect(address)?;
    let key = key(address)?;
    let end = start.saturating_add(bytes.len() as u64);
    let read = wait(async { store.get_range(&key, start..end).await })?;
    if read.len() != bytes.len() {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "it is cut off",
        ));
    }
    bytes.copy_from_slice(&read);
    Ok(())
}

/// Creates an object, in one request.
///
/// # Errors
/// It is there already, among others.
pub(super) fn create(address: &Address, bytes: &[u8]) -> io::Result<()> {
    let store = connect(address)?;
    let key = key(address)?;
    let options = PutOptions::from(PutMode::Create);
    let payload = Bytes::copy_from_slice(bytes).into();
    wait(async { store.put_opts(&key, payload, options).await })?;
    Ok(())
}

/// Gives an object another key, and then removes the first.
pub(super) fn rename(from: &Address, to: &Address) -> io::Result<()> {
    let store = connect(from)?;
    let old_key = key(from)?;
    let new_key = key(to)?;
    wait(async { store.rename(&old_key, &new_key).await })
}

/// Removes an object.
pub(super) fn remove(address: &Address) -> io::Result<()> {
    let store = connect(address)?;
    let key = key(address)?;
    wait(async { store.delete(&key).await })
}

/// Returns the paths of the objects and folders in a folder.
pub(super) fn list(address: &Address) -> io::Result<Vec<PathBuf>> {
    let store = connect(address)?;
    let key = key(address)?;
    let listed = wait(async { store.list_with_delimiter(Some(&key)).await })?;
    let objects = listed.objects.into_iter().map(|object| object.location);
    let keys = objects.chain(listed.common_prefixes);
    let paths: Vec<PathBuf> = keys.map(|key| address.path_of(key.as_ref())).collect();
    match paths.is_empty() {
        true => Err(io::ErrorKind::NotFound.into()),
        false => Ok(paths),
    }
}

/// Returns the threads that wait for objects; `None` if the system refuses them.
pub(super) fn many_threads() -> Option<&'static ThreadPool> {
    static POOL: OnceLock<Option<ThreadPool>> = OnceLock::new();
    let build = || {
        let threads = ThreadPoolBuilder::new().num_threads(THREADS);
        threads.thread_name(|i| format!("store {i}")).build().ok()
    };
    POOL.get_or_init(build).as_ref()
}

fn key(address: &Address) -> io::Result<Key> {
    let key = Key::parse(&address.key);
    key.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}
