//! Linear maps from the student's width to the teacher's: y = x Wᵀ + b for each layer, W (out, in).
//!
//! Layers of a group share one map (in DPHuBERT layer 0 has its own, the others share one).
mod maps;

use crate::Result;
use crate::data::file;
use crate::node::port::{Carries, Hiddens, Port, Ports, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{
    Artifact, Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, Parameter,
    PhaseOutputs, artifact_owner, shapes, superb_frames,
};
use compute::gemm::Precision;
use compute::op::{linear, linear_start};
use compute::tensor::{len, param, read};
use maps::{LinearMap, MapFile};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

/// Linear maps from the student's width to the target's.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The target's width.
    width: usize,
    /// Layers that share one map; null: one each.
    #[serde(default)]
    groups: Option<Vec<Vec<usize>>>,
    /// "default" (uniform, as PyTorch's Linear), "identity" (zero bias), or the heads.safetensors
    /// of an earlier phase.
    #[serde(default = "default_init")]
    init: String,
}

fn default_init() -> String {
    DEFAULT.into()
}

const DEFAULT: &str = "default";
const IDENTITY: &str = "identity";
const PORT: &str = "hiddens";
const FILE: &str = "heads.safetensors";
/// The key of heads.safetensors's metadata for the layers of each map, as JSON.
const GROUPS: &str = "groups";
const MAX_WIDTH: usize = 1 << 16;

/// The layers of each map.
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
        if init == IDENTITY && width != input_width {
            return Err(OptionError::option(
                "init",
                format!("an identity from width {input_width} to width {width} does not exist"),
            ));
        }
        if init.starts_with("$OUT/") {
            self.check_earlier(phase_outputs, groups)?;
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

    /// Checks that an earlier phase of the file writes maps for the same groups.
    fn check_earlier(
        &self,
        phase_outputs: &PhaseOutputs,
        groups: &Groups,
    ) -> Result<(), OptionError> {
        let init = &self.init;
        let owner = artifact_owner(init, FILE);
        match owner.and_then(|owner| phase_outputs.0.get(owner)) {
            Some(Artifact::Heads { groups: written }) if written == groups => Ok(()),
            Some(Artifact::Heads { groups: written }) => Err(OptionError::option(
                "init",
                format!("`{init}` has maps for the groups {written:?}, not {groups:?}"),
            )),
            _ => Err(OptionError::option(
                "init",
                format!("no `project` of an earlier phase writes `{init}`"),
            )),
        }
    }

    /// Returns whether `init` names no file.
    fn draws(&self) -> bool {
        [DEFAULT, IDENTITY].contains(&self.init.as_str())
    }

    /// Draws weight and bias of a group, for an input of width `from`.
    fn draw(&self, group: usize, from: usize, context: &NodeContext) -> [Vec<f32>; 2] {
        let to = self.width;
        if self.init != IDENTITY {
            return linear_start(context.key("maps"), group as u64, from, to);
        }
        let mut weight = vec![0.0; to * from];
        for i in 0..from.min(to) {
            weight[i * from + i] = 1.0;
        }
        [weight, vec![0.0; to]]
    }

    fn draw_maps(&self, groups: Groups, from: usize, context: &NodeContext) -> Vec<LinearMap> {
        let mut maps = vec![];
        for (g, layers) in groups.into_iter().enumerate() {
            let [weight, bias] = self.draw(g, from, context);
            maps.push(LinearMap {
                layers,
                weight: param(weight),
                bias: param(bias),
            });
        }
        maps
    }
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
        let Some([Shape::Hiddens { layers, width }]) = inputs.get(PORT).map(Vec::as_slice) else {
            return Ok(NodeInfo::default());
        };
        let groups = self.groups(layers).map_err(|error| vec![error])?;
        let reads = self
            .check_init(phase_outputs, *width, &groups)
            .map_err(|error| vec![error])?;
        let from = *width as u64;
        let to = self.width as u64;
        let output = Shape::Hiddens {
            layers: layers.clone(),
            width: self.width,
        };
        Ok(NodeInfo {
            outputs: shapes([(PORT, output)]),
            parameters: Some((from + 1) * to * groups.len() as u64),
            macs: Some(superb_frames() * from * to * layers.len() as u64),
            writes: Some(Artifact::Heads { groups }),
            reads: reads.into_iter().collect(),
            ..NodeInfo::default()
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let Some([Shape::Hiddens { layers, width }]) = context.inputs.get(PORT).map(Vec::as_slice)
        else {
            return Err("the width of `hiddens` is unknown".into());
        };
        let groups = self.groups(layers).map_err(|error| error.message)?;
        let path = context.path(&self.init);
        // A benchmark draws what an earlier phase has not written.
        let maps = if self.draws() || context.run.bench && !path.exists() {
            self.draw_maps(groups, *width, context)
        } else {
            MapFile::open(path, &groups)?.maps(groups, *width, self.width)?
        };
        Ok(Box::new(Project { maps, from: *width }))
    }
}

struct Project {
    maps: Vec<LinearMap>,
    /// The width of the input.
    from: usize,
}

impl Node for Project {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let mut layers = vec![];
        let mut values = 0;
        for (layer, hidden) in step.hiddens(PORT)?.layers {
            let map = self
                .maps
                .iter()
                .find(|map| map.layers.contains(&layer))
                .ok_or("a layer came that is in no group")?;
            let mapped = linear(hidden, &map.weight, &map.bias, Precision::F32);
            values += len(&mapped.values);
            layers.push((layer, mapped));
        }
        step.record_products(Precision::F32, (values * self.from) as u64, true);
        step.send(PORT, Value::Hiddens(Hiddens { layers }));
        Ok(())
    }

    fn finish(&mut self, step: &mut Step) -> Result<()> {
        let groups: Vec<_> = self.maps.iter().map(|map| &map.layers).collect();
        let metadata = [(GROUPS.to_owned(), json!(groups).to_string())].into();
        let parameters = self.parameters();
        let tensors: Vec<_> = parameters
            .iter()
            .map(|p| (p.name.clone(), p.shape.clone(), read(&*p.weight)))
            .collect();
        let path = step.context.folder().join(FILE);
        file::save(&path, &tensors, metadata)
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        let mut parameters = vec![];
        for (g, map) in self.maps.iter_mut().enumerate() {
            parameters.push(Parameter {
                shape: vec![len(&map.bias), self.from],
                ..Parameter::flat(format!("{g}.weight"), &mut map.weight)
            });
            parameters.push(Parameter::flat(format!("{g}.bias"), &mut map.bias));
        }
        parameters
    }
}
