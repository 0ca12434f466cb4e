//! The sizes of a column's pages, from their headers alone: a reader unpacks a page as a whole, so
//! its size bounds the memory for a row.
//!
//! A header is a struct in Thrift's compact protocol, whose first three fields are the page's type,
//! its unpacked and its packed size.
use crate::Result;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

/// Returns the unpacked size of the largest page between two offsets of a file.
pub(super) fn largest<R: Read + Seek>(file: R, start: u64, end: u64) -> Result<u64> {
    let mut headers = Headers {
        source: BufReader::with_capacity(1 << 10, file),
    };
    let mut offset = start;
    let mut largest = 0;
    while offset < end {
        headers.source.seek(SeekFrom::Start(offset))?;
        let (unpacked, packed) = headers.sizes()?;
        largest = largest.max(unpacked);
        let next = headers.source.stream_position()?.saturating_add(packed);
        if next <= offset {
            return Err("it is damaged: a page does not end".into());
        }
        offset = next;
    }
    Ok(largest)
}

/// The types of fields in Thrift's compact protocol.
mod field {
    pub(super) const TRUE: u8 = 1;
    pub(super) const FALSE: u8 = 2;
    pub(super) const BYTE: u8 = 3;
    pub(super) const I16: u8 = 4;
    pub(super) const I32: u8 = 5;
    pub(super) const I64: u8 = 6;
    pub(super) const DOUBLE: u8 = 7;
    pub(super) const BINARY: u8 = 8;
    pub(super) const STRUCT: u8 = 12;
}

/// The deepest nesting of structs in a header.
const MAX_DEPTH: usize = 8;

struct Headers<R> {
    source: R,
}

impl<R: BufRead> Headers<R> {
    /// Reads a header. Returns the page's unpacked and packed size.
    fn sizes(&mut self) -> Result<(u64, u64)> {
        let mut sizes = [0; 3];
        for size in &mut sizes {
            // Each field follows the one before, and is a number of 32 bits.
            if self.byte()? != 1 << 4 | field::I32 {
                return Err("it is damaged: a page has no sizes".into());
            }
            let number = self.number()?;
            *size = number >> 1 ^ (number & 1).wrapping_neg();
        }
        self.skip_fields(0)?;
        Ok((sizes[1], sizes[2]))
    }

    /// Skips the rest of a struct.
    fn skip_fields(&mut self, depth: usize) -> Result<()> {
        loop {
            let header = self.byte()?;
            if header == 0 {
                return Ok(());
            }
            if header >> 4 == 0 {
                self.number()?; // the field's number
            }
            match header & 15 {
                field::TRUE | field::FALSE => (),
                field::BYTE => self.skip(1)?,
                field::I16 | field::I32 | field::I64 => drop(self.number()?),
                field::DOUBLE => self.skip(8)?,
                field::BINARY => {
                    let length = self.number()?;
                    self.skip(length)?;
                }
                field::STRUCT if depth < MAX_DEPTH => self.skip_fields(depth + 1)?,
                _ => return Err("it is damaged: a page's header cannot be read".into()),
            }
        }
    }

    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.source.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    /// Reads a number of seven bits a byte.
    fn number(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= (byte as u64 & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("it is damaged: a page's header cannot be read".into())
    }

    fn skip(&mut self, length: u64) -> Result<()> {
        let skipped = std::io::copy(&mut self.source.by_ref().take(length), &mut std::io::sink())?;
        if skipped < length {
            return Err("it is cut off".into());
        }
        Ok(())
    }
}
