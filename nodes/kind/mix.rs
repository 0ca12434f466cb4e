//! The weighted sum of a frozen model's hidden states, whose weights are the softmax of numbers that
//! are trained and begin as zeros: what SUPERB's heads read (Yang et al. 2021, arXiv:2105.01051).
use crate::Result;
use crate::data::column::TARGETS;
use crate::model::{Dim, Initial, TensorSpec};
use crate::node::contents::FileOption;
use crate::node::port::{Carries, Content, Hiddens, Port, Ports, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{
    Config, Head, HiddenInput, KindOptions, Node, NodeContext, NodeInfo, OptionError, Parameter,
    PhaseOutputs, shapes,
};
use compute::gemm::Precision;
use compute::op::{layer_mix, layer_norm};
use compute::tensor::{Hidden, Param, Tape, len, param};
use schemars::JsonSchema;
use serde::Deserialize;

/// A weighted sum of all layers of a teacher, with trained weights.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Whether each frame of each layer is brought to zero mean and unit variance before the sum.
    #[serde(default)]
    normalize: bool,
    /// Folder of a `mix` of an earlier phase, `$OUT/phase/node`, whose weights it begins with; null:
    /// all layers weigh alike.
    #[serde(default)]
    init: Option<String>,
}

const IN: &str = "targets";
const OUT: &str = "hiddens";
const WEIGHTS: &str = "weights";
/// Added to the variance of a frame, as PyTorch's layer_norm does.
const EPS: f32 = 1e-5;

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[Port::new(IN, Carries::Batch(TARGETS)).tensors()],
        outputs: &[Port::new(OUT, Carries::Hiddens)],
    };
    const TRAINS: bool = true;
    const FILES: &[FileOption] = &[FileOption::files("init")];
}

fn tensors(layers: usize) -> Vec<TensorSpec> {
    let dims = [Dim::fixed(layers)];
    vec![TensorSpec::new(WEIGHTS.into(), &dims, Initial::Zeros)]
}

impl Config for Options {
    fn info(
        &self,
        phase_outputs: &PhaseOutputs,
        inputs: &Shapes,
    ) -> Result<NodeInfo, Vec<OptionError>> {
        let Some(HiddenInput {
            layers,
            width,
            step,
            content,
        }) = HiddenInput::find(IN, inputs)
        else {
            return Ok(NodeInfo::default());
        };
        if let Content::Logits(_) = content {
            let message = "takes hidden states of layers, not logits";
            return Err(vec![OptionError::input(IN, message)]);
        }
        let sum = Shape::Hiddens {
            layers: layers.last().copied().into_iter().collect(),
            width,
            step,
            content,
        };
        Ok(NodeInfo {
            outputs: shapes([(OUT, sum)]),
            ..Head::info(self.init.as_deref(), &tensors(layers.len()), phase_outputs)?
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let input = HiddenInput::known(IN, &context.inputs)?;
        let norm = self.normalize.then(|| FrameNorm {
            gamma: param(vec![1.0; input.width]),
            beta: param(vec![0.0; input.width]),
        });
        Ok(Box::new(Mix {
            head: Head::build(self.init.as_deref(), tensors(input.layers.len()), context)?,
            last_layer: input.layers.last().copied().unwrap_or(0),
            norm,
        }))
    }
}

struct Mix {
    /// One tensor, (layers).
    head: Head,
    /// The number that the sum has as a layer.
    last_layer: usize,
    norm: Option<FrameNorm>,
}

/// A norm whose scale is 1 and whose shift is 0.
struct FrameNorm {
    gamma: Param,
    beta: Param,
}

impl Mix {
    fn weights(&self) -> &Param {
        &self.head.weights()[0]
    }

    fn mixed(&self, layers: &[Hidden], tape: Tape) -> Hidden<Tape> {
        let mut prepared = vec![];
        for layer in layers {
            prepared.push(match &self.norm {
                Some(FrameNorm { gamma, beta }) => {
                    layer_norm(layer.clone(), gamma, beta, EPS, Precision::F32)
                }
                None => layer.clone(),
            });
        }
        layer_mix(prepared, self.weights(), tape)
    }
}

impl Node for Mix {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let targets = step.targets(IN)?;
        let layers = targets.layers();
        let planned = len(self.weights());
        if layers.len() != planned {
            return Err(format!("{} layers came, not {planned}", layers.len()).into());
        }
        let sum = self.mixed(layers, step.tape().clone());
        let layers = vec![(self.last_layer, sum)];
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parity::{close_to, load, values};
    use compute::op::{cross_entropy, linear, row_mean};
    use compute::tensor::{Spans, backward, hidden, read};

    /// Loss and gradient of the weights, behind s3prl's utterance-level head: tests/golden/superb.py
    #[test]
    fn the_sum_of_layers_is_s3prls() {
        let golden = load("superb.safetensors");
        let theirs = |name: &str| values(&golden, name);
        let spans = Spans::new(theirs("rows").iter().map(|frames| *frames as usize));
        let width = 6;
        let layers = theirs("layers").chunks(spans.total() * width);
        let layers: Vec<Hidden> = layers
            .map(|layer| hidden(layer.to_vec(), width, spans.clone()))
            .collect();
        let labels: Vec<u32> = theirs("labels").iter().map(|label| *label as u32).collect();
        let start = |name: &str| param(theirs(&format!("start/{name}")).to_vec());
        for (name, normalizes) in [("plain", false), ("normalized", true)] {
            let mix = Mix {
                head: Head::new(tensors(3), vec![theirs("start/weights").to_vec()]),
                last_layer: 2,
                norm: normalizes.then(|| FrameNorm {
                    gamma: param(vec![1.0; width]),
                    beta: param(vec![0.0; width]),
                }),
            };
            let x = mix.mixed(&layers, Tape::default());
            let projector = [start("projector.weight"), start("projector.bias")];
            let x = linear(x, &projector[0], &projector[1], Precision::F32);
            let map = [start("linear.weight"), start("linear.bias")];
            let logits = linear(row_mean(x), &map[0], &map[1], Precision::F32);
            let loss = cross_entropy(logits, &labels, None);
            close_to(name, &read(&loss), theirs(&format!("{name}/loss")), 1e-5);
            let gradient = backward(loss, 1.0).of(mix.weights());
            let expected = theirs(&format!("{name}/grad/weights"));
            close_to(name, &read(&gradient), expected, 1e-5);
        }
    }
}
