//! A long list of texts in little memory: the paths and ids of a list mostly begin like the one
//! before.
//!
//! A text is stored as the number of bytes that it shares with the one before it, and the others
//! (front coding). Every 32nd begins anew, so that a text is found without all those before it.
mod index;

pub(crate) use index::TextIndex;

/// How many texts are found only by decoding the first of them.
const RUN: usize = 32;

/// A list of texts that grows at its end.
#[derive(Default)]
pub(crate) struct Texts {
    /// The encoded texts of each full run.
    runs: Vec<Box<[u8]>>,
    /// The encoded texts after them.
    rest: Vec<u8>,
    last: Vec<u8>,
    len: usize,
}

impl Texts {
    /// Returns the number of texts.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a text at the end.
    pub(crate) fn push(&mut self, text: &str) {
        let text = text.as_bytes();
        let begins_anew = self.len.is_multiple_of(RUN);
        let pairs = text.iter().zip(&self.last);
        let shared = match begins_anew {
            true => 0,
            false => pairs.take_while(|(a, b)| a == b).count(),
        };
        push_number(&mut self.rest, shared);
        push_number(&mut self.rest, text.len() - shared);
        self.rest.extend_from_slice(&text[shared..]);
        self.last.truncate(shared);
        self.last.extend_from_slice(&text[shared..]);
        self.len += 1;
        if self.len.is_multiple_of(RUN) {
            self.runs.push(self.rest.as_slice().into());
            self.rest.clear();
        }
    }

    /// Returns the text at `index`, which must be below the length.
    pub(crate) fn get(&self, index: usize) -> String {
        let mut decoder = Decoder::new(self.run(index / RUN));
        for _ in 0..=index % RUN {
            decoder.advance();
        }
        decoder.text()
    }

    /// Returns all texts in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = String> {
        let runs = (0..self.len.div_ceil(RUN)).map(|run| (run, Decoder::new(self.run(run))));
        runs.flat_map(|(run, mut decoder)| {
            let count = RUN.min(self.len - run * RUN);
            (0..count).map(move |_| {
                decoder.advance();
                decoder.text()
            })
        })
    }

    fn run(&self, run: usize) -> &[u8] {
        self.runs.get(run).map_or(&self.rest, |run| run)
    }
}

impl<'a> FromIterator<&'a str> for Texts {
    fn from_iter<I: IntoIterator<Item = &'a str>>(items: I) -> Texts {
        let mut texts = Texts::default();
        for text in items {
            texts.push(text);
        }
        texts
    }
}

/// Writes a number in groups of seven bits, the lowest first.
fn push_number(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Decodes the texts of a run one after the other.
struct Decoder<'a> {
    bytes: &'a [u8],
    text: Vec<u8>,
}

impl<'a> Decoder<'a> {
    fn new(bytes: &'a [u8]) -> Decoder<'a> {
        Decoder {
            bytes,
            text: vec![],
        }
    }

    fn advance(&mut self) {
        let shared = self.number();
        let length = self.number();
        let (rest, later) = self.bytes.split_at(length);
        self.text.truncate(shared);
        self.text.extend_from_slice(rest);
        self.bytes = later;
    }

    fn number(&mut self) -> usize {
        let mut number = 0;
        let mut shift = 0;
        while let Some((byte, later)) = self.bytes.split_first() {
            self.bytes = later;
            number |= (*byte as usize & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        number
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned() // it is the UTF-8 that was pushed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_as_they_were() {
        let long = "x".repeat(70_000);
        let mut pushed: Vec<String> = (0..3 * RUN + 5)
            .map(|i| format!("19/{}/19-{i:04}.flac", i / 10))
            .collect();
        // Texts that share half of a character, all of one, and none.
        pushed
            .extend(["\u{e9}", "\u{e8}", "", "\u{e8}a", "\u{e8}", &long, &long].map(str::to_owned));
        let texts: Texts = pushed.iter().map(String::as_str).collect();
        assert_eq!(texts.len(), pushed.len());
        assert_eq!(texts.iter().collect::<Vec<_>>(), pushed);
        let found: Vec<String> = (0..texts.len()).map(|index| texts.get(index)).collect();
        assert_eq!(found, pushed);
        assert_eq!(Texts::default().iter().next(), None);
    }

    #[test]
    fn common_beginnings_take_no_memory() {
        let folder = "a/folder/with/a/long/name/".repeat(8);
        let pushed: Vec<String> = (0..10 * RUN).map(|i| format!("{folder}{i}")).collect();
        let texts: Texts = pushed.iter().map(String::as_str).collect();
        let bytes: usize = texts.runs.iter().map(|run| run.len()).sum();
        assert!(bytes < 15 * pushed.len(), "{bytes}");
    }
}
