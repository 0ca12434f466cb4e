//! An object that is read as a file, in blocks that grow as long as it is read in order: a header
//! takes one short answer, a list or a recording few long ones.
use super::connection::{connect, wait};
use super::{Address, RemoteFile, key};
use bytes::Bytes;
use object_store::path::Path as Key;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

/// The bytes of the first block: the headers of audio are in it.
const FIRST_BYTES: u64 = 64 << 10;

/// The most bytes of a block.
const MOST_BYTES: u64 = 8 << 20;

/// An opened object.
pub(super) struct ObjectFile {
    object: Arc<Object>,
    position: u64,
    block: Bytes,
    /// The position of the block's first byte.
    block_start: u64,
    /// The bytes of the next block, if it follows this one.
    next_bytes: u64,
}

struct Object {
    store: Arc<dyn ObjectStore>,
    key: Key,
    bytes: u64,
    /// The version that was opened, if the store tells.
    e_tag: Option<String>,
}

impl Object {
    /// Reads a range of the version that was opened.
    fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        let options = GetOptions::new()
            .with_range(Some(GetRange::Bounded(range.clone())))
            .with_if_match(self.e_tag.clone());
        let bytes = wait(async { self.store.get_opts(&self.key, options).await?.bytes().await })?;
        if bytes.len() as u64 != range.end - range.start {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "it is cut off"));
        }
        Ok(bytes)
    }
}

impl ObjectFile {
    /// Asks for the first block.
    pub(super) fn open(address: &Address) -> io::Result<ObjectFile> {
        let store = connect(address)?;
        let key = key(address)?;
        let options = GetOptions::new().with_range(Some(GetRange::Bounded(0..FIRST_BYTES)));
        let first = wait(async {
            let answer = store.get_opts(&key, options).await?;
            let meta = answer.meta.clone();
            Ok((meta, answer.bytes().await?))
        });
        let (meta, block) = match first {
            Ok(first) => first,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(error),
            Err(error) => {
                // An object without bytes has no first one, which is an error for most stores.
                let meta = wait(async { store.head(&key).await })?;
                if meta.size > 0 {
                    return Err(error);
                }
                (meta, Bytes::new())
            }
        };
        Ok(ObjectFile {
            object: Arc::new(Object {
                store,
                key,
                bytes: meta.size,
                e_tag: meta.e_tag,
            }),
            position: 0,
            block,
            block_start: 0,
            next_bytes: 2 * FIRST_BYTES,
        })
    }

    /// Returns the bytes of the block from the position on.
    fn ahead(&self) -> &[u8] {
        let offset = self.position.checked_sub(self.block_start);
        let offset = offset.and_then(|offset| usize::try_from(offset).ok());
        offset
            .and_then(|offset| self.block.get(offset..))
            .unwrap_or_default()
    }

    /// Reads the block at the position.
    fn read_block(&mut self) -> io::Result<()> {
        let block_end = self.block_start + self.block.len() as u64;
        let bytes = match self.position == block_end {
            true => self.next_bytes,
            false => FIRST_BYTES,
        };
        let end = self.object.bytes.min(self.position + bytes);
        self.block = self.object.read(self.position..end)?;
        self.block_start = self.position;
        self.next_bytes = (2 * bytes).min(MOST_BYTES);
        Ok(())
    }
}

impl Read for ObjectFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.position >= self.object.bytes {
            return Ok(0);
        }
        if self.ahead().is_empty() {
            self.read_block()?;
        }
        let ahead = self.ahead();
        let length = buffer.len().min(ahead.len());
        buffer[..length].copy_from_slice(&ahead[..length]);
        self.position += length as u64;
        Ok(length)
    }
}

impl Seek for ObjectFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        let moved = match position {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.object.bytes.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        let message = "a position before the beginning";
        self.position = moved.ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, message))?;
        Ok(self.position)
    }
}

impl RemoteFile for ObjectFile {
    fn size(&self) -> u64 {
        self.object.bytes
    }

    fn reopened_at(&self, position: u64) -> Box<dyn RemoteFile> {
        Box::new(ObjectFile {
            object: self.object.clone(),
            position,
            block: Bytes::new(),
            block_start: position,
            next_bytes: FIRST_BYTES,
        })
    }

    fn read_at(&self, start: u64, length: u64) -> io::Result<Bytes> {
        let end = start.checked_add(length);
        match end.filter(|end| *end <= self.object.bytes) {
            Some(end) if length > 0 => self.object.read(start..end),
            Some(_) => Ok(Bytes::new()),
            None => Err(io::Error::new(ErrorKind::UnexpectedEof, "it is cut off")),
        }
    }
}
