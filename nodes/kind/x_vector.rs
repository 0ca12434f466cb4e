//! x-vectors (Snyder et al. 2018), as s3prl's downstream model for speaker verification makes them of
//! the frames x of one layer, (frames, input). ReLU follows each linear map:
//!
//! ```text
//! frames       5, 3, 3, 1 and 1 frames, 1, 2, 3, 1 and 1 apart, are joined and mapped to `width`,
//!              at last to `pooled`: 14 frames of a row are lost
//! statistics   mean and standard deviation over the frames of a row, 2 · pooled
//! embeddings   a linear map to `width`: what speakers are compared by
//! hiddens      another linear map, for the loss alone
//! ```
mod maps;
#[cfg(test)]
mod tests;

use crate::Result;
use crate::model::count;
use crate::node::contents::FileOption;
use crate::node::port::{Carries, Content, FrameStep, Hiddens, Port, Ports, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{
    Config, Head, HiddenInput, KindOptions, Node, NodeContext, NodeInfo, OptionError, Parameter,
    PhaseOutputs, shapes, superb_frames,
};
use compute::gemm::Precision;
use maps::{MIN_FRAMES, Map};
use schemars::JsonSchema;
use serde::Deserialize;

/// A vector for each utterance, by which speakers are told apart (x-vector).
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Width of the maps over frames, and of the vectors.
    #[serde(default = "default_width")]
    width: usize,
    /// Width of the frames that are pooled.
    #[serde(default = "default_pooled")]
    pooled: usize,
    /// The folder of such maps that an earlier phase wrote (`$OUT/phase/node`); null: they are drawn.
    #[serde(default)]
    init: Option<String>,
    /// What operands of products are rounded to.
    #[serde(default)]
    precision: Precision,
}

fn default_width() -> usize {
    512
}

fn default_pooled() -> usize {
    1500
}

const IN: &str = "hiddens";
const EMBEDDINGS: &str = "embeddings";
const HIDDENS: &str = "hiddens";
const MAX_WIDTH: usize = 1 << 16;

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[Port::new(IN, Carries::Hiddens)],
        outputs: &[
            Port::new(EMBEDDINGS, Carries::Hiddens),
            Port::new(HIDDENS, Carries::Hiddens),
        ],
    };
    const TRAINS: bool = true;
    const FILES: &[FileOption] = &[FileOption::files("init")];
}
impl Config for Options {
    fn info(&self, earlier: &PhaseOutputs, inputs: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let mut errors = vec![];
        for (option, value) in [("width", self.width), ("pooled", self.pooled)] {
            errors.extend(OptionError::outside(option, value, 1..=MAX_WIDTH));
        }
        let Some(input) = HiddenInput::find(IN, inputs) else {
            OptionError::fail_if_any(errors)?;
            return Ok(NodeInfo::default());
        };
        errors.extend(input.error_unless_one_layer(IN));
        if input.step.pooled {
            errors.push(OptionError::input(
                IN,
                "has one frame a row; x-vectors are made of all frames",
            ));
        }
        OptionError::fail_if_any(errors)?;
        let tensors = self.tensors(input.width);
        let output = Shape::Hiddens {
            layers: input.layers.to_vec(),
            width: self.width,
            step: FrameStep {
                pooled: true,
                ..input.step
            },
            content: Content::Layers,
        };
        let per_frame: u64 = self.frame_maps(input.width).iter().map(Map::macs).sum();
        let frames = superb_frames(input.step);
        let per_row: u64 = self.row_maps().iter().map(Map::macs).sum();
        let rows = count::SUPERB.len() as u64;
        Ok(NodeInfo {
            outputs: shapes([(EMBEDDINGS, output.clone()), (HIDDENS, output)]),
            macs: Some(frames.saturating_mul(per_frame) + rows * per_row),
            warnings: self.precision.warning().into_iter().collect(),
            ..Head::info(self.init.as_deref(), &tensors, earlier)?
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let input = HiddenInput::known(IN, &context.inputs)?;
        Ok(Box::new(XVector {
            head: Head::build(self.init.as_deref(), self.tensors(input.width), context)?,
            options: self.clone(),
        }))
    }
}

struct XVector {
    options: Options,
    head: Head,
}

impl Node for XVector {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let layers = step.hiddens(IN)?.layers;
        let (layer, x) = layers.into_iter().next().ok_or("no layer came")?;
        if let Some(frames) = x.spans.lengths().find(|frames| *frames < MIN_FRAMES) {
            return Err(format!(
                "an utterance has {frames} frames, but an x-vector needs {MIN_FRAMES}; raise \
                 `min_seconds` of `decode`"
            )
            .into());
        }
        let per_frame: u64 = self
            .options
            .frame_maps(x.width())
            .iter()
            .map(Map::macs)
            .sum();
        let macs = per_frame * x.spans.total() as u64;
        step.record_products(self.options.precision, macs, true);
        let sent = self.options.apply(x, self.head.weights());
        for (port, hidden) in [EMBEDDINGS, HIDDENS].into_iter().zip(sent) {
            let layers = vec![(layer, hidden)];
            step.send(port, Value::Hiddens(Hiddens { layers }));
        }
        Ok(())
    }

    fn finish(&mut self, step: &mut Step) -> Result<()> {
        self.head.save(step)
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        self.head.parameters()
    }
}
