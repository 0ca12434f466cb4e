//! Heads that bring a student's layers to its target: linear maps, alone or behind what changes the
//! number of layers or frames (module `forms`).
//!
//! Layers of a group share one head (in DPHuBERT layer 0 has its own, the others share one).
mod check;
mod file;
mod forms;
mod node;
#[cfg(test)]
mod parity;

use crate::Result;
use crate::node::contents::FileOption;
use crate::node::port::{Carries, Content, Port, Ports, Shape, Shapes};
use crate::node::{
    Artifact, Config, HiddenInput, KindOptions, Node, NodeContext, NodeInfo, OptionError,
    PhaseOutputs, shapes, superb_frames,
};
use compute::gemm::Precision;
use compute::tensor::param;
use file::HeadsFile;
use forms::{Form, Head, HeadSizes, HeadTensor, TensorPlan};
use node::Project;
use schemars::JsonSchema;
use serde::Deserialize;

/// Heads that map the student's layers to the target's width.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// "linear": a linear map. "expand": one layer becomes `targets` layers, by a linear map, GELU
    /// and a linear map for each (DistilHuBERT). "upsample": a transposed convolution that makes two
    /// frames of one, then a linear map (FitHuBERT).
    #[serde(default)]
    r#type: Form,
    /// The target's width.
    width: usize,
    /// Layers that "expand" makes.
    #[serde(default)]
    targets: Option<usize>,
    /// Layers that share one head; null: one each.
    #[serde(default)]
    groups: Option<Vec<Vec<usize>>>,
    /// "default" (uniform, as PyTorch draws these layers), "identity" (zero bias), or the
    /// heads.safetensors of an earlier phase.
    #[serde(default = "default_init")]
    init: String,
    /// What operands of products are rounded to.
    #[serde(default)]
    precision: Precision,
}

fn default_init() -> String {
    DEFAULT.into()
}

const DEFAULT: &str = "default";
const IDENTITY: &str = "identity";
const PORT: &str = "hiddens";
const FILE: &str = "heads.safetensors";
const GROUPS: &str = "groups";
const MAX_WIDTH: usize = 1 << 16;
const MAX_TARGETS: usize = 1024;

/// The layers of each head.
type Groups = Vec<Vec<usize>>;

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[Port::new(PORT, Carries::Hiddens)],
        outputs: &[Port::new(PORT, Carries::Hiddens)],
    };
    const TRAINS: bool = true;
    const FILES: &[FileOption] = &[FileOption::files("init")];
}

impl Options {
    /// Returns whether `init` names no file.
    fn draws(&self) -> bool {
        [DEFAULT, IDENTITY].contains(&self.init.as_str())
    }

    fn sizes(&self, from: usize) -> HeadSizes {
        HeadSizes {
            from,
            to: self.width,
            targets: self.targets.unwrap_or(1),
        }
    }

    /// Lists the tensors of all heads.
    fn planned_tensors(&self, groups: &Groups, from: usize) -> Vec<TensorPlan> {
        let groups = 0..groups.len();
        groups
            .flat_map(|group| self.r#type.tensors(group, self.sizes(from)))
            .collect()
    }

    /// Draws the heads before training.
    fn draw_heads(&self, groups: Groups, from: usize, context: &NodeContext) -> Vec<Head> {
        let mut heads = vec![];
        for (group, layers) in groups.into_iter().enumerate() {
            let plans = self.r#type.tensors(group, self.sizes(from));
            let values = if self.init == IDENTITY {
                vec![identity(from), vec![0.0; from]]
            } else {
                self.r#type.draw(group, self.sizes(from), context)
            };
            let tensors = plans
                .into_iter()
                .zip(values)
                .map(|(plan, values)| HeadTensor {
                    plan,
                    weight: param(values),
                });
            heads.push(Head {
                layers,
                tensors: tensors.collect(),
            });
        }
        heads
    }
}

/// Returns the identity of a width, row-major.
fn identity(width: usize) -> Vec<f32> {
    let mut weight = vec![0.0; width * width];
    for i in 0..width {
        weight[i * width + i] = 1.0;
    }
    weight
}

impl Config for Options {
    fn info(
        &self,
        phase_outputs: &PhaseOutputs,
        inputs: &Shapes,
    ) -> Result<NodeInfo, Vec<OptionError>> {
        let mut errors: Vec<_> = OptionError::outside("width", self.width, 1..=MAX_WIDTH)
            .into_iter()
            .collect();
        let Some(HiddenInput {
            layers,
            width,
            step,
            ..
        }) = HiddenInput::find(PORT, inputs)
        else {
            OptionError::fail_if_any(errors)?;
            return Ok(NodeInfo::default());
        };
        errors.extend(self.check_form(layers, step));
        let groups = match self.groups(layers) {
            Ok(groups) => groups,
            Err(error) => {
                errors.push(error);
                return Err(errors);
            }
        };
        let reads = match self.check_init(phase_outputs, width, &groups) {
            Ok(reads) => reads,
            Err(error) => {
                errors.push(error);
                None
            }
        };
        OptionError::fail_if_any(errors)?;
        let tensors = self.planned_tensors(&groups, width);
        let output = Shape::Hiddens {
            layers: self.r#type.layers(layers, self.sizes(width)),
            width: self.width,
            step: self.r#type.step(step),
            content: Content::Projections,
        };
        let macs_per_frame = self.r#type.macs(self.sizes(width)) * layers.len() as u64;
        Ok(NodeInfo {
            outputs: shapes([(PORT, output)]),
            parameters: Some(tensors.iter().map(TensorPlan::parameters).sum()),
            macs: Some(superb_frames(step) * macs_per_frame),
            writes: Some(Artifact::Heads {
                groups,
                tensors: tensors.into_iter().map(|t| (t.name, t.shape)).collect(),
            }),
            reads: reads.into_iter().collect(),
            warnings: self.precision.warning().into_iter().collect(),
            ..NodeInfo::default()
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let HiddenInput { layers, width, .. } = HiddenInput::known(PORT, &context.inputs)?;
        let groups = self.groups(layers).map_err(|error| error.message)?;
        let path = context.path(&self.init);
        // A benchmark draws what an earlier phase has not written.
        let heads = if self.draws() || context.run.bench && !path.exists() {
            self.draw_heads(groups, width, context)
        } else {
            let mut heads_file = HeadsFile::open(path, &groups)?;
            let mut heads = vec![];
            for (group, layers) in groups.into_iter().enumerate() {
                let plans = self.r#type.tensors(group, self.sizes(width));
                heads.push(heads_file.head(layers, plans)?);
            }
            heads
        };
        Ok(Box::new(Project {
            heads,
            form: self.r#type,
            sizes: self.sizes(width),
            precision: self.precision,
        }))
    }
}
