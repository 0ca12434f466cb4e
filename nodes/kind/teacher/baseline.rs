//! SUPERB's baseline in place of a model, `"model": "fbank"`: 80 log-mel bins of 25 ms every 10 ms,
//! with deltas and the deltas of these, each of the 240 numbers brought to zero mean and unit
//! variance over the utterance (s3prl's upstream `fbank`).
//!
//! Samples are not multiplied by 32768, so energies below 2^-23 of full scale count alike. The mean
//! over all frames of an utterance is zero: what a head that averages frames learns of it is chance.
use super::node::row_means;
use super::{IN, LOGITS_OUT, MAPS_OUT, OUT, Options};
use crate::Result;
use crate::data::column;
use crate::data::column::{ID, SAMPLES};
use crate::data::deltas::with_deltas;
use crate::data::mel::{Mel, SCALE};
use crate::data::targets::Targets;
use crate::node::port::{Content, FrameStep, MASK, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{LayersOption, Node, NodeInfo, OptionError, shapes};
use compute::tensor::{Spans, hidden};
use rayon::prelude::*;
use serde_json::{Value as Json, json};

const NAME: &str = "fbank";
const BINS: usize = 80;
const ORDERS: usize = 2;
const WIDTH: usize = BINS * (1 + ORDERS);
/// Added to each standard deviation.
const EPS: f64 = 1e-10;

/// Returns whether the option `model` means the baseline.
pub(super) fn is_named(model: &str) -> bool {
    model == NAME
}

impl Options {
    /// Returns what is wrong with options that the baseline does not have.
    pub(super) fn baseline_errors(&self, inputs: &Shapes) -> Vec<OptionError> {
        let mut errors = vec![];
        if let LayersOption::Listed(layers) = &self.layers
            && layers != &[0]
        {
            let message = format!("`{NAME}` has layer 0 alone");
            errors.push(OptionError::option("layers", message));
        }
        for (option, given) in [
            ("architecture", self.architecture.is_some()),
            ("normalize", self.normalize.is_some()),
        ] {
            let message = format!("is for models, which `{NAME}` is not");
            errors.extend(OptionError::unless(!given, option, message));
        }
        if inputs.contains_key(MASK.name) {
            let message = format!("`{NAME}` has no mask embedding");
            errors.push(OptionError::input(MASK.name, message));
        }
        errors
    }

    /// Returns what a plan learns.
    pub(super) fn baseline_info(&self) -> NodeInfo {
        let frames = FrameStep {
            hop: 160,
            ..FrameStep::default()
        };
        let targets = self.pooled(Shape::Hiddens {
            layers: vec![0],
            width: WIDTH,
            step: frames,
            content: Content::Layers,
        });
        let reason = format!("`{NAME}` is no model");
        NodeInfo {
            outputs: shapes([(OUT, targets)]),
            parameters: Some(0),
            unavailable: vec![(MAPS_OUT, reason.clone()), (LOGITS_OUT, reason)],
            ..NodeInfo::default()
        }
    }

    /// Returns what the frames depend on.
    pub(super) fn baseline_identity(&self) -> Json {
        let mut identity = json!({ "kind": "teacher", "model": NAME, "version": 1 });
        if let Some(pool) = self.pool {
            identity["pool"] = json!(pool);
        }
        identity
    }
}

/// The baseline as it runs.
pub(super) struct Baseline {
    mel: Mel,
    /// Whether a row is sent as its mean.
    pools: bool,
}

impl Baseline {
    pub(super) fn new(pools: bool) -> Baseline {
        Baseline {
            mel: Mel::new(BINS),
            pools,
        }
    }

    /// Returns the frames of a row, (frames, [`WIDTH`]).
    fn row(&self, samples: &[f32]) -> Vec<f32> {
        let unscaled: Vec<f32> = samples.iter().map(|x| x / SCALE as f32).collect();
        let mut frames = with_deltas(self.mel.features(&unscaled), BINS, ORDERS);
        normalize(&mut frames);
        frames
    }
}

/// Brings each of the numbers of frames to zero mean and unit variance over the frames. The variance
/// is divided by their number less 1; one frame becomes zeros.
fn normalize(frames: &mut [f32]) {
    if frames.is_empty() {
        return;
    }
    let count = (frames.len() / WIDTH) as f64;
    for i in 0..WIDTH {
        let column = || frames[i..].iter().step_by(WIDTH).map(|x| f64::from(*x));
        let mean = column().sum::<f64>() / count;
        let squares: f64 = column().map(|x| (x - mean) * (x - mean)).sum();
        let deviation = (squares / (count - 1.0).max(1.0)).sqrt() + EPS;
        for x in frames[i..].iter_mut().step_by(WIDTH) {
            *x = ((f64::from(*x) - mean) / deviation) as f32;
        }
    }
}

impl Node for Baseline {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let batch = step.batch(IN)?;
        let samples = column::floats_by_row(&batch, SAMPLES)?;
        let rows: Vec<Vec<f32>> = samples.par_iter().map(|row| self.row(row)).collect();
        let spans = Spans::new(rows.iter().map(|row| row.len() / WIDTH));
        let mut frames = hidden(rows.concat(), WIDTH, spans);
        if self.pools {
            frames = row_means(frames);
        }
        let ids = column::get(&batch, ID)?.clone();
        step.send(OUT, Value::Targets(Targets::new(ids, vec![frames])));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::audio::read_audio;
    use crate::model::parity::{load, values};

    /// tests/golden/superb.py
    #[test]
    fn frames_are_s3prls() {
        let golden = load("superb.safetensors");
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let audio = format!("{root}/data/sample/audio/254-12312-0000.flac");
        let samples = read_audio(audio.as_ref()).expect("audio");
        let baseline = Baseline::new(false);
        let ours = baseline.row(&samples[..4000]);
        let theirs = values(&golden, "fbank");
        assert_eq!(ours.len(), theirs.len());
        let errors = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs());
        let largest = errors.fold(0.0, f32::max);
        assert!(largest < 1e-3, "off by {largest}");
    }

    #[test]
    fn a_short_row_has_no_frame_or_a_zero() {
        let baseline = Baseline::new(false);
        assert!(baseline.row(&[0.5; 399]).is_empty());
        assert_eq!(baseline.row(&[0.5; 400]), vec![0.0; WIDTH]);
    }
}
