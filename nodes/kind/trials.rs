//! Speaker verification: each trial is a pair of utterances whose vectors are compared by their
//! cosine, and the equal error rate of all trials is measured at the end of a dev pass or of a test
//! phase. In training nothing is measured.
use crate::Result;
use crate::data::column;
use crate::data::column::ID;
use crate::data::error::{PathContext, error_at};
use crate::data::printable::printable;
use crate::data::text;
use crate::data::unicode::nfc;
use crate::node::contents::FileOption;
use crate::node::outcomes::{Outcome, Outcomes, Rule};
use crate::node::port::{Carries, Port, Ports, Scalar, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{
    Config, HiddenInput, KindOptions, Node, NodeContext, NodeInfo, OptionError, PhaseOutputs,
    shapes,
};
use compute::tensor::read;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::Path;

/// The equal error rate of pairs of utterances, which are compared by the cosine of their vectors.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Trials, one a line: 1 if both are of one speaker, else 0, and the ids of two utterances, as
    /// VoxCeleb's lists are.
    file: String,
}

const EMBEDDINGS: &str = "embeddings";
const SPEECH: &str = "speech";
const OUT: &str = "loss";
const RATE: &str = "eer";

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[
            Port::new(EMBEDDINGS, Carries::Hiddens),
            Port::new(SPEECH, Carries::Batch(&[ID])),
        ],
        outputs: &[Port::new(OUT, Carries::Scalar)],
    };
    const GATHERS: bool = true;
    const FILES: &[FileOption] = &[FileOption::files("file")];
}

impl Config for Options {
    fn info(&self, _: &PhaseOutputs, inputs: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        if let Some(HiddenInput { layers, step, .. }) = HiddenInput::find(EMBEDDINGS, inputs)
            && (layers.len() != 1 || !step.pooled)
        {
            let message = "takes one layer with one frame a row";
            return Err(vec![OptionError::input(EMBEDDINGS, message)]);
        }
        Ok(NodeInfo {
            outputs: shapes([(OUT, Shape::penalty(&[RATE]))]),
            reads: vec![self.file.clone()],
            ..NodeInfo::default()
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        Ok(Box::new(Trials {
            trials: read_trials(&context.path(&self.file))?,
            file: self.file.clone(),
            vectors: HashMap::new(),
        }))
    }
}

/// A pair of utterances.
#[derive(Debug, PartialEq)]
struct Trial {
    is_target: bool,
    ids: [String; 2],
}

/// Reads trials. Errors name the file and the line.
fn read_trials(path: &Path) -> Result<Vec<Trial>> {
    let text = text::read_list(path).at(path)?;
    let mut trials = vec![];
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let (["0" | "1"], [first, second]) = words.split_at(1.min(words.len())) else {
            let message = format!("line {number} is not 0 or 1 and two ids");
            return Err(error_at(path, message));
        };
        trials.push(Trial {
            is_target: words[0] == "1",
            ids: [first, second].map(|id| nfc(id).into_owned()),
        });
    }
    let targets = trials.iter().filter(|trial| trial.is_target).count();
    if targets == 0 || targets == trials.len() {
        let message = "has not both trials of one speaker, 1, and of two, 0";
        return Err(error_at(path, message));
    }
    Ok(trials)
}

struct Trials {
    trials: Vec<Trial>,
    file: String,
    /// The vectors of the utterances of this pass, divided by their length.
    vectors: HashMap<String, Vec<f64>>,
}

impl Trials {
    fn vector(&self, id: &str) -> Result<&Vec<f64>> {
        self.vectors.get(id).ok_or_else(|| {
            let id = printable(id);
            format!(
                "{} has a trial of `{id}`, which is not among the utterances",
                self.file
            )
            .into()
        })
    }

