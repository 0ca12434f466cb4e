//! A part: one Parquet file with rows of one layer, named by the hash of its bytes.
//!
//! Batches are shuffled, so rows are read in any order, and a row must be one read. `hidden` is
//! therefore stored plain, without dictionary or compression, and every row has a page of its own.
//! The values of a row are then the last bytes of its page, as many as the codec says, and the
//! file's offset index says where that page ends. The same holds for `binary`, which stands in place
//! of `hidden` where values are no floats, and for `index`, `value` and `rest`, in which the largest
//! logits are stored: a row of these is three reads. To other readers the file is ordinary Parquet.
//! Layout: <https://parquet.apache.org/docs/file-format/data-pages/>.
mod decode;
mod identity;
mod location;
mod recent;
mod write;

use super::codec::{Encoded, EntryCodec};
use super::{file_hashes, files, fingerprint};
use crate::data::entry::Entry;
use crate::data::error::PathContext;
use crate::data::store;
use crate::{Error, Result};
use std::cell::RefCell;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

pub(super) use decode::decode;
pub(super) use identity::identities;
pub(super) use location::{RowLocation, locations};
pub(super) use write::write;

thread_local! {
    /// The bytes of the row that a thread decodes, kept so that each row need not get fresh memory.
    static BYTES: RefCell<Vec<u8>> = const { RefCell::new(vec![]) };
}

/// Returns the parts in `folder`, in the order of their names.
pub(super) fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = match store::list(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(vec![]),
        paths => paths.at(folder)?,
    };
    paths.retain(|path| hash_in_name(path).is_some());
    paths.sort();
    Ok(paths)
}

/// Whether a file of this name is a part.
pub(super) fn is_name(name: &str) -> bool {
    hash_in_name(Path::new(name)).is_some()
}

fn hash_in_name(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    let hash = name.strip_prefix("part-")?.strip_suffix(".parquet")?;
    files::is_short_hash(hash).then_some(hash)
}

/// Reads one row of a verified part.
pub(super) fn read(
    path: &Path,
    location: RowLocation,
    codec: &EntryCodec,
) -> std::io::Result<Entry> {
    BYTES.with_borrow_mut(|bytes| {
        bytes.resize(location.bytes(codec) as usize, 0);
        read_bytes(path, location, codec, bytes)?;
        Ok(codec.decode(location.frames, location.width, bytes))
    })
}

/// Reads one row of a verified part as it is stored.
pub(super) fn read_encoded(
    path: &Path,
    location: RowLocation,
    codec: &EntryCodec,
) -> std::io::Result<Encoded> {
    let mut bytes = vec![0; location.bytes(codec) as usize];
    read_bytes(path, location, codec, &mut bytes)?;
    Ok(Encoded {
        frames: location.frames,
        width: location.width,
        bytes,
    })
}

fn read_bytes(
    path: &Path,
    location: RowLocation,
    codec: &EntryCodec,
    mut bytes: &mut [u8],
) -> std::io::Result<()> {
    let sections = codec.sections(location.frames, location.width);
    let farther = [0, location.farther[0], location.farther[1]];
    for (section, farther) in sections.unwrap_or_default().into_iter().zip(farther) {
        let of_column;
        (of_column, bytes) = bytes.split_at_mut(section as usize);
        let offset = location.offset + u64::from(farther);
        if !of_column.is_empty() && !recent::copy(path, offset, of_column) {
            store::read_exact_at(path, offset, of_column)?;
        }
    }
    Ok(())
}

/// Whether this error says that a part is not there: another process has merged it into others.
pub(super) fn is_gone(error: &Error) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.kind() == ErrorKind::NotFound)
}

/// Whether a part has other bytes than it was written with. A file that cannot be read may be intact: an
/// answer that was lost on the way looks like a damaged footer, so all bytes are read again.
pub(super) fn is_damaged(path: &Path) -> bool {
    verify(path).is_err_and(|error| !error.is::<std::io::Error>())
}

/// Reads all bytes of a part and compares their hash with its name.
///
/// # Errors
/// `std::io::Error` if the file cannot be read, another if it is damaged.
pub(super) fn verify(path: &Path) -> Result<()> {
    let is_remote = store::is_address(path);
    let remote = is_remote.then(|| store::read(path)).transpose()?;
    let hash = match &remote {
        Some(bytes) => blake3::hash(bytes),
        None => file_hashes::hash_file(path)?,
    };
    if hash_in_name(path) != Some(fingerprint::short_hash(&hash).as_str()) {
        return Err("its bytes are not those it was written with".into());
    }
    if let Some(bytes) = remote {
        recent::keep(path, bytes);
    }
    Ok(())
}
