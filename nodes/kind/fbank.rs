//! `fbank`: waveforms to log-mel frames (`mel`) or cepstra (`cepstra`), 25 ms every 10 ms, each row by itself.
mod cepstra;
mod mel;

pub use mel::{Mel, frames};

use crate::Result;
use crate::data::column;
use crate::data::column::{FBANK, FEATURES, ID, SAMPLES, SPEECH, VIEW};
use crate::data::entry::Entry;
use crate::node::port::{Carries, Port, Ports, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{
    Cacheable, Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, PhaseOutputs, shapes,
};
use arrow::record_batch::RecordBatch;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::path::Path;
use std::sync::Arc;

/// Waveforms to log-mel frames or cepstra, as Kaldi's.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Mel filters.
    #[serde(default = "bins")]
    bins: usize,
    /// Cepstra of each frame in place of its mel energies; null: the energies.
    #[serde(default)]
    cepstra: Option<usize>,
    /// Orders of differences over time that follow each frame's features.
    #[serde(default)]
    deltas: usize,
}

fn bins() -> usize {
    80
}

const IN: &str = "speech";
const OUT: &str = "features";
/// As many as the power spectrum has bins.
const MOST_BINS: usize = 256;
const MOST_DELTAS: usize = 2;

impl Options {
    /// Numbers of a frame.
    fn width(&self) -> usize {
        self.cepstra.unwrap_or(self.bins) * (1 + self.deltas)
    }
}

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[Port::new(IN, Carries::Batch(SPEECH))],
        outputs: &[Port::new(OUT, Carries::Batch(FBANK))],
    };
    const CACHEABLE: bool = true;
}

impl Config for Options {
    fn info(&self, _: &PhaseOutputs, _: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let cepstra = self.cepstra.unwrap_or(1);
        let mut wrong = vec![];
        wrong.extend(OptionError::outside("bins", self.bins, 4..=MOST_BINS));
        wrong.extend(OptionError::outside(
            "cepstra",
            cepstra,
            1..=self.bins.clamp(1, MOST_BINS),
        ));
        wrong.extend(OptionError::outside("deltas", self.deltas, 0..=MOST_DELTAS));
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(NodeInfo {
            outputs: shapes([(
                OUT,
                Shape::Features {
                    width: self.width(),
                },
            )]),
            ..NodeInfo::default()
        })
    }
    fn build(&self, _: &NodeContext) -> Result<Box<dyn Node>> {
        let matrix = self.cepstra.map(|c| cepstra::matrix(c, self.bins));
        Ok(Box::new(Fbank {
            options: self.clone(),
            mel: Mel::new(self.bins),
            matrix,
        }))
    }
    fn cacheable(&self) -> Option<&dyn Cacheable> {
        Some(self)
    }
}

impl Cacheable for Options {
    fn identity(
        &self,
        _: &NodeContext,
        _: &mut dyn FnMut(&Path) -> Result<String>,
    ) -> Result<Json> {
        Ok(
            json!({ "kind": "fbank", "bins": self.bins, "cepstra": self.cepstra, "deltas": self.deltas }),
        )
    }
    fn input(&self) -> &'static str {
        IN
    }
    fn output(&self) -> &'static str {
        OUT
    }
    fn build_for(&self, _: &[usize], context: &NodeContext) -> Result<Box<dyn Node>> {
        self.build(context)
    }
    fn batch(&self, rows: &RecordBatch, entries: &[Vec<Entry>]) -> Result<RecordBatch> {
        features(
            rows,
            &entries
                .iter()
                .flatten()
                .map(|entry| &entry.values[..])
                .collect::<Vec<_>>(),
        )
    }
    fn entry(&self, sent: &RecordBatch, row: usize, _: usize) -> Result<Entry> {
        let values = column::floats(sent, FEATURES, row)?.to_vec();
        Ok(Entry {
            frames: (values.len() / self.width()) as u32,
            values,
        })
    }
}

