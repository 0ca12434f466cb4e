//! Linear maps from the student's width to the teacher's: y = x Wᵀ + b for each layer, W (out, in). Layers of a group
//! share one map (DPHuBERT: layer 0 has its own, the others share one).
use crate::Result;
use crate::data::file;
use crate::model::{Architecture, count};
use crate::node::port::{Carries, Hiddens, Port, Ports, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{
    Artifact, Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, Parameter,
    PhaseOutputs, artifact_owner, shapes,
};
use compute::gemm::Precision;
use compute::op::{linear, linear_start};
use compute::tensor::{Hidden, Param, len, param, read};
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
    /// "default" (uniform, as PyTorch's Linear), "identity" (zero bias), or the heads.safetensors of an earlier phase.
    #[serde(default = "default_init")]
    init: String,
}

fn default_init() -> String {
    "default".into()
}

const PORT: &str = "hiddens";
/// Key of the metadata of heads.safetensors: which layers share a map, as JSON.
const GROUPS: &str = "groups";
const WIDEST: usize = 1 << 16;

impl Options {
    /// Groups of the layers that come in, and what is wrong with them.
    fn groups_of(&self, layers: &[usize]) -> Result<Vec<Vec<usize>>, OptionError> {
        let Some(groups) = &self.groups else {
            return Ok(layers.iter().map(|&l| vec![l]).collect());
        };
        for (g, group) in groups.iter().enumerate() {
            if group.is_empty() {
                return Err(OptionError::at(
                    &format!("groups.{g}"),
                    "option `groups`: names no layer",
                ));
            }
            for (i, layer) in group.iter().enumerate() {
                let wrong = |says: String| {
                    OptionError::at(
                        &format!("groups.{g}.{i}"),
                        format!("option `groups`: {says}"),
                    )
                };
                if !layers.contains(layer) {
                    return Err(wrong(format!(
                        "layer {layer} does not come in; layers {layers:?} do"
                    )));
                }
                if groups.iter().flatten().filter(|l| *l == layer).count() > 1 {
                    return Err(wrong(format!("layer {layer} stands in it twice")));
                }
            }
        }
        match layers
            .iter()
            .find(|l| !groups.iter().flatten().any(|g| g == *l))
        {
            Some(layer) => Err(OptionError::at(
                "groups",
                format!("option `groups`: layer {layer} is in no group"),
            )),
            None => Ok(groups.clone()),
        }
    }
}

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[Port::new(PORT, Carries::Hiddens)],
        outputs: &[Port::new(PORT, Carries::Hiddens)],
    };
    const TRAINS: bool = true;
}

impl Config for Options {
    fn info(
        &self,
        phase_outputs: &PhaseOutputs,
        inputs: &Shapes,
    ) -> Result<NodeInfo, Vec<OptionError>> {
        let one = |wrong| Err(vec![wrong]);
        if let Some(wrong) = OptionError::outside("width", self.width, 1..=WIDEST) {
            return one(wrong);
        }
        let Some([Shape::Hiddens { layers, width }]) = inputs.get(PORT).map(Vec::as_slice) else {
            return Ok(NodeInfo::default());
        };
        let groups = self.groups_of(layers).map_err(|w| vec![w])?;
        if self.init == "identity" && self.width != *width {
            let says = format!(
                "option `init`: an identity from width {width} to width {} does not exist",
                self.width
            );
            return one(OptionError::at("init", says));
        }
        let mut reads = vec![];
        if self.init.starts_with("$OUT/") {
            let earlier = artifact_owner(&self.init, "heads.safetensors")
                .and_then(|owner| phase_outputs.0.get(owner))
                .and_then(|artifact| match artifact {
                    Artifact::Heads { groups } => Some(groups),
                    _ => None,
                });
            match earlier {
                None => {
                    let says = format!(
                        "option `init`: no `project` of an earlier phase writes `{}`",
                        self.init
                    );
                    return one(OptionError::at("init", says));
                }
                Some(there) if *there != groups => {
                    let says = format!(
                        "option `init`: `{}` has maps for the groups {there:?}, not {groups:?}",
                        self.init
                    );
                    return one(OptionError::at("init", says));
                }
                Some(_) => (),
            }
        } else if !["default", "identity"].contains(&self.init.as_str()) {
            if !self.init.ends_with(".safetensors") {
                let says = format!(
                    "option `init`: `{}` is not \"default\", \"identity\" or the path of a heads.safetensors",
                    self.init
                );
                return one(OptionError::at("init", says));
            }
            reads.push(self.init.clone());
        }
        let each = (*width as u64 + 1) * self.width as u64;
        Ok(NodeInfo {
            outputs: shapes([(
                PORT,
                Shape::Hiddens {
                    layers: layers.clone(),
                    width: self.width,
                },
            )]),
            parameters: Some(each * groups.len() as u64),
            macs: Some(self.macs(*width, layers.len())),
            writes: Some(Artifact::Heads { groups }),
            reads,
            ..NodeInfo::default()
        })
    }
    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let Some([Shape::Hiddens { layers, width }]) = context.inputs.get(PORT).map(Vec::as_slice)
        else {
            return Err("does not know what comes in".into());
        };
        let groups = self.groups_of(layers).map_err(|w| w.message)?;
        let path = context.path(&self.init);
        // A benchmark builds what an earlier phase has not written.
        let fresh = ["default", "identity"].contains(&self.init.as_str())
            || (context.run.bench && !path.exists());
        let mut earlier = if fresh {
            file::Loaded::new()
        } else {
            file::load(&path)?
        };
        let there = if fresh {
            None
        } else {
            file::metadata(&path)?.get(GROUPS).cloned()
        };
        let own = json!(groups).to_string();
        if there.is_some_and(|there| there != own) {
            return Err(format!(
                "{}: its maps are not for the groups {groups:?}",
                path.display()
            )
            .into());
        }
        let mut maps = vec![];
        for (g, layers) in groups.into_iter().enumerate() {
            let mut tensor = |name: &str, shape: Vec<usize>, drawn: Vec<f32>| match earlier
                .remove(&format!("{g}.{name}"))
            {
                Some((found, values)) if found == shape => Ok(values),
                Some((found, _)) => Err(format!(
                    "{}: `{g}.{name}` is {found:?}, not {shape:?}",
                    self.init
                )),
                None if fresh => Ok(drawn),
                None => Err(format!("{}: there is no tensor `{g}.{name}`", self.init)),
            };
            let [weight, bias] = self.drawn(g, *width, context);
            let weight = tensor("weight", vec![self.width, *width], weight)?;
            let bias = tensor("bias", vec![self.width], bias)?;
            maps.push(Map {
                layers,
                weight: param(weight),
                bias: param(bias),
            });
        }
        Ok(Box::new(Project { maps, from: *width }))
    }
}

