//! What is said in each utterance, as a sequence of numbers of units ([`Vocabulary`]). It is said in
//! the whole utterance, which therefore must not be cropped.
use crate::Result;
use crate::data::column;
use crate::data::column::{ID, SEQUENCE, SEQUENCES, SPEECH};
use crate::data::printable::printable;
use crate::data::transcripts::{Lexicon, Transcripts, Units, Vocabulary, missing};
use crate::node::contents::FileOption;
use crate::node::port::{Carries, Port, Ports, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{
    Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, PhaseOutputs, shapes,
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// What is said in each utterance: a sequence of words, letters or phones, from files of text.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Texts in Kaldi's form, an utterance a line: its id, a space or tab, and what is said; or a
    /// folder with LibriSpeech's `*.trans.txt` in it or below.
    file: String,
    /// What a sequence is made of. Letters have `|` between words. Phones are those that the text
    /// consists of, or with `lexicon` those of its words.
    units: Units,
    /// The units, in the order of their classes, from 1: class 0 is the blank. A unit that is not
    /// here is `<unk>`, or an error without it. Error rates do not count the other units in angle
    /// brackets.
    vocabulary: Vec<String>,
    /// File with a word and its phones a line; of several pronunciations of a word the first counts.
    #[serde(default)]
    lexicon: Option<String>,
    /// Units that end each sequence.
    #[serde(default)]
    suffix: Vec<String>,
}

const IN: &str = "speech";
const OUT: &str = "labels";
const MAX_UNITS: usize = (1 << 16) - 1;

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[Port::new(IN, Carries::Batch(SPEECH))],
        outputs: &[Port::new(OUT, Carries::Batch(SEQUENCES))],
    };
    const FILES: &[FileOption] = &[FileOption::files("file"), FileOption::files("lexicon")];
}

impl Options {
    fn errors(&self) -> Vec<OptionError> {
        let mut errors = vec![];
        errors.extend(OptionError::unless(
            (1..=MAX_UNITS).contains(&self.vocabulary.len()),
            "vocabulary",
            format!(
                "has {} units, not from 1 to {MAX_UNITS}",
                self.vocabulary.len()
            ),
        ));
        let mut seen = BTreeSet::new();
        for (place, unit) in self.vocabulary.iter().enumerate() {
            if !seen.insert(unit) {
                let path = format!("vocabulary.{place}");
                let message = format!("`{}` is there twice", printable(unit));
                errors.push(OptionError::element(&path, "vocabulary", message));
            }
        }
        for (place, unit) in self.suffix.iter().enumerate() {
            if !seen.contains(unit) {
                let path = format!("suffix.{place}");
                let message = format!("`{}` is not in `vocabulary`", printable(unit));
                errors.push(OptionError::element(&path, "suffix", message));
            }
        }
        errors.extend(OptionError::unless(
            self.lexicon.is_none() || self.units == Units::Phones,
            "lexicon",
            "is for the units \"phones\"",
        ));
        errors
    }

    fn vocabulary(&self) -> Vocabulary {
        Vocabulary::new(self.units, &self.vocabulary)
    }
}

impl Config for Options {
    fn needs_whole_rows(&self) -> bool {
        true
    }