/// The batch of these features, one of `rows` each.
fn features(rows: &RecordBatch, features: &[&[f32]]) -> Result<RecordBatch> {
    let lists = column::list(features.concat(), features.iter().map(|f| f.len()))?;
    let kept = |c| column::get(rows, c).cloned();
    column::batch(vec![
        (ID, kept(ID)?),
        (FEATURES, Arc::new(lists)),
        (VIEW, kept(VIEW)?),
    ])
}

struct Fbank {
    options: Options,
    mel: Mel,
    /// Of the cepstra.
    matrix: Option<Vec<f64>>,
}

impl Fbank {
    fn row(&self, samples: &[f32]) -> Vec<f32> {
        let (mut features, mut width) = (self.mel.features(samples), self.options.bins);
        if let Some(matrix) = &self.matrix {
            (features, width) = (
                cepstra::cepstra(&features, width, matrix),
                matrix.len() / width,
            );
        }
        cepstra::with_deltas(features, width, self.options.deltas)
    }
}

impl Node for Fbank {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let batch = step.batch(IN)?;
        let rows = column::floats_by_row(&batch, SAMPLES)?;
        let made: Vec<Vec<f32>> = rows.par_iter().map(|row| self.row(row)).collect();
        step.send(
            OUT,
            Value::Batch(features(
                &batch,
                &made.iter().map(|f| &f[..]).collect::<Vec<_>>(),
            )?),
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::audio::read_audio;
    use crate::data::file;

    fn options(bins: usize, cepstra: Option<usize>, deltas: usize) -> Options {
        Options {
            bins,
            cepstra,
            deltas,
        }
    }

    fn row(options: Options, samples: &[f32]) -> Vec<f32> {
        let matrix = options.cepstra.map(|c| cepstra::matrix(c, options.bins));
        Fbank {
            mel: Mel::new(options.bins),
            matrix,
            options,
        }
        .row(samples)
    }

    /// A second of speech: torchaudio in f64, and Kaldi's f32, whose transform rounds (tests/golden/features.py).
    #[test]
    fn features_are_torchaudios_and_kaldis() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let theirs = file::load(format!("{root}/tests/golden/fbank.safetensors").as_ref())
            .expect("a golden file");
        let samples = read_audio(format!("{root}/data/sample/audio/254-12312-0000.flac").as_ref())
            .expect("audio");
        let off = |name: &str, options: Options| {
            let (ours, theirs) = (row(options, &samples[..16000]), &theirs[name].1);
            assert_eq!(ours.len(), theirs.len());
            ours.iter()
                .zip(theirs)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max)
        };
        for bins in [23, 80] {
            let [torchaudio, kaldi] = ["torchaudio", "kaldi"]
                .map(|of| off(&format!("{of}/{bins}"), options(bins, None, 0)));
            assert!(
                torchaudio < 1e-4 && kaldi < 1e-4,
                "{bins} bins: off by {torchaudio}, {kaldi}"
            );
        }
        let mfcc = off("mfcc", options(23, Some(13), 2));
        assert!(mfcc < 5e-4, "cepstra, up to a hundred: off by {mfcc}"); // torchaudio's cosines are f32
    }

    #[test]
    fn only_whole_frames_count() {
        let samples: Vec<f32> = (0..720).map(|i| (i as f32 * 0.1).sin()).collect();
        for (n, count) in [(0, 0), (399, 0), (400, 1), (559, 1), (560, 2), (720, 3)] {
            assert_eq!(
                (frames(n), row(options(80, None, 0), &samples[..n]).len()),
                (count, 80 * count)
            );
            assert_eq!(
                row(options(23, Some(13), 2), &samples[..n]).len(),
                39 * count
            );
        }
        assert!(
            row(options(80, None, 0), &[0.0; 400])
                .iter()
                .all(|x| *x == f32::EPSILON.ln()),
            "silence is the floor"
        );
    }
}