    /// Compares the vectors of each trial.
    fn scores(&self) -> Result<Vec<Outcome>> {
        let mut rows = vec![];
        for Trial { is_target, ids } in &self.trials {
            let [first, second] = ids;
            let pairs = self.vector(first)?.iter().zip(self.vector(second)?);
            let cosine = pairs.map(|(a, b)| a * b).sum();
            rows.push(Outcome {
                id: format!("{first} {second}"),
                numbers: [cosine, f64::from(u8::from(*is_target))],
            });
        }
        Ok(rows)
    }
}

/// Divides a vector by its length.
fn unit(vector: &[f32]) -> Vec<f64> {
    let squares: f64 = vector.iter().map(|x| f64::from(*x).powi(2)).sum();
    let length = squares.sqrt().max(1e-12);
    vector.iter().map(|x| f64::from(*x) / length).collect()
}

impl Node for Trials {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let layers = step.hiddens(EMBEDDINGS)?.layers;
        let (_, x) = layers.into_iter().next().ok_or("no layer came")?;
        let batch = step.batch(SPEECH)?;
        let mut scalar = Scalar::zero(step.tape());
        if !step.trains() {
            let numbers = read(&x.values);
            let ids = column::texts(&batch, ID)?;
            for (id, vector) in ids.iter().zip(numbers.chunks_exact(x.width())) {
                let id = nfc(id.unwrap_or_default()).into_owned();
                self.vectors.insert(id, unit(vector));
            }
        }
        if step.ends_pass() {
            let outcomes = Outcomes {
                metric: RATE.to_owned(),
                rule: Rule::EqualError,
                rows: self.scores()?,
            };
            scalar.outcomes.push(outcomes);
            self.vectors.clear();
        }
        step.send(OUT, Value::Scalar(scalar));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Trial>, String> {
        let name = format!("trials-{}-{}", std::process::id(), text.len());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("written");
        let trials = read_trials(&path).map_err(|error| error.to_string());
        std::fs::remove_file(&path).expect("removed");
        trials.map_err(|error| error.split_once(": ").expect("a path").1.to_owned())
    }

    #[test]
    fn trials_are_two_ids_behind_0_or_1() {
        let trials = read("1 a/1.wav a/2.wav\n\n0\ta/1.wav b/1.wav\n").expect("trials");
        let ids = ["a/1.wav", "b/1.wav"].map(String::from);
        let second = Trial {
            is_target: false,
            ids,
        };
        assert_eq!(trials[1], second);
        assert!(trials[0].is_target && trials.len() == 2);
        let error = read("1 a b\n2 a b\n").expect_err("an error");
        assert_eq!(error, "line 2 is not 0 or 1 and two ids");
        let error = read("1 a b c\n").expect_err("an error");
        assert_eq!(error, "line 1 is not 0 or 1 and two ids");
        let error = read("0 a b\n0 a c\n").expect_err("an error");
        assert_eq!(
            error,
            "has not both trials of one speaker, 1, and of two, 0"
        );
    }

    #[test]
    fn trials_are_scored_by_cosine() {
        let vectors = [("a", [3.0, 4.0]), ("b", [0.0, 2.0]), ("c", [0.0, 0.0])];
        let vectors = vectors.map(|(id, vector)| (id.to_owned(), unit(&vector)));
        let trial = |is_target: bool, ids: [&str; 2]| Trial {
            is_target,
            ids: ids.map(String::from),
        };
        let mut node = Trials {
            trials: vec![trial(true, ["a", "b"]), trial(false, ["a", "c"])],
            file: "trials.txt".into(),
            vectors: vectors.into(),
        };
        let scores: Vec<_> = node.scores().expect("scores");
        let numbers: Vec<[f64; 2]> = scores.iter().map(|score| score.numbers).collect();
        assert_eq!(numbers, [[0.8, 1.0], [0.0, 0.0]]);
        assert_eq!(scores[0].id, "a b");
        node.trials.push(trial(true, ["d", "a"]));
        let error = node.scores().expect_err("an error").to_string();
        let expected = "trials.txt has a trial of `d`, which is not among the utterances";
        assert_eq!(error, expected);
    }
}
