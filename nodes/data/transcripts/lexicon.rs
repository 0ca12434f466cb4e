//! Pronunciations: a word and its phones a line, as Kaldi's and LibriSpeech's lexicons have them.
use crate::Result;
use crate::data::error::PathContext;
use crate::data::text;
use std::collections::HashMap;
use std::path::Path;

/// The phones of words, separated by spaces.
pub(crate) struct Lexicon(HashMap<String, String>);

impl Lexicon {
    /// Reads a file. Errors name it.
    pub(crate) fn read(file: &Path) -> Result<Lexicon> {
        Ok(Lexicon::parse(&text::read_list(file).at(file)?))
    }

    /// Reads a lexicon from its text. Of several pronunciations of a word the first counts.
    pub(super) fn parse(text: &str) -> Lexicon {
        let mut lexicon = HashMap::new();
        for line in text.lines() {
            let line = line.trim();
            if let Some((word, phones)) = line.split_once(char::is_whitespace) {
                let phones = phones.trim().to_owned();
                lexicon.entry(word.to_owned()).or_insert(phones);
            }
        }
        Lexicon(lexicon)
    }

    /// Returns the phones of a word.
    pub(crate) fn phones(&self, word: &str) -> Option<&str> {
        self.0.get(word).map(String::as_str)
    }
}
