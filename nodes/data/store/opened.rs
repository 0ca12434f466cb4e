//! An opened file, on a disk or in a store.
use super::address::Address;
use super::backend;
use crate::data::placeholder::{HEAD_BYTES, placeholder};
use crate::data::regular;
use bytes::Bytes;
use parquet::errors::Result as ParquetResult;
use parquet::file::reader::{ChunkReader, Length};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use symphonia::core::io::MediaSource;

/// An opened file.
pub(crate) enum StoredFile {
    Local(File),
    Remote(Box<dyn RemoteFile>),
}

/// An opened object of a store.
pub(crate) trait RemoteFile: Read + Seek + Send + Sync {
    /// Returns the object's size.
    fn size(&self) -> u64;

    /// Returns the same object at `position`. It is not asked for again.
    fn reopened_at(&self, position: u64) -> Box<dyn RemoteFile>;

    /// Reads `length` bytes from `start` on.
    fn read_at(&self, start: u64, length: u64) -> io::Result<Bytes>;
}

impl StoredFile {
    /// Opens an object, with its first bytes.
    pub(super) fn remote(address: Address) -> io::Result<StoredFile> {
        let mut file = backend::open(&address)?;
        let mut head = vec![];
        file.by_ref()
            .take(HEAD_BYTES as u64)
            .read_to_end(&mut head)?;
        if let Some(message) = placeholder(&head) {
            return Err(io::Error::other(message));
        }
        file.rewind()?;
        Ok(StoredFile::Remote(file))
    }

    /// Opens the same file once more, at its beginning. An object is not asked for again.
    pub(crate) fn reopen(&self, path: &Path) -> io::Result<StoredFile> {
        Ok(match self {
            StoredFile::Local(_) => StoredFile::Local(regular::open(path)?),
            StoredFile::Remote(file) => StoredFile::Remote(file.reopened_at(0)),
        })
    }
}

impl Read for StoredFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            StoredFile::Local(file) => file.read(buffer),
            StoredFile::Remote(file) => file.read(buffer),
        }
    }
}

impl Seek for StoredFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        match self {
            StoredFile::Local(file) => file.seek(position),
            StoredFile::Remote(file) => file.seek(position),
        }
    }
}

impl MediaSource for StoredFile {
    fn is_seekable(&self) -> bool {
        match self {
            StoredFile::Local(file) => file.is_seekable(),
            StoredFile::Remote(_) => true,
        }
    }

    fn byte_len(&self) -> Option<u64> {
        match self {
            StoredFile::Local(file) => file.byte_len(),
            StoredFile::Remote(file) => Some(file.size()),
        }
    }
}

impl Length for StoredFile {
    fn len(&self) -> u64 {
        match self {
            StoredFile::Local(file) => file.len(),
            StoredFile::Remote(file) => file.size(),
        }
    }
}

impl ChunkReader for StoredFile {
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> ParquetResult<Box<dyn Read>> {
        Ok(match self {
            StoredFile::Local(file) => Box::new(file.get_read(start)?),
            StoredFile::Remote(file) => Box::new(file.reopened_at(start)),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        match self {
            StoredFile::Local(file) => file.get_bytes(start, length),
            StoredFile::Remote(file) => Ok(file.read_at(start, length as u64)?),
        }
    }
}
