//! Heads that bring a student's layers to its target: linear maps, alone or behind what changes the
//! number of layers or frames (module `forms`).
//!
//! Layers of a group share one head (in DPHuBERT layer 0 has its own, the others share one).
mod file;
mod forms;
#[cfg(test)]
mod parity;

use crate::Result;
use crate::node::port::{Carries, FrameStep, Hiddens, Port, Ports, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{
    Artifact, Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, Parameter,
    PhaseOutputs, artifact_owner, shapes, superb_frames,
};
use compute::gemm::Precision;
use compute::tensor::param;
use file::HeadsFile;
use forms::{Form, Head, HeadSizes, HeadTensor, TensorPlan};
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
}

impl Options {
    /// Returns the groups, after a check against the layers of the input.
    fn groups(&self, layers: &[usize]) -> Result<Groups, OptionError> {
        let Some(groups) = &self.groups else {
            return Ok(layers.iter().map(|&layer| vec![layer]).collect());
        };
        for (g, group) in groups.iter().enumerate() {
            if group.is_empty() {
                let path = format!("groups.{g}");
                return Err(OptionError::element(&path, GROUPS, "names no layer"));
            }
            for (i, layer) in group.iter().enumerate() {
                let path = format!("groups.{g}.{i}");
                if !layers.contains(layer) {
                    return Err(OptionError::element(
                        &path,
                        GROUPS,
                        format!("layer {layer} does not come in; layers {layers:?} do"),
                    ));
                }
                if groups.iter().flatten().filter(|l| *l == layer).count() > 1 {
                    return Err(OptionError::element(
                        &path,
                        GROUPS,
                        format!("layer {layer} stands in it twice"),
                    ));
                }
            }
        }
        for layer in layers {
            if !groups.iter().flatten().any(|grouped| grouped == layer) {
                return Err(OptionError::option(
                    GROUPS,
                    format!("layer {layer} is in no group"),
                ));
            }
        }
        Ok(groups.clone())
    }

