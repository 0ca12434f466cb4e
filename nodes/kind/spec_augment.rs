//! SpecAugment (Park et al. 2019) on the hidden states of one layer, as s3prl's: each row is warped in
//! time about one frame, then bands of channels and spans of frames become 0. In training only.
//!
//! A row of n frames is warped about its frame c, drawn from w to n - w - 1 for the width w, to place
//! p, drawn from c - w + 1 to c + w: the c frames before it become p, the others n - p, by cubic
//! convolution (Keys 1981, a = -0.75, as PyTorch's bicubic interpolation). Rows of up to 2 w frames
//! are not warped.
mod draw;

use crate::Result;
use crate::node::port::{Carries, Hiddens, Port, Ports, Shapes, Value, shape_of};
use crate::node::step::Step;
use crate::node::{
    Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, PhaseOutputs, shapes,
};
use compute::op::combine_frames;
use compute::random::Key;
use schemars::JsonSchema;
use serde::Deserialize;

/// Warps rows in time and masks channels and frames, in training (SpecAugment).
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The most frames by which a row is warped; 0: rows are not warped.
    #[serde(default = "default_warp")]
    warp: usize,
    /// The most channels of a band.
    #[serde(default = "default_frequency")]
    frequency: usize,
    /// Bands of a row.
    #[serde(default = "default_frequencies")]
    frequencies: usize,
    /// The most frames of a span.
    #[serde(default = "default_time")]
    time: usize,
    /// Spans of a row.
    #[serde(default = "default_times")]
    times: usize,
}

fn default_warp() -> usize {
    5
}

fn default_frequency() -> usize {
    49
}

fn default_frequencies() -> usize {
    4
}

fn default_time() -> usize {
    39
}

fn default_times() -> usize {
    2
}

const PORT: &str = "hiddens";
const MAX_WIDTH: usize = 1 << 16;
const MAX_COUNT: usize = 1 << 10;

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[Port::new(PORT, Carries::Hiddens)],
        outputs: &[Port::new(PORT, Carries::Hiddens)],
    };
}

impl Config for Options {
    fn info(&self, _: &PhaseOutputs, inputs: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let ranges = [
            ("warp", self.warp, MAX_WIDTH),
            ("frequency", self.frequency, MAX_WIDTH),
            ("frequencies", self.frequencies, MAX_COUNT),
            ("time", self.time, MAX_WIDTH),
            ("times", self.times, MAX_COUNT),
        ];
        let outside = ranges.map(|(option, n, most)| OptionError::outside(option, n, 0..=most));
        OptionError::fail_if_any(outside.into_iter().flatten().collect())?;
        let Some(shape) = shape_of(inputs, PORT) else {
            return Ok(NodeInfo::default());
        };
        Ok(NodeInfo {
            outputs: shapes([(PORT, shape.clone())]),
            ..NodeInfo::default()
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        Ok(Box::new(SpecAugment {
            options: *self,
            key: context.key("spec-augment"),
        }))
    }
}

struct SpecAugment {
    options: Options,
    key: Key,
}

impl Node for SpecAugment {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let mut layers = step.hiddens(PORT)?.layers;
        if step.trains() {
            for (_, x) in &mut layers {
                let (sums, open) = self
                    .options
                    .draw(&x.spans, x.width(), self.key, step.info.step);
                *x = combine_frames(x.clone(), sums, open);
            }
        }
        step.send(PORT, Value::Hiddens(Hiddens { layers }));
        Ok(())
    }
}
