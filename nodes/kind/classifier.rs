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
use crate::model::{Numbering, count};
use crate::node::contents::FileOption;
use crate::node::head_file::{HeadTensors, check_head_init, head_parameters, load_head, save_head};
use crate::node::port::{Carries, Content, FrameStep, Hiddens, Port, Ports, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{
    Artifact, Config, HiddenInput, KindOptions, Node, NodeContext, NodeInfo, OptionError,
    Parameter, PhaseOutputs, shapes, superb_frames,
};
use compute::gemm::Precision;
use compute::op::{linear, linear_start, row_mean};
use compute::tensor::{Hidden, Param, Tape, param};
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
    fn tensors(&self, hidden: usize) -> HeadTensors {
        let tensor = |name: &str, shape: &[usize]| (name.to_owned(), shape.to_vec());
        vec![
            tensor("projector.weight", &[self.width, hidden]),
            tensor("projector.bias", &[self.width]),
            tensor("linear.weight", &[self.classes, self.width]),
            tensor("linear.bias", &[self.classes]),
        ]
    }

    /// Draws the weights as PyTorch's Linear begins.
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
        let reads = check_head_init(self.init.as_deref(), &tensors, phase_outputs);
        let reads = reads.map_err(|error| vec![error])?;
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
            parameters: Some(head_parameters(&tensors)),
            macs: Some(self.width as u64 * products),
            writes: Some(Artifact::Head { tensors }),
            reads: reads.into_iter().collect(),
            warnings: self.precision.warning().into_iter().collect(),
            ..NodeInfo::default()
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let input = HiddenInput::known(IN, &context.inputs)?;
        let tensors = self.tensors(input.width);
        let stored = load_head(self.init.as_deref(), &tensors, context)?;
        let values = stored.unwrap_or_else(|| self.draw(input.width, context));
        Ok(Box::new(Classifier {
            weights: values.into_iter().map(param).collect(),
            tensors,
            layer: input.layers.first().copied().unwrap_or(0),
            precision: self.precision,
        }))
    }
}

struct Classifier {
    /// W, b, V, c.
    weights: Vec<Param>,
    tensors: HeadTensors,
    /// The number of the layer that is read.
    layer: usize,
    precision: Precision,
}

impl Classifier {
    fn logits(&self, x: Hidden<Tape>) -> Hidden<Tape> {
        let z = linear(x, &self.weights[0], &self.weights[1], self.precision);
        linear(
            row_mean(z),
            &self.weights[2],
            &self.weights[3],
            self.precision,
        )
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
        save_head(&self.parameters(), step)
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        let parameters = self.tensors.iter().zip(&mut self.weights);
        parameters
            .map(|((name, shape), weight)| Parameter {
                name: name.clone(),
                shape: shape.clone(),
                weight,
                sign: 1.0,
            })
            .collect()
    }
}
