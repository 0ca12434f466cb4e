//! Reads long lists in blocks of whole lines, which can be parsed in parallel.
use super::lines::{MAX_BYTES, MAX_LINE_BYTES};
use super::mark_length;
use crate::Result;
use std::io::Read;

/// How many bytes a block has, if no line is longer.
const BLOCK_BYTES: usize = 4 << 20;

/// The blocks of a list.
pub(crate) struct Blocks<R> {
    text: R,
    /// The beginning of the line that the last block has left.
    rest: Vec<u8>,
    bytes: u64,
    /// Why nothing more can be read; told after the lines before.
    end: Option<std::io::Error>,
    is_at_end: bool,
}

impl<R: Read> Blocks<R> {
    /// Begins with the first line of `text`.
    pub(crate) fn new(text: R) -> Blocks<R> {
        Blocks {
            text,
            rest: vec![],
            bytes: 0,
            end: None,
            is_at_end: false,
        }
    }

    /// Returns the number of bytes of all blocks so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Replaces `block` by the next lines; `false` after the last one, with an empty block.
    ///
    /// # Errors
    /// The text cannot be read any further, is UTF-16, or is too long.
    pub(crate) fn fill(&mut self, block: &mut Vec<u8>) -> Result<bool> {
        if let Some(error) = self.end.take() {
            self.is_at_end = true;
            return Err(error.into());
        }
        let is_first = self.bytes == 0;
        std::mem::swap(block, &mut self.rest);
        self.rest.clear();
        while !self.is_at_end && self.end.is_none() && !self.read_more(block) {
            // Others begin in the bytes that were read last.
            let first_line = block.iter().position(|byte| *byte == b'\n');
            if first_line.unwrap_or(block.len()) as u64 > MAX_LINE_BYTES {
                let mebibytes = MAX_LINE_BYTES >> 20;
                let message = format!(
                    "has a line of more than {mebibytes} MiB, the most that is read of one"
                );
                return Err(message.into());
            }
        }
        if self.end.is_some() {
            // The line that could not be read to its end is no line.
            let length = block.iter().rposition(|byte| *byte == b'\n');
            block.truncate(length.map_or(0, |last| last + 1));
        }
        self.bytes += block.len() as u64;
        if self.bytes > MAX_BYTES {
            let gibibytes = MAX_BYTES >> 30;
            return Err(format!("it has more than {gibibytes} GiB, the most that is read").into());
        }
        if is_first {
            let mark = mark_length(block)?;
            block.drain(..mark);
        }
        Ok(!block.is_empty() || self.end.is_some())
    }

    /// Reads to the end of `block`. Returns whether it is full and ends with a line, whose next ones
    /// are in `rest` then.
    fn read_more(&mut self, block: &mut Vec<u8>) -> bool {
        block.reserve(BLOCK_BYTES);
        let mut text = self.text.by_ref().take(BLOCK_BYTES as u64);
        match text.read_to_end(block) {
            Ok(read) => self.is_at_end = read < BLOCK_BYTES,
            Err(error) => self.end = Some(error),
        }
        if self.is_at_end || self.end.is_some() {
            return false;
        }
        let Some(last) = block.iter().rposition(|byte| *byte == b'\n') else {
            return false;
        };
        self.rest.extend_from_slice(&block[last + 1..]);
        block.truncate(last + 1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Error, Result as IoResult};

    /// Text that comes a few bytes at a time, and then an error.
    struct Broken(Vec<u8>);

    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> IoResult<usize> {
            if self.0.is_empty() {
                return Err(Error::other("broken"));
            }
            let length = buffer.len().min(self.0.len()).min(1 << 16);
            let read: Vec<u8> = self.0.drain(..length).collect();
            buffer[..length].copy_from_slice(&read);
            Ok(length)
        }
    }

    fn blocks(mut blocks: Blocks<impl Read>) -> (Vec<Vec<u8>>, Option<String>) {
        let mut found = vec![];
        let mut block = vec![];
        loop {
            match blocks.fill(&mut block) {
                Ok(true) => found.push(block.clone()),
                Ok(false) => return (found, None),
                Err(error) => return (found, Some(error.to_string())),
            }
        }
    }

    #[test]
    fn blocks_are_whole_lines() {
        let text: Vec<u8> = (0..2_000_000)
            .flat_map(|i| format!("{i}\n").into_bytes())
            .collect();
        let (found, error) = blocks(Blocks::new(&text[..]));
        assert!(found.len() > 2 && error.is_none());
        assert!(found.iter().all(|block| block.ends_with(b"\n")));
        assert_eq!(found.concat(), text);
        let (found, _) = blocks(Blocks::new(&b"\xef\xbb\xbfa\nb"[..]));
        assert_eq!(found, [b"a\nb"]);
        assert_eq!(blocks(Blocks::new(&b""[..])), (vec![], None));
        let longest = vec![b'x'; MAX_LINE_BYTES as usize];
        let text = [&longest[..], b"\n", &longest[..BLOCK_BYTES / 2]].concat();
        let (found, error) = blocks(Blocks::new(&text[..]));
        assert_eq!((found.concat(), error), (text, None));
        let long = [&longest[..], b"x"].concat();
        let (_, error) = blocks(Blocks::new(&long[..]));
        assert!(error.unwrap().starts_with("has a line of more than 16 MiB"));
    }

    #[test]
    fn lines_before_an_error_are_read() {
        let text = "line\n".repeat(1_500_000);
        let (found, error) = blocks(Blocks::new(Broken([text.as_bytes(), b"half"].concat())));
        assert_eq!(found.concat(), text.as_bytes());
        assert_eq!(error.as_deref(), Some("broken"));
    }
}
