//! The labels as they are sent.
use super::{IN, OUT, Units};
use crate::Result;
use crate::data::column;
use crate::data::column::{ID, SAMPLES};
use crate::data::labels::{self, Labels};
use crate::data::printable::printable;
use crate::data::unicode::nfc;
use crate::model::Architecture;
use crate::node::Node;
use crate::node::port::Value;
use crate::node::step::Step;
use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};

pub(super) struct LabelFile {
    /// `None` in a benchmark whose earlier phases have not run: all labels are 0.
    pub(super) labels: Option<Labels>,
    pub(super) file: String,
    pub(super) units: Units,
    /// A hash of the samples of each utterance so far.
    pub(super) heard: HashMap<String, u64>,
}

impl LabelFile {
    /// Returns the labels of an utterance of this many samples.
    fn row(&self, id: &str, samples: usize) -> Result<Cow<'_, [u32]>> {
        let Some(labels) = &self.labels else {
            let frames = Architecture::default().frames(samples);
            return Ok(vec![0; frames].into());
        };
        match labels.get(&*nfc(id)) {
            Some(row) => Ok(row.into()),
            None => Err(format!("{}: has no labels of `{}`", self.file, printable(id)).into()),
        }
    }

    /// Checks that an id stands for the same audio as before.
    fn check_audio(&mut self, id: &str, samples: &[f32]) -> Result<()> {
        let mut hasher = DefaultHasher::new();
        for sample in samples {
            hasher.write_u32(sample.to_bits());
        }
        let hash = hasher.finish();
        match self.heard.insert(id.to_owned(), hash) {
            Some(earlier) if earlier != hash => Err(format!(
                "two different utterances are called `{}`, so one would get the other's labels; \
                 make the ids of the manifest unique",
                printable(id)
            )
            .into()),
            _ => Ok(()),
        }
    }
}

impl Node for LabelFile {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let batch = step.batch(IN)?;
        let samples = column::floats_by_row(&batch, SAMPLES)?;
        let mut ids = vec![];
        let mut lengths = vec![];
        for (id, samples) in column::texts(&batch, ID)?.iter().zip(samples) {
            let id = id.unwrap_or_default();
            if self.labels.is_some() && self.units == Units::Frames {
                self.check_audio(id, samples)?;
            }
            ids.push(id);
            lengths.push(samples.len());
        }
        let mut rows = vec![];
        for (id, samples) in ids.iter().zip(lengths) {
            rows.push(self.row(id, samples)?);
        }
        let rows = ids.into_iter().zip(rows.iter().map(|row| &row[..]));
        step.send(OUT, Value::Batch(labels::rows(rows)?));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stands_for_one_utterance() {
        let mut node = LabelFile {
            labels: Some(Labels::new()),
            file: String::new(),
            units: Units::Frames,
            heard: HashMap::new(),
        };
        let mut check = |id: &str, samples: &[f32]| node.check_audio(id, samples);
        assert!(check("a", &[0.5, 0.25]).is_ok());
        assert!(check("b", &[0.25, 0.5]).is_ok());
        assert!(check("a", &[0.5, 0.25]).is_ok(), "the next epoch");
        let error = check("a", &[0.25, 0.5]).expect_err("another utterance");
        assert!(
            error
                .to_string()
                .starts_with("two different utterances are called `a`")
        );
    }
}