impl Options {
    /// Weight and bias before the first update.
    fn drawn(&self, group: usize, from: usize, context: &NodeContext) -> [Vec<f32>; 2] {
        let (n, to) = (from * self.width, self.width);
        if self.init == "identity" {
            return [
                (0..n)
                    .map(|i| (i / from == i % from) as u8 as f32)
                    .collect(),
                vec![0.0; to],
            ];
        }
        linear_start(context.key("maps"), group as u64, from, to)
    }

    fn macs(&self, from: usize, layers: usize) -> u64 {
        let frames: usize = count::SUPERB
            .iter()
            .map(|&n| Architecture::default().frames(n))
            .sum();
        frames as u64 * from as u64 * self.width as u64 * layers as u64
    }
}

struct Project {
    maps: Vec<Map>,
    /// Width in.
    from: usize,
}

struct Map {
    layers: Vec<usize>,
    weight: Param,
    bias: Param,
}

impl Node for Project {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let mapped = |(layer, hidden)| {
            let map = self
                .maps
                .iter()
                .find(|m| m.layers.contains(&layer))
                .ok_or("a layer came that is in no group")?;
            Ok((
                layer,
                linear(hidden, &map.weight, &map.bias, Precision::F32),
            ))
        };
        let layers: Vec<(usize, Hidden<_>)> = step
            .hiddens(PORT)?
            .layers
            .into_iter()
            .map(mapped)
            .collect::<Result<_>>()?;
        let numbers: usize = layers.iter().map(|(_, y)| len(&y.values)).sum();
        step.record_products(Precision::F32, (numbers * self.from) as u64, true);
        step.send(PORT, Value::Hiddens(Hiddens { layers }));
        Ok(())
    }

    fn finish(&mut self, step: &mut Step) -> Result<()> {
        let groups: Vec<_> = self.maps.iter().map(|m| m.layers.clone()).collect();
        let about = [(GROUPS.to_owned(), json!(groups).to_string())].into();
        let mut parameters = self.parameters();
        let tensors: Vec<_> = parameters
            .iter_mut()
            .map(|p| (p.name.clone(), p.shape.clone(), read(&*p.weight)))
            .collect();
        file::save(
            &step.context.folder().join("heads.safetensors"),
            &tensors,
            about,
        )
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        let mut all = vec![];
        for (g, Map { weight, bias, .. }) in self.maps.iter_mut().enumerate() {
            let shape = vec![len(bias), self.from];
            all.push(Parameter {
                shape,
                ..Parameter::flat(format!("{g}.weight"), weight)
            });
            all.push(Parameter::flat(format!("{g}.bias"), bias));
        }
        all
    }
}
