//! Reads long lists line by line, so that memory does not grow with the list.
use super::{mark_length, not_utf8};
use crate::Result;
use std::io::{self, BufRead, Read};

/// The longest line, in bytes.
pub(super) const MAX_LINE_BYTES: u64 = 16 << 20;

/// The most bytes of all lines.
pub(super) const MAX_BYTES: u64 = 64 << 30;

/// The lines of a list of UTF-8 text.
pub(crate) struct Lines<R> {
    text: R,
    /// The number of lines read so far.
    number: usize,
    bytes: u64,
    buffer: Vec<u8>,
}

/// A line without its end.
pub(crate) struct Line<'a> {
    /// From 1.
    pub(crate) number: usize,
    pub(crate) text: &'a str,
}

impl<R: BufRead> Lines<R> {
    /// Begins at the first line of `text`.
    pub(crate) fn new(text: R) -> Lines<R> {
        Lines {
            text,
            number: 0,
            bytes: 0,
            buffer: vec![],
        }
    }

    /// Reads the next line; `None` after the last one. Of empty lines that follow each other only
    /// the last one may be returned.
    ///
    /// # Errors
    /// They name the line: it cannot be read, is not UTF-8, or is too long. Nothing can be read
    /// after an error.
    pub(crate) fn next(&mut self) -> Result<Option<Line<'_>>> {
        self.buffer.clear();
        let empty_lines = self.skip_empty_lines()?;
        if empty_lines == 0 && !self.read_line()? {
            return Ok(None);
        }
        if self.bytes > MAX_BYTES {
            let gibibytes = MAX_BYTES >> 30;
            return Err(format!("it has more than {gibibytes} GiB, the most that is read").into());
        }
        let number = self.number;
        let mark = if number == 1 {
            mark_length(&self.buffer)?
        } else {
            0
        };
        let text = std::str::from_utf8(&self.buffer[mark..]).map_err(|_| not_utf8(number))?;
        Ok(Some(Line {
            number,
            text: text.trim_end_matches(['\r', '\n']),
        }))
    }

    /// Skips the empty lines that have been read ahead. Returns their number.
    fn skip_empty_lines(&mut self) -> Result<usize> {
        let number = self.number + 1;
        let ahead = self.text.fill_buf().map_err(|e| damaged(number, &e))?;
        let count = ahead.iter().take_while(|byte| **byte == b'\n').count();
        self.text.consume(count);
        self.number += count;
        self.bytes += count as u64;
        Ok(count)
    }

    /// Reads a line into the buffer; `false` after the last one.
    fn read_line(&mut self) -> Result<bool> {
        self.number += 1;
        let number = self.number;
        let length = self
            .text
            .by_ref()
            .take(MAX_LINE_BYTES + 1)
            .read_until(b'\n', &mut self.buffer)
            .map_err(|e| damaged(number, &e))?;
        if length as u64 > MAX_LINE_BYTES {
            let mebibytes = MAX_LINE_BYTES >> 20;
            let message = format!(
                "line {number} has more than {mebibytes} MiB, the most that is read of a line"
            );
            return Err(message.into());
        }
        self.bytes += length as u64;
        Ok(length > 0)
    }
}

fn damaged(line: usize, error: &io::Error) -> String {
    format!("is cut off or damaged in line {line}: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_windows_and_long_ones() {
        let mut lines = Lines::new(&b"\xef\xbb\xbfa\r\n\nb"[..]);
        let mut found = vec![];
        while let Some(line) = lines.next().unwrap() {
            found.push((line.number, line.text.to_owned()));
        }
        let expected = [(1, "a".to_owned()), (2, String::new()), (3, "b".to_owned())];
        assert_eq!(found, expected);

        let long = vec![b'x'; (MAX_LINE_BYTES + 1) as usize];
        let error = Lines::new(&long[..]).next().err().expect("an error");
        let says = "line 1 has more than 16 MiB, the most that is read of a line";
        assert_eq!(error.to_string(), says);
    }
}
