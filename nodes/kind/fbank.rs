//! Maps each waveform to log-mel frames ([`Mel`]) or cepstra (module `cepstra`) of 25 ms every 10
//! ms.
mod cepstra;

use crate::Result;
use crate::data::column;
use crate::data::column::{FBANK, FEATURES, ID, SAMPLES, SPEECH, VIEW};
use crate::data::deltas::with_deltas;
use crate::data::entry::Entry;
use crate::data::mel::Mel;
use crate::data::read_files::ReadFiles;
use crate::node::port::{Carries, Port, Ports, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{
    BuiltNode, Cacheable, Config, KindOptions, Node, NodeContext, NodeInfo, OptionError,
    PhaseOutputs, StoredEntry, shapes,
};
use arrow::record_batch::RecordBatch;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::path::Path;
use std::sync::Arc;

/// Computes log-mel frames or cepstra of waveforms, as Kaldi does.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Mel filters.
    #[serde(default = "default_bins")]
    bins: usize,
    /// Cepstra per frame in place of its mel energies; null: the energies.
    #[serde(default)]
    cepstra: Option<usize>,
    /// Orders of differences over time that follow each frame's features.
    #[serde(default)]
    deltas: usize,
}

fn default_bins() -> usize {
    80
}

const IN: &str = "speech";
const OUT: &str = "features";
/// The number of bins of the power spectrum.
const MAX_BINS: usize = 256;
const MAX_DELTAS: usize = 2;

impl Options {
    /// Returns the number of values per frame.
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
        let max_cepstra = self.bins.clamp(1, MAX_BINS);
        let ranges = [
            ("bins", self.bins, 4..=MAX_BINS),
            ("cepstra", cepstra, 1..=max_cepstra),
            ("deltas", self.deltas, 0..=MAX_DELTAS),
        ];
        let mut errors = vec![];
        for (option, value, range) in ranges {
            errors.extend(OptionError::outside(option, value, range));
        }
        OptionError::fail_if_any(errors)?;
        let width = self.width();
        Ok(NodeInfo {
            outputs: shapes([(OUT, Shape::Features { width })]),
            ..NodeInfo::default()
        })
    }

    fn build(&self, _: &NodeContext) -> Result<Box<dyn Node>> {
        Ok(Box::new(Fbank::new(self.clone())))
    }

    fn cacheable(&self) -> Option<&dyn Cacheable> {
        Some(self)
    }
}

impl Cacheable for Options {
    fn identity(
        &self,
        _: &str,
        _: &NodeContext,
        _: &mut dyn FnMut(&Path) -> Result<String>,
    ) -> Result<Json> {
        Ok(json!({
            "kind": "fbank",
            "bins": self.bins,
            "cepstra": self.cepstra,
            "deltas": self.deltas,
        }))
    }

    fn input(&self) -> &'static str {
        IN
    }

    fn ports(&self) -> &'static [&'static str] {
        &[OUT]
    }

    fn entries(&self, _: &str, _: &NodeContext) -> Result<Vec<StoredEntry>> {
        Ok(vec![StoredEntry::Rows])
    }

    fn build_for(&self, _: &[StoredEntry], context: &NodeContext) -> Result<BuiltNode> {
        Ok(BuiltNode {
            node: self.build(context)?,
            read_files: ReadFiles::default(),
        })
    }

    fn batch(&self, _: &str, rows: &RecordBatch, entries: &[Vec<Entry>]) -> Result<RecordBatch> {
        let features: Vec<&[f32]> = entries
            .iter()
            .flatten()
            .map(|entry| &entry.values[..])
            .collect();
        features_batch(rows, &features)
    }

    fn entry(&self, _: &str, sent: &RecordBatch, row: usize, _: usize) -> Result<Entry> {
        let values = column::floats(sent, FEATURES, row)?.to_vec();
        Ok(Entry {
            frames: (values.len() / self.width()) as u32,
            values,
        })
    }
}

