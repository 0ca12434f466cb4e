//! Recurrent layers over the frames of one layer, as nn.LSTM's, each followed by dropout on what it
//! sends: the encoder of s3prl's downstream model for speech recognition.
#[cfg(test)]
mod tests;

use crate::Result;
use crate::model::{TensorSpec, lstm_tensors};
use crate::node::contents::FileOption;
use crate::node::port::{Carries, Content, Hiddens, Port, Ports, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{
    Config, Head, HiddenInput, KindOptions, Node, NodeContext, NodeInfo, OptionError, Parameter,
    PhaseOutputs, shapes, superb_frames,
};
use compute::gemm::Precision;
use compute::math::Dropout;
use compute::op::{dropout, lstm};
use compute::random::Key;
use compute::tensor::{Hidden, Param, Tape};
use schemars::JsonSchema;
use serde::Deserialize;

/// Recurrent layers (LSTM) over the frames of one layer.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Layers, one behind the other.
    #[serde(default = "default_layers")]
    layers: usize,
    /// Units of each direction of a layer.
    #[serde(default = "default_width")]
    width: usize,
    /// Whether each layer also reads every row from its end.
    #[serde(default = "default_bidirectional")]
    bidirectional: bool,
    /// Share of the outputs of each layer that are 0 in training.
    #[serde(default)]
    dropout: f64,
    /// The folder of such layers that an earlier phase wrote (`$OUT/phase/node`); null: they are
    /// drawn.
    #[serde(default)]
    init: Option<String>,
    /// What operands of products are rounded to.
    #[serde(default)]
    precision: Precision,
}

fn default_layers() -> usize {
    2
}

fn default_width() -> usize {
    1024
}

fn default_bidirectional() -> bool {
    true
}

const PORT: &str = "hiddens";
const MAX_LAYERS: usize = 64;
const MAX_WIDTH: usize = 1 << 14;
/// Tensors of a direction of a layer.
const TENSORS: usize = 4;

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[Port::new(PORT, Carries::Hiddens)],
        outputs: &[Port::new(PORT, Carries::Hiddens)],
    };
    const TRAINS: bool = true;
    const FILES: &[FileOption] = &[FileOption::files("init")];
}

impl Options {
    fn directions(&self) -> usize {
        1 + usize::from(self.bidirectional)
    }

    /// Returns the width of what a layer sends.
    fn output(&self) -> usize {
        self.directions() * self.width
    }

    /// Lists the tensors of all layers for an input of this width.
    fn tensors(&self, input: usize) -> Vec<TensorSpec> {
        let mut tensors = vec![];
        for layer in 0..self.layers {
            let input = if layer == 0 { input } else { self.output() };
            let directions = self.directions();
            tensors.extend(lstm_tensors("", layer, directions, input, self.width));
        }
        tensors
    }

    /// Counts the multiply-accumulates of all layers for a frame.
    fn macs(&self, input: usize) -> u64 {
        let gates = 4 * self.output();
        let first = gates * (input + self.width);
        let others = (self.layers - 1) * gates * (self.output() + self.width);
        (first + others) as u64
    }

    fn errors(&self) -> Vec<OptionError> {
        let mut errors = vec![];
        errors.extend(OptionError::outside("layers", self.layers, 1..=MAX_LAYERS));
        errors.extend(OptionError::outside("width", self.width, 1..=MAX_WIDTH));
        errors.extend(OptionError::unless(
            (0.0..1.0).contains(&self.dropout),
            "dropout",
            format!("{} is not from 0 to below 1", self.dropout),
        ));
        errors
    }

    /// Applies the layers to every row. Without a key there is no dropout.
    fn apply(&self, x: Hidden<Tape>, weights: &[Param], drops: Option<u32>) -> Hidden<Tape> {
        let mut x = x;
        let by_layer = weights.chunks_exact(TENSORS * self.directions());
        for (layer, weights) in by_layer.enumerate() {
            let directions: Vec<[&Param; TENSORS]> = weights
                .chunks_exact(TENSORS)
                .map(|p| [&p[0], &p[1], &p[2], &p[3]])
                .collect();
            x = lstm(x, &directions, self.precision);
            if let Some(key) = drops {
                let rate = self.dropout as f32;
                x = dropout(x, Dropout { rate, key }.fork(layer as u32));
            }
        }
        x
    }
}

impl Config for Options {
    fn info(&self, earlier: &PhaseOutputs, inputs: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let mut errors = self.errors();
        let Some(input) = HiddenInput::find(PORT, inputs) else {
            OptionError::fail_if_any(errors)?;
            return Ok(NodeInfo::default());
        };
        errors.extend(input.error_unless_one_layer(PORT));
        OptionError::fail_if_any(errors)?;
        let tensors = self.tensors(input.width);
        let output = Shape::Hiddens {
            layers: input.layers.to_vec(),
            width: self.output(),
            step: input.step,
            content: Content::Layers,
        };
        let frames = superb_frames(input.step);
        Ok(NodeInfo {
            outputs: shapes([(PORT, output)]),
            macs: Some(frames.saturating_mul(self.macs(input.width))),
            warnings: self.precision.warning().into_iter().collect(),
            ..Head::info(self.init.as_deref(), &tensors, earlier)?
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let input = HiddenInput::known(PORT, &context.inputs)?;
        Ok(Box::new(Recurrent {
            head: Head::build(self.init.as_deref(), self.tensors(input.width), context)?,
            noise: context.key("dropout"),
            options: self.clone(),
        }))
    }
}

struct Recurrent {
    options: Options,
    head: Head,
    /// Of dropout, by the number of the step.
    noise: Key,
}

impl Node for Recurrent {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let drops = step.trains().then(|| self.noise.word(step.info.step));
        let mut layers = vec![];
        for (layer, x) in step.hiddens(PORT)?.layers {
            let macs = self.options.macs(x.width()) * x.spans.total() as u64;
            step.record_products(self.options.precision, macs, true);
            layers.push((layer, self.options.apply(x, self.head.weights(), drops)));
        }
        step.send(PORT, Value::Hiddens(Hiddens { layers }));
        Ok(())
    }

    fn finish(&mut self, step: &mut Step) -> Result<()> {
        self.head.save(step)
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        self.head.parameters()
    }
}
