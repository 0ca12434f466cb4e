//! HuBERT's head for pre-training (Hsu et al. 2021, arXiv:2106.07447, equation 3): z = x Wᵀ + b,
//! and logits cos(z, e_c) / τ for the embedding e_c of each class.
//!
//! It maps one layer of a student, (frames, hidden), to (frames, classes).
use crate::Result;
use crate::data::file;
use crate::node::port::{Carries, Hiddens, Port, Ports, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{
    Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, Parameter, PhaseOutputs, shapes,
    superb_frames,
};
use compute::gemm::Precision;
use compute::op::{cosine_logits, linear, linear_start};
use compute::tensor::{Param, len, param, read};
use schemars::JsonSchema;
use serde::Deserialize;

/// Logits of classes for each frame, as in HuBERT's pre-training: cosines with learned embeddings.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The number of classes.
    classes: usize,
    /// Width of the embeddings.
    #[serde(default = "default_width")]
    width: usize,
    /// Divisor of the cosines.
    #[serde(default = "default_temperature")]
    temperature: f64,
}

fn default_width() -> usize {
    256
}

fn default_temperature() -> f64 {
    0.1
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
}

impl Config for Options {
    fn info(&self, _: &PhaseOutputs, inputs: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let mut errors = vec![];
        errors.extend(OptionError::outside("classes", self.classes, 1..=MAX_WIDTH));
        errors.extend(OptionError::outside("width", self.width, 1..=MAX_WIDTH));
        errors.extend(OptionError::unless(
            self.temperature > 0.0 && self.temperature.is_finite(),
            "temperature",
            format!("{} is not above 0", self.temperature),
        ));
        let Some(
            [
                Shape::Hiddens {
                    layers,
                    width,
                    step,
                },
            ],
        ) = inputs.get(IN).map(Vec::as_slice)
        else {
            OptionError::fail_if_any(errors)?;
            return Ok(NodeInfo::default());
        };
        if layers.len() != 1 {
            errors.push(OptionError::input(
                IN,
                format!("takes one layer, not layers {layers:?}"),
            ));
        }
        OptionError::fail_if_any(errors)?;
        let weights = (*width as u64 + self.classes as u64) * self.width as u64;
        let output = Shape::Hiddens {
            layers: layers.clone(),
            width: self.classes,
            step: *step,
        };
        Ok(NodeInfo {
            outputs: shapes([(OUT, output)]),
            parameters: Some(weights + self.width as u64),
            macs: Some(superb_frames(1) * weights),
            ..NodeInfo::default()
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let Some([Shape::Hiddens { width, .. }]) = context.inputs.get(IN).map(Vec::as_slice) else {
            return Err("the width of `hiddens` is unknown".into());
        };
        let [weight, bias] = linear_start(context.key("final_proj"), 0, *width, self.width);
        let key = context.key("label_embs");
        let embeddings = (0..self.classes * self.width).map(|i| key.uniform(0, i as u64));
        Ok(Box::new(Logits {
            weight: param(weight),
            bias: param(bias),
            embeddings: param(embeddings.collect()),
            temperature: self.temperature as f32,
        }))
    }
}

struct Logits {
    /// (width, hidden)
    weight: Param,
    /// (width)
    bias: Param,
    /// (classes, width), uniform in [0, 1) at the start, as in fairseq.
    embeddings: Param,
    temperature: f32,
}

impl Node for Logits {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let mut layers = vec![];
        for (layer, hidden) in step.hiddens(IN)?.layers {
            let z = linear(hidden, &self.weight, &self.bias, Precision::F32);
            layers.push((layer, cosine_logits(z, &self.embeddings, self.temperature)));
        }
        step.send(OUT, Value::Hiddens(Hiddens { layers }));
        Ok(())
    }

    fn finish(&mut self, step: &mut Step) -> Result<()> {
        let path = step.context.folder().join("logits.safetensors");
        let parameters = self.parameters();
        let tensors: Vec<_> = parameters
            .iter()
            .map(|p| (p.name.clone(), p.shape.clone(), read(&*p.weight)))
            .collect();
        file::save(&path, &tensors, Default::default())
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        let width = len(&self.bias);
        let hidden = len(&self.weight) / width;
        let classes = len(&self.embeddings) / width;
        let mut weight = Parameter::flat("final_proj.weight".into(), &mut self.weight);
        weight.shape = vec![width, hidden];
        let bias = Parameter::flat("final_proj.bias".into(), &mut self.bias);
        let mut embeddings = Parameter::flat("label_embs".into(), &mut self.embeddings);
        embeddings.shape = vec![classes, width];
        vec![weight, bias, embeddings]
    }
}