    fn info(&self, _: &PhaseOutputs, _: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        OptionError::fail_if_any(self.errors())?;
        let mut reads = vec![self.file.clone()];
        reads.extend(self.lexicon.clone());
        let vocabulary = self.vocabulary();
        Ok(NodeInfo {
            outputs: shapes([(OUT, Shape::Sequences { vocabulary })]),
            reads,
            ..NodeInfo::default()
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let lexicon = match &self.lexicon {
            Some(file) => Some(Lexicon::read(&context.path(file))?),
            None => None,
        };
        let vocabulary = self.vocabulary();
        let suffix = self
            .suffix
            .iter()
            .filter_map(|unit| vocabulary.number(unit));
        Ok(Box::new(TranscriptsNode {
            transcripts: Transcripts::read(&context.path(&self.file))?,
            suffix: suffix.collect(),
            file: self.file.clone(),
            lexicon,
            vocabulary,
        }))
    }
}

struct TranscriptsNode {
    transcripts: Transcripts,
    lexicon: Option<Lexicon>,
    vocabulary: Vocabulary,
    suffix: Vec<u32>,
    file: String,
}

impl TranscriptsNode {
    /// Returns the sequence of an utterance.
    fn sequence(&self, id: &str) -> Result<Vec<u32>> {
        let text = self.transcripts.text(id);
        let text = text.ok_or_else(|| missing(Path::new(&self.file), id))?;
        let units = self.vocabulary.units.cut(text, self.lexicon.as_ref());
        let units = units.map_err(|error| format!("`{}`: {error}", printable(id)))?;
        let mut sequence = vec![];
        for unit in units {
            let number = self.vocabulary.number(&unit).ok_or_else(|| {
                let unit = printable(&unit);
                format!(
                    "`{}` has `{unit}`, which is not in `vocabulary`",
                    printable(id)
                )
            })?;
            sequence.push(number);
        }
        sequence.extend(&self.suffix);
        Ok(sequence)
    }
}

impl Node for TranscriptsNode {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let batch = step.batch(IN)?;
        let mut sequences = vec![];
        for id in column::texts(&batch, ID)? {
            sequences.push(self.sequence(id.unwrap_or_default())?);
        }
        let lengths: Vec<usize> = sequences.iter().map(Vec::len).collect();
        let lists = column::label_lists(sequences.concat(), lengths);
        let ids = column::get(&batch, ID)?.clone();
        let sequences = column::batch(vec![(ID, ids), (SEQUENCE, Arc::new(lists))])?;
        step.send(OUT, Value::Batch(sequences));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(json: serde_json::Value) -> Options {
        serde_json::from_value(json).expect("options")
    }

    #[test]
    fn wrong_units_are_errors() {
        let options = options(serde_json::json!({
            "file": "text", "units": "letters", "vocabulary": ["A", "|", "A"],
            "lexicon": "lexicon.txt", "suffix": ["|", "<eos>"],
        }));
        let errors = options.errors();
        let found: Vec<_> = errors
            .iter()
            .map(|error| (error.path.join("."), error.message.as_str()))
            .collect();
        let expected = [
            ("vocabulary.2", "option `vocabulary`: `A` is there twice"),
            (
                "suffix.1",
                "option `suffix`: `<eos>` is not in `vocabulary`",
            ),
            ("lexicon", "option `lexicon`: is for the units \"phones\""),
        ];
        assert_eq!(
            found,
            expected.map(|(path, message)| (path.to_owned(), message))
        );
    }

    #[test]
    fn sequences_end_with_the_suffix_and_need_all_units() {
        let name = format!("transcripts-node-{}", std::process::id());
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, "a BAD CAB\nb ADD\n").expect("written");
        let transcripts = Transcripts::read(&file).expect("transcripts");
        std::fs::remove_file(&file).expect("removed");
        let vocabulary = ["<eos>", "|", "A", "B", "C"].map(String::from);
        let node = TranscriptsNode {
            transcripts,
            lexicon: None,
            vocabulary: Vocabulary::new(Units::Letters, &vocabulary),
            suffix: vec![2, 1],
            file: "text".into(),
        };
        let error = |id: &str| node.sequence(id).expect_err("an error").to_string();
        assert_eq!(error("a"), "`a` has `D`, which is not in `vocabulary`");
        assert_eq!(error("c"), "text: has no text of `c`");
        let units = [&vocabulary[..], &["D".to_owned()]].concat();
        let node = TranscriptsNode {
            vocabulary: Vocabulary::new(Units::Letters, &units),
            ..node
        };
        let sequence = node.sequence("a").expect("a sequence");
        assert_eq!(sequence, [4, 3, 6, 2, 5, 3, 4, 2, 1]);
    }
}
