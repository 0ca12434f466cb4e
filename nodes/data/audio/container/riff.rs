//! What WAV and AIFF share: a container of chunks, each with a name and a size of 32 bits.
use super::read_at;
use crate::Result;
use symphonia::core::io::MediaSource;

/// The length of the file's header: a name, a size and the kind.
pub(super) const HEADER: u64 = 12;

/// The length of a chunk's header: its name and its size.
pub(super) const CHUNK_HEADER: u64 = 8;

/// The most chunks that are looked at.
const MAX_CHUNKS: usize = 10_000;

/// The byte order of sizes.
#[derive(Clone, Copy)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    /// Reads a number of 32 bits at `offset`; 0 if there are too few bytes.
    pub(super) fn number(self, bytes: &[u8], offset: usize) -> u32 {
        let word = bytes.get(offset..).and_then(|bytes| bytes.first_chunk());
        let word = *word.unwrap_or(&[0; 4]);
        match self {
            ByteOrder::Little => u32::from_le_bytes(word),
            ByteOrder::Big => u32::from_be_bytes(word),
        }
    }
}

/// A chunk's header.
pub(super) struct Chunk {
    pub(super) name: [u8; 4],
    /// Where the content begins.
    pub(super) start: u64,
    /// The size of the content, as its header says.
    pub(super) size: u32,
}

impl Chunk {
    /// Returns where the next chunk begins: chunks have even lengths.
    pub(super) fn next(&self) -> u64 {
        self.start + self.size as u64 + (self.size % 2) as u64
    }
}

/// Reads the headers of the chunks from `offset` on, up to one that is named `last`, included.
pub(super) fn chunks(
    source: &mut dyn MediaSource,
    mut offset: u64,
    order: ByteOrder,
    last: Option<&[u8; 4]>,
) -> Result<Vec<Chunk>> {
    let mut chunks = vec![];
    while chunks.len() < MAX_CHUNKS {
        let header = read_at(source, offset, CHUNK_HEADER)?;
        if (header.len() as u64) < CHUNK_HEADER {
            break;
        }
        let chunk = Chunk {
            name: [header[0], header[1], header[2], header[3]],
            start: offset + CHUNK_HEADER,
            size: order.number(&header, 4),
        };
        offset = chunk.next();
        let is_last = Some(&chunk.name) == last;
        chunks.push(chunk);
        if is_last {
            break;
        }
    }
    Ok(chunks)
}

/// Returns the bytes of audio in a file of `length` bytes whose audio begins at `start` and by its
/// chunk's header has `declared` bytes. `outer` is the size in the file's header.
///
/// The audio extends to the end of the file if its size was not filled in: it is 0, a known stand-in
/// for an unknown size, or larger than the file while `outer` is not. If `outer` agrees with a size
/// that the file does not reach, the file is incomplete, and the size is kept.
pub(super) fn audio_bytes(declared: u64, outer: u64, start: u64, length: u64) -> u64 {
    let available = length.saturating_sub(start);
    let is_confirmed = outer + CHUNK_HEADER >= start.saturating_add(declared);
    let is_unknown = declared == 0
        || is_stand_in(declared)
        || declared > available && (is_stand_in(outer) || !is_confirmed);
    if is_unknown { available } else { declared }
}

/// Returns whether `size` is what programs write that do not know a size: SoX 0x7ffff000, ffmpeg
/// and others 0xffffffff, or these less the header.
fn is_stand_in(size: u64) -> bool {
    (0x7fff_0000..=0x8000_0000).contains(&size) || (0xffff_0000..=0xffff_ffff).contains(&size)
}
