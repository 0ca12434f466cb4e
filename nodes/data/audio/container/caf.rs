//! CAF, Apple's container: chunks with sizes of 64 bits.
use super::{Correction, Patch, read_at};
use crate::Result;
use symphonia::core::io::MediaSource;

const HEADER: u64 = 8;
const CHUNK_HEADER: u64 = 12;

/// The size of a last chunk of data that was not filled in.
const UNKNOWN: i64 = -1;

pub(super) fn is_caf(head: &[u8]) -> bool {
    head.starts_with(b"caff")
}

/// Fills in an unknown size of the data, and holds all others against the length of the file.
pub(super) fn correction(source: &mut dyn MediaSource, length: u64) -> Result<Correction> {
    let mut correction = Correction::default();
    let mut offset = HEADER;
    while offset + CHUNK_HEADER <= length {
        let header = read_at(source, offset, CHUNK_HEADER)?;
        let size = header.get(4..).and_then(|bytes| bytes.first_chunk());
        let size = i64::from_be_bytes(*size.ok_or("it is cut off")?);
        let start = offset + CHUNK_HEADER;
        let available = length - start;
        if &header[..4] == b"data" && size == UNKNOWN {
            correction.patches.push(Patch {
                offset: offset + 4,
                bytes: available.to_be_bytes().into(),
            });
            break;
        }
        match u64::try_from(size) {
            Ok(size) if size <= available => offset = start + size,
            _ => {
                let name = String::from_utf8_lossy(&header[..4]).into_owned();
                let message = format!(
                    "it is cut off or damaged: its chunk `{}` says {size} bytes, {available} are left",
                    name.escape_debug()
                );
                return Err(message.into());
            }
        }
    }
    // Bytes that are no chunk.
    if correction.patches.is_empty() {
        correction.end = Some(offset.min(length)).filter(|end| *end < length);
    }
    Ok(correction)
}
