//! A source some of whose bytes are replaced, and which may end before its file.
use std::io::{self, Read, Seek, SeekFrom};
use symphonia::core::io::MediaSource;

/// Bytes that replace those at an offset.
pub(super) struct Patch {
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
}

/// A source with replaced bytes.
pub(super) struct Patched {
    source: Box<dyn MediaSource>,
    patches: Vec<Patch>,
    position: u64,
    /// Where it ends; `None` for the end of the source.
    end: Option<u64>,
}

impl Patched {
    /// Takes a source that is at its beginning.
    pub(super) fn new(
        source: Box<dyn MediaSource>,
        patches: Vec<Patch>,
        end: Option<u64>,
    ) -> Patched {
        Patched {
            source,
            patches,
            position: 0,
            end,
        }
    }
}

impl Read for Patched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self
            .end
            .map_or(u64::MAX, |end| end.saturating_sub(self.position));
        let most = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let length = self.source.read(&mut buffer[..most])?;
        for patch in &self.patches {
            for (offset, byte) in (patch.offset..).zip(&patch.bytes) {
                let index = offset.checked_sub(self.position);
                if let Some(index) = index.filter(|index| *index < length as u64) {
                    buffer[index as usize] = *byte;
                }
            }
        }
        self.position += length as u64;
        Ok(length)
    }
}

impl Seek for Patched {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match (to, self.end) {
            (SeekFrom::End(offset), Some(end)) => {
                let position = end.checked_add_signed(offset);
                SeekFrom::Start(position.ok_or(io::ErrorKind::InvalidInput)?)
            }
            (to, _) => to,
        };
        self.position = self.source.seek(to)?;
        Ok(self.position)
    }
}

impl MediaSource for Patched {
    fn is_seekable(&self) -> bool {
        self.source.is_seekable()
    }

    fn byte_len(&self) -> Option<u64> {
        self.end.or_else(|| self.source.byte_len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn bytes_are_replaced_wherever_reading_begins() {
        let patch = Patch {
            offset: 3,
            bytes: b"XY".to_vec(),
        };
        let source = Box::new(Cursor::new(b"0123456789".to_vec()));
        let mut patched = Patched::new(source, vec![patch], Some(7));
        let mut text = String::new();
        patched.read_to_string(&mut text).unwrap();
        assert_eq!(text, "012XY56");
        for (start, expected) in [(0, "012"), (2, "2XY"), (4, "Y56"), (6, "6"), (7, "")] {
            patched.seek(SeekFrom::Start(start)).unwrap();
            let mut text = String::new();
            patched.by_ref().take(3).read_to_string(&mut text).unwrap();
            assert_eq!(text, expected);
        }
        assert_eq!(patched.seek(SeekFrom::End(-1)).unwrap(), 6);
        assert_eq!(patched.byte_len(), Some(7));
    }
}