/// Builds the batch with the columns [`column::FBANK`] from the features of each row of `rows`.
fn features_batch(rows: &RecordBatch, features: &[&[f32]]) -> Result<RecordBatch> {
    let lists = column::list(features.concat(), features.iter().map(|row| row.len()))?;
    column::batch(vec![
        (ID, column::get(rows, ID)?.clone()),
        (FEATURES, Arc::new(lists)),
        (VIEW, column::get(rows, VIEW)?.clone()),
    ])
}

struct Fbank {
    options: Options,
    mel: Mel,
    /// (cepstra, bins), if the features are cepstra.
    matrix: Option<Vec<f64>>,
}

impl Fbank {
    fn new(options: Options) -> Fbank {
        Fbank {
            mel: Mel::new(options.bins),
            matrix: options.cepstra.map(|n| cepstra::matrix(n, options.bins)),
            options,
        }
    }

    /// Returns the features of one row, (frames, width).
    fn row(&self, samples: &[f32]) -> Vec<f32> {
        let bins = self.options.bins;
        let energies = self.mel.features(samples);
        let deltas = self.options.deltas;
        match &self.matrix {
            Some(matrix) => {
                let cepstra = cepstra::cepstra(&energies, bins, matrix);
                with_deltas(cepstra, matrix.len() / bins, deltas)
            }
            None => with_deltas(energies, bins, deltas),
        }
    }
}

impl Node for Fbank {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let batch = step.batch(IN)?;
        let rows = column::floats_by_row(&batch, SAMPLES)?;
        let features: Vec<Vec<f32>> = rows.par_iter().map(|row| self.row(row)).collect();
        let features: Vec<&[f32]> = features.iter().map(Vec::as_slice).collect();
        step.send(OUT, Value::Batch(features_batch(&batch, &features)?));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::audio::read_audio;
    use crate::data::file;
    use crate::data::mel::frames;

    fn row(bins: usize, cepstra: Option<usize>, deltas: usize, samples: &[f32]) -> Vec<f32> {
        let options = Options {
            bins,
            cepstra,
            deltas,
        };
        Fbank::new(options).row(samples)
    }

    /// A second of speech, compared with torchaudio in f64 and with Kaldi, whose transform rounds
    /// to f32 (tests/golden/features.py).
    #[test]
    fn features_are_torchaudios_and_kaldis() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let golden = format!("{root}/tests/golden/fbank.safetensors");
        let golden = file::load(golden.as_ref()).expect("a golden file");
        let audio = format!("{root}/data/sample/audio/254-12312-0000.flac");
        let samples = read_audio(audio.as_ref()).expect("audio");
        let largest_error = |name: &str, ours: &[f32]| {
            let theirs = &golden[name].1;
            assert_eq!(ours.len(), theirs.len());
            let errors = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs());
            errors.fold(0.0, f32::max)
        };
        for bins in [23, 80] {
            let ours = row(bins, None, 0, &samples[..16000]);
            for reference in ["torchaudio", "kaldi"] {
                let error = largest_error(&format!("{reference}/{bins}"), &ours);
                assert!(error < 1e-4, "{reference}, {bins} bins: off by {error}");
            }
        }
        let mfcc = row(23, Some(13), 2, &samples[..16000]);
        let error = largest_error("mfcc", &mfcc);
        // Cepstra reach 100, and torchaudio's cosines are f32.
        assert!(error < 5e-4, "cepstra: off by {error}");
    }

    #[test]
    fn only_whole_frames_count() {
        let samples: Vec<f32> = (0..720).map(|i| (i as f32 * 0.1).sin()).collect();
        for (n, count) in [(0, 0), (399, 0), (400, 1), (559, 1), (560, 2), (720, 3)] {
            assert_eq!(frames(n), count);
            assert_eq!(row(80, None, 0, &samples[..n]).len(), 80 * count);
            assert_eq!(row(23, Some(13), 2, &samples[..n]).len(), 39 * count);
        }
    }

    #[test]
    fn silence_is_the_smallest_energy() {
        let silence = row(80, None, 0, &[0.0; 400]);
        assert!(silence.iter().all(|x| *x == f32::EPSILON.ln()));
    }
}
