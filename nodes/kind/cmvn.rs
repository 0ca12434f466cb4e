//! Mean and standard deviation of each bin over the frames of all train rows.
//!
//! The node adds up in f64, row by row, and writes `cmvn.safetensors` when its phase ends. Dev rows
//! are left out. The sums are in no checkpoint, so the phase has no optimizer.
use crate::Result;
use crate::data::column;
use crate::data::column::{FBANK, FEATURES, ID};
use crate::model::{CMVN_FILE, Cmvn};
use crate::node::port::{Carries, Port, Ports, Shape, Shapes};
use crate::node::step::Step;
use crate::node::{
    Artifact, Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, PhaseOutputs,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Computes the statistics by which log-mel frames are normalised.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {}

const IN: &str = "features";
/// The least variance: a bin may be constant.
const MIN_VARIANCE: f64 = 1e-8;

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[Port::new(IN, Carries::Batch(FBANK))],
        outputs: &[],
    };
    const FORGETS: bool = true;
    const NEEDS_ALL_ROWS: bool = true;
}

fn width(inputs: &Shapes) -> Option<usize> {
    match inputs.get(IN)?.first()? {
        Shape::Features { width } => Some(*width),
        _ => None,
    }
}

impl Config for Options {
    fn info(&self, _: &PhaseOutputs, inputs: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        Ok(NodeInfo {
            writes: width(inputs).map(|bins| Artifact::Cmvn { bins }),
            ..NodeInfo::default()
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let bins = width(&context.inputs).ok_or("the width of `features` is unknown")?;
        Ok(Box::new(Statistics::new(bins)))
    }
}

/// Sums over frames, by bin.
struct Statistics {
    frames: u64,
    sums: Vec<f64>,
    squares: Vec<f64>,
}

impl Statistics {
    fn new(bins: usize) -> Statistics {
        Statistics {
            frames: 0,
            sums: vec![0.0; bins],
            squares: vec![0.0; bins],
        }
    }

    fn add(&mut self, frames: &[f32]) {
        for frame in frames.chunks_exact(self.sums.len()) {
            self.frames += 1;
            for ((x, sum), square) in frame.iter().zip(&mut self.sums).zip(&mut self.squares) {
                let x = *x as f64;
                *sum += x;
                *square += x * x;
            }
        }
    }

    /// Returns the statistics with the population's variance.
    fn finish(&self) -> Cmvn {
        let count = self.frames as f64;
        let mut cmvn = Cmvn {
            mean: vec![],
            std: vec![],
        };
        for (sum, square) in self.sums.iter().zip(&self.squares) {
            let mean = sum / count;
            let variance = square / count - mean * mean;
            cmvn.mean.push(mean as f32);
            cmvn.std.push(variance.max(MIN_VARIANCE).sqrt() as f32);
        }
        cmvn
    }
}

impl Node for Statistics {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let batch = step.batch(IN)?;
        if step.info.dev {
            return Ok(());
        }
        let ids = column::texts(&batch, ID)?;
        for (row, frames) in column::floats_by_row(&batch, FEATURES)?
            .into_iter()
            .enumerate()
        {
            if !frames.iter().all(|x| x.is_finite()) {
                return Err(format!("a frame of `{}` is not finite", ids.value(row)).into());
            }
            self.add(frames);
        }
        Ok(())
    }

    fn finish(&mut self, step: &mut Step) -> Result<()> {
        if self.frames == 0 {
            return Err("no frame came, so there are no statistics".into());
        }
        let frames = self.frames;
        let bins = self.sums.len();
        step.context.say(format!(
            "mean and deviation of {bins} bins over {frames} frames"
        ));
        Statistics::finish(self).save(&step.context.folder().join(CMVN_FILE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_the_populations() {
        let mut statistics = Statistics::new(2);
        statistics.add(&[1.0, 5.0, 3.0, 5.0]);
        statistics.add(&[]);
        statistics.add(&[8.0, 5.0]);
        let cmvn = statistics.finish();
        // A variance of (9 + 1 + 16) / 3; a constant bin has the least.
        assert_eq!(cmvn.mean, [4.0, 5.0]);
        let deviation = (26f64 / 3.0).sqrt() as f32;
        assert_eq!(cmvn.std, [deviation, 1e-4]);
        let mut frames = vec![1.0, 5.0];
        cmvn.apply(&mut frames);
        assert_eq!(frames, [-3.0 / deviation, 0.0]);
    }
}
