//! What is said in utterances, as sequences of words, letters or phones.
//!
//! Texts are in Kaldi's form, an utterance a line: its id, a space or tab, and what is said. That is
//! also the form of LibriSpeech's `*.trans.txt`, all of which are read from a folder and below.
mod lexicon;
mod vocabulary;

use crate::Result;
use crate::data::error::{PathContext, error_at};
use crate::data::folder_tree;
use crate::data::labels::lines;
use crate::data::printable::{printable, printable_path};
use crate::data::unicode::nfc;
pub(crate) use lexicon::Lexicon;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
pub use vocabulary::Vocabulary;

/// What a sequence is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Units {
    Words,
    Letters,
    Phones,
}

/// The ending of the files that LibriSpeech has a folder of.
const TRANSCRIPT_ENDING: &str = ".trans.txt";

/// Returns the transcripts of a folder and below, in the order of their paths.
pub(crate) fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = folder_tree::list(folder, false)?.files;
    files.retain(|file| file.to_string_lossy().ends_with(TRANSCRIPT_ENDING));
    files.sort();
    Ok(files)
}

/// Texts by the id of their utterance, in the Unicode form NFC.
pub(crate) struct Transcripts(HashMap<String, String>);

impl Transcripts {
    /// Reads a file, or all LibriSpeech transcripts of a folder and below.
    ///
    /// # Errors
    /// They name the file. A folder has no transcripts, or an id has two texts.
    pub(crate) fn read(path: &Path) -> Result<Transcripts> {
        let mut transcripts = Transcripts(HashMap::new());
        if !path.is_dir() {
            transcripts.add(path)?;
            return Ok(transcripts);
        }
        let files = files(path).at(path)?;
        if files.is_empty() {
            let message = format!("no file in it or below ends in `{TRANSCRIPT_ENDING}`");
            return Err(error_at(path, message));
        }
        for file in files {
            transcripts.add(&file)?;
        }
        Ok(transcripts)
    }

    fn add(&mut self, file: &Path) -> Result<()> {
        for (id, line) in lines::read(file).at(file)? {
            if self.0.contains_key(&id) {
                let message = format!(
                    "line {}: `{}` has a text in another file",
                    line.number,
                    printable(&id)
                );
                return Err(error_at(file, message));
            }
            self.0.insert(id, line.text);
        }
        Ok(())
    }

    /// Returns the text of an utterance: of its id, else of the name of its file without the ending,
    /// as Kaldi and LibriSpeech name utterances.
    pub(crate) fn text(&self, id: &str) -> Option<&str> {
        let id = nfc(id);
        let by_name = || self.0.get(Path::new(&*id).file_stem()?.to_str()?);
        self.0.get(&*id).or_else(by_name).map(String::as_str)
    }
}

impl Units {
    /// Cuts a text into units. The letter between words is `|`.
    ///
    /// # Errors
    /// A word is not in the lexicon.
    pub(crate) fn cut(self, text: &str, lexicon: Option<&Lexicon>) -> Result<Vec<String>, String> {
        let words = text.split_whitespace();
        match (self, lexicon) {
            (Units::Letters, _) => {
                let words: Vec<&str> = words.collect();
                let letters = words.join(Vocabulary::SPACE);
                Ok(letters.chars().map(String::from).collect())
            }
            (Units::Phones, Some(lexicon)) => {
                let mut phones = vec![];
                for word in words {
                    let pronounced = lexicon.phones(word);
                    let pronounced =
                        pronounced.ok_or_else(|| format!("the lexicon has no word `{word}`"))?;
                    phones.extend(pronounced.split_whitespace().map(String::from));
                }
                Ok(phones)
            }
            (Units::Words | Units::Phones, _) => Ok(words.map(String::from).collect()),
        }
    }
}

/// Returns the message that a file, or the files of a folder, have no text of an utterance.
pub(crate) fn missing(path: &Path, id: &str) -> String {
    format!(
        "{}: has no text of `{}`",
        printable_path(path),
        printable(id)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("84/121")).expect("a folder");
        folder
    }

    #[test]
    fn texts_are_found_by_id_or_by_the_name_of_the_file() {
        let folder = folder("transcripts");
        let librispeech = folder.join("84/121/84-121.trans.txt");
        std::fs::write(&librispeech, "84-121-0000 GO DO\n84-121-0001 YOU\n").expect("written");
        let kaldi = folder.join("text");
        std::fs::write(&kaldi, "a b.wav\tone  two\n\nc\nd three\r\n").expect("written");
        let by_folder = Transcripts::read(&folder).expect("transcripts");
        let by_file = Transcripts::read(&kaldi).expect("transcripts");
        let again = folder.join("84/again.trans.txt");
        std::fs::write(&again, "84-121-0001 YOU\n").expect("written");
        let twice = Transcripts::read(&folder)
            .err()
            .expect("an error")
            .to_string();
        std::fs::remove_dir_all(&folder).expect("removed");
        assert_eq!(by_folder.text("84/121/84-121-0000.flac"), Some("GO DO"));
        assert_eq!(by_folder.text("84-121-0001"), Some("YOU"));
        assert_eq!(by_folder.text("84-121-0002"), None);
        assert_eq!(by_file.text("a b.wav"), Some("one  two"));
        assert_eq!(by_file.text("c"), Some(""));
        assert_eq!(by_file.text("x/d.flac"), Some("three"));
        let expected = "again.trans.txt: line 1: `84-121-0001` has a text in another file";
        assert!(twice.ends_with(expected), "{twice}");
    }

    #[test]
    fn a_folder_without_transcripts_is_an_error() {
        let folder = folder("no-transcripts");
        let error = Transcripts::read(&folder)
            .err()
            .expect("an error")
            .to_string();
        std::fs::remove_dir_all(&folder).expect("removed");
        assert!(
            error.ends_with("no file in it or below ends in `.trans.txt`"),
            "{error}"
        );
    }

    #[test]
    fn texts_are_cut_into_units() {
        let cut = |units: Units, text: &str| units.cut(text, None).expect("units").join(" ");
        assert_eq!(cut(Units::Words, " GO  ON "), "GO ON");
        assert_eq!(cut(Units::Letters, " GO  ON "), "G O | O N");
        assert_eq!(cut(Units::Phones, "G OW1"), "G OW1");
        let lexicon = Lexicon::parse("GO G OW1\nGO(2) G AH0\nON\tAA1 N\n");
        let phones = |text: &str| Units::Phones.cut(text, Some(&lexicon));
        assert_eq!(phones("GO ON").expect("phones").join(" "), "G OW1 AA1 N");
        assert_eq!(
            phones("GO NOW"),
            Err("the lexicon has no word `NOW`".into())
        );
    }
}