    /// Checks the option `init` and returns the file that must exist when the graph runs, if any.
    fn check_init(
        &self,
        phase_outputs: &PhaseOutputs,
        input_width: usize,
        groups: &Groups,
    ) -> Result<Option<String>, OptionError> {
        let init = &self.init;
        let width = self.width;
        if init == IDENTITY && self.r#type != Form::Linear {
            return Err(OptionError::option(
                "init",
                "\"identity\" is for heads of the type \"linear\"",
            ));
        }
        if init == IDENTITY && width != input_width {
            return Err(OptionError::option(
                "init",
                format!("an identity from width {input_width} to width {width} does not exist"),
            ));
        }
        if init.starts_with("$OUT/") {
            self.check_earlier(phase_outputs, input_width, groups)?;
            return Ok(None);
        }
        if self.draws() {
            return Ok(None);
        }
        if !init.ends_with(".safetensors") {
            return Err(OptionError::option(
                "init",
                format!(
                    "`{init}` is not \"default\", \"identity\" or the path of a heads.safetensors"
                ),
            ));
        }
        Ok(Some(init.clone()))
    }

    /// Checks that an earlier phase of the file writes such heads for the same groups.
    fn check_earlier(
        &self,
        phase_outputs: &PhaseOutputs,
        input_width: usize,
        groups: &Groups,
    ) -> Result<(), OptionError> {
        let init = &self.init;
        let owner = artifact_owner(init, FILE);
        let Some(Artifact::Heads {
            groups: written_groups,
            tensors: written,
        }) = owner.and_then(|owner| phase_outputs.0.get(owner))
        else {
            return Err(OptionError::option(
                "init",
                format!("no `project` of an earlier phase writes `{init}`"),
            ));
        };
        if written_groups != groups {
            return Err(OptionError::option(
                "init",
                format!("`{init}` has maps for the groups {written_groups:?}, not {groups:?}"),
            ));
        }
        let planned = self.planned_tensors(groups, input_width);
        for tensor in planned {
            let name = &tensor.name;
            let shape = &tensor.shape;
            match written.iter().find(|(written, _)| written == name) {
                Some((_, written)) if written == shape => {}
                Some((_, written)) => {
                    return Err(OptionError::option(
                        "init",
                        format!("`{name}` of `{init}` will be {written:?}, not {shape:?}"),
                    ));
                }
                None => {
                    return Err(OptionError::option(
                        "init",
                        format!("`{init}` will have no tensor `{name}`: it is of another `type`"),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Checks the options of a form against the layers that come in.
    fn check_form(&self, layers: &[usize], step: FrameStep) -> Vec<OptionError> {
        let mut errors = vec![];
        let expands = self.r#type == Form::Expand;
        match self.targets {
            Some(targets) if expands => {
                errors.extend(OptionError::outside("targets", targets, 1..=MAX_TARGETS));
            }
            Some(_) => errors.push(OptionError::option(
                "targets",
                "is for heads of the type \"expand\"",
            )),
            None if expands => errors.push(OptionError::at(
                "",
                "the type \"expand\" needs the option `targets`",
            )),
            None => {}
        }
        if expands && layers.len() != 1 {
            errors.push(OptionError::input(
                PORT,
                format!("\"expand\" takes one layer, not layers {layers:?}"),
            ));
        }
        if self.r#type == Form::Upsample && step.joined > 1 && layers.contains(&0) {
            errors.push(OptionError::input(
                PORT,
                "layer 0 has all frames already; \"upsample\" takes layers from 1",
            ));
        }
        errors
    }

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
        if let Some(error) = OptionError::outside("width", self.width, 1..=MAX_WIDTH) {
            return Err(vec![error]);
        }
        let Some(
            [
                Shape::Hiddens {
                    layers,
                    width,
                    step,
                },
            ],
        ) = inputs.get(PORT).map(Vec::as_slice)
        else {
            return Ok(NodeInfo::default());
        };
        OptionError::fail_if_any(self.check_form(layers, *step))?;
        let groups = self.groups(layers).map_err(|error| vec![error])?;
        let reads = self
            .check_init(phase_outputs, *width, &groups)
            .map_err(|error| vec![error])?;
        let tensors = self.planned_tensors(&groups, *width);
        let output = Shape::Hiddens {
            layers: self.r#type.layers(layers, self.sizes(*width)),
            width: self.width,
            step: self.r#type.step(*step),
        };
        let macs_per_frame = self.r#type.macs(self.sizes(*width)) * layers.len() as u64;
        Ok(NodeInfo {
            outputs: shapes([(PORT, output)]),
            parameters: Some(tensors.iter().map(TensorPlan::parameters).sum()),
            macs: Some(superb_frames(step.joined) * step.split as u64 * macs_per_frame),
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
        let Some([Shape::Hiddens { layers, width, .. }]) =
            context.inputs.get(PORT).map(Vec::as_slice)
        else {
            return Err("the width of `hiddens` is unknown".into());
        };
        let groups = self.groups(layers).map_err(|error| error.message)?;
        let path = context.path(&self.init);
        // A benchmark draws what an earlier phase has not written.
        let heads = if self.draws() || context.run.bench && !path.exists() {
            self.draw_heads(groups, *width, context)
        } else {
            let mut heads_file = HeadsFile::open(path, &groups)?;
            let mut heads = vec![];
            for (group, layers) in groups.into_iter().enumerate() {
                let plans = self.r#type.tensors(group, self.sizes(*width));
                heads.push(heads_file.head(layers, plans)?);
            }
            heads
        };
        Ok(Box::new(Project {
            heads,
            form: self.r#type,
            sizes: self.sizes(*width),
            precision: self.precision,
        }))
    }
}

struct Project {
    heads: Vec<Head>,
    form: Form,
    sizes: HeadSizes,
    precision: Precision,
}

impl Node for Project {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let mut outputs = vec![];
        let mut macs = 0;
        for (layer, hidden) in step.hiddens(PORT)?.layers {
            let head = self
                .heads
                .iter()
                .find(|head| head.layers.contains(&layer))
                .ok_or("a layer came that is in no group")?;
            macs += self.form.macs(self.sizes) * hidden.spans.total() as u64;
            let mapped = self.form.apply(head, hidden, self.precision, step.tape());
            let layers = self.form.layers(&[layer], self.sizes);
            outputs.extend(layers.into_iter().zip(mapped));
        }
        step.record_products(self.precision, macs, true);
        step.send(PORT, Value::Hiddens(Hiddens { layers: outputs }));
        Ok(())
    }

    fn finish(&mut self, step: &mut Step) -> Result<()> {
        file::save(&step.context.folder().join(FILE), &self.heads)
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        let tensors = self.heads.iter_mut().flat_map(|head| &mut head.tensors);
        tensors
            .map(|tensor| Parameter {
                name: tensor.plan.name.clone(),
                shape: tensor.plan.shape.clone(),
                weight: &mut tensor.weight,
                sign: 1.0,
            })
            .collect()
    }
}
