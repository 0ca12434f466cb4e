//! Bytes of a pickle, of which no more are taken than the file has.
use super::Fault;
use std::io::Read;

/// The longest pickle; those of large checkpoints, optimizer states included, have a few MiB.
pub(super) const LONGEST: u64 = 64 << 20;
/// The longest line of a pickle in text form.
const LONGEST_LINE: usize = 1 << 20;

/// Reads a pickle from its first byte on and counts what was read.
pub(super) struct Bytes<R> {
    source: R,
    left: u64,
    taken: u64,
}

impl<R: Read> Bytes<R> {
    /// Reads from `source`, which has `size` bytes.
    pub(super) fn new(source: R, size: u64) -> Bytes<R> {
        Bytes {
            source,
            left: size.min(LONGEST),
            taken: 0,
        }
    }

    /// Returns the number of bytes that were read.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Reads `n` bytes. They are allocated only if the file has them.
    pub(super) fn take(&mut self, n: u64) -> Result<Vec<u8>, Fault> {
        if n > self.left {
            return Err(self.cut_off());
        }
        let mut bytes = vec![0; n as usize];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads a fixed number of bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        if N as u64 > self.left {
            return Err(self.cut_off());
        }
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Fault> {
        Ok(self.array::<1>()?[0])
    }

    /// Reads to the end of a line, which is left out.
    pub(super) fn line(&mut self) -> Result<String, Fault> {
        let mut line = vec![];
        loop {
            match self.byte()? {
                b'\n' => {
                    return String::from_utf8(line)
                        .map_err(|_| "holds a line that is no text".into());
                }
                byte if line.len() < LONGEST_LINE => line.push(byte),
                _ => return Err("holds a line that is too long for a pickle".into()),
            }
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Fault> {
        self.source
            .read_exact(bytes)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => self.cut_off(),
                _ => error.to_string(),
            })?;
        self.left -= bytes.len() as u64;
        self.taken += bytes.len() as u64;
        Ok(())
    }

    fn cut_off(&self) -> Fault {
        "is cut off, or is no pickle: it ends within a value".into()
    }
}
