//! Classes of whole utterances, as s3prl's utterance-level heads find them:
//!
//! ```text
//! z_t = x_t Wᵀ + b, m = mean of z_t over the frames of a row, y = m Vᵀ + c
//! ```
//!
//! x (frames, hidden), z (frames, width), y (rows, classes). The mean of a row that is one frame
//! already, such as a mean that a cache keeps, is that frame; since no step before the mean bends,
//! both ways have the same y.
#[cfg(test)]
mod tests;

use crate::Result;
use crate::model::{Dim, Initial, Numbering, TensorSpec, count};
use crate::node::contents::FileOption;
use crate::node::port::{Carries, Content, FrameStep, Hiddens, Port, Ports, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{
    Config, Head, HiddenInput, KindOptions, Node, NodeContext, NodeInfo, OptionError, Parameter,
    PhaseOutputs, shapes, superb_frames,
};
use compute::gemm::Precision;
use compute::op::{linear, linear_start, row_mean};
use compute::tensor::{Hidden, Tape};
use schemars::JsonSchema;
use serde::Deserialize;

/// Logits of classes for each utterance: a linear map, the mean over frames, a linear map.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The number of classes; of several slots, all of their classes together.
    classes: usize,
    /// Width of the first map.
    #[serde(default = "default_width")]
    width: usize,
    /// Folder of a `classifier` of an earlier phase, `$OUT/phase/node`, whose weights it begins with;
    /// null: they are drawn.
    #[serde(default)]
    init: Option<String>,
    /// What operands of products are rounded to.
    #[serde(default)]
    precision: Precision,
}

fn default_width() -> usize {
    256
}

const IN: &str = "hiddens";
const OUT: &str = "logits";
const MAX_WIDTH: usize = 1 << 16;

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[Port::new(IN, Carries::Hiddens)],
        outputs: &[Port::new(OUT, Carries::Hiddens)],
    };
    const TRAINS: bool = true;
    const FILES: &[FileOption] = &[FileOption::files("init")];
}

impl Options {
    /// Lists W, b, V and c.
    fn tensors(&self, hidden: usize) -> Vec<TensorSpec> {
        let mut tensors = vec![];
        for (name, inputs, outputs) in [
            ("projector", hidden, self.width),
            ("linear", self.width, self.classes),
        ] {
            let drawn = Initial::Within(1.0 / (inputs as f64).sqrt());
            let [inputs, outputs] = [inputs, outputs].map(Dim::fixed);
            let weight = format!("{name}.weight");
            tensors.push(TensorSpec::new(weight, &[outputs, inputs], drawn));
            tensors.push(TensorSpec::new(format!("{name}.bias"), &[outputs], drawn));
        }
        tensors
    }

    /// Draws the tensors, each map by a key of its own.
    fn draw(&self, hidden: usize, context: &NodeContext) -> Vec<Vec<f32>> {
        let projector = linear_start(context.key("projector"), 0, hidden, self.width);
        let linear = linear_start(context.key("linear"), 0, self.width, self.classes);
        [projector, linear].concat()
    }
}

impl Config for Options {
    fn info(
        &self,
        phase_outputs: &PhaseOutputs,
        inputs: &Shapes,
    ) -> Result<NodeInfo, Vec<OptionError>> {
        let mut errors = vec![];
        for (option, value) in [("classes", self.classes), ("width", self.width)] {
            errors.extend(OptionError::outside(option, value, 1..=MAX_WIDTH));
        }
        let Some(input) = HiddenInput::find(IN, inputs) else {
            OptionError::fail_if_any(errors)?;
            return Ok(NodeInfo::default());
        };
        errors.extend(input.error_unless_one_layer(IN));
        OptionError::fail_if_any(errors)?;
        let tensors = self.tensors(input.width);
        let logits = Shape::Hiddens {
            layers: input.layers.to_vec(),
            width: self.classes,
            step: FrameStep {
                pooled: true,
                ..input.step
            },
            content: Content::Logits(Numbering::Learned),
        };
        let rows = count::SUPERB.len() as u64;
        let frames = match input.step.pooled {
            true => rows,
            false => superb_frames(input.step),
        };
        let products = frames * input.width as u64 + rows * self.classes as u64;
        Ok(NodeInfo {
            outputs: shapes([(OUT, logits)]),
            macs: Some(self.width as u64 * products),
            warnings: self.precision.warning().into_iter().collect(),
            ..Head::info(self.init.as_deref(), &tensors, phase_outputs)?
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let input = HiddenInput::known(IN, &context.inputs)?;
        let tensors = self.tensors(input.width);
        let draw = |_: &[TensorSpec]| self.draw(input.width, context);
        Ok(Box::new(Classifier {
            head: Head::build_or(self.init.as_deref(), tensors, context, draw)?,
            layer: input.layers.first().copied().unwrap_or(0),
            precision: self.precision,
        }))
    }
}

struct Classifier {
    /// W, b, V, c.
    head: Head,
    /// The number of the layer that is read.
    layer: usize,
    precision: Precision,
}

impl Classifier {
    fn logits(&self, x: Hidden<Tape>) -> Hidden<Tape> {
        let [w, b, v, c] = self.head.weights() else {
            unreachable!("a classifier has four tensors");
        };
        let z = linear(x, w, b, self.precision);
        linear(row_mean(z), v, c, self.precision)
    }
}

impl Node for Classifier {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let received = step.hiddens(IN)?.layers;
        let (_, x) = received.into_iter().next().ok_or("no layer came")?;
        let layers = vec![(self.layer, self.logits(x))];
        step.send(OUT, Value::Hiddens(Hiddens { layers }));
        Ok(())
    }

    fn finish(&mut self, step: &mut Step) -> Result<()> {
        self.head.save(step)
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        self.head.parameters()
    }
}
