//! HuBERT's head for pre-training: z = x Wᵀ + b, logits cos(z, e_c) / τ for the embedding e_c of each class. The last layer
//! of a student comes in, (frames, hidden); (frames, classes) goes out.
use crate::Result;
use crate::data::file;
use crate::model::{Architecture, count};
use crate::node::port::{Carries, Hiddens, Port, Ports, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{
    Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, Parameter, PhaseOutputs, shapes,
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
    /// How many.
    classes: usize,
    /// Of the embeddings.
    #[serde(default = "width")]
    width: usize,
    /// Cosines are divided by it.
    #[serde(default = "temperature")]
    temperature: f64,
}

fn width() -> usize {
    256
}

fn temperature() -> f64 {
    0.1
}

const IN: &str = "hiddens";
const OUT: &str = "logits";
const WIDEST: usize = 1 << 16;

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[Port::new(IN, Carries::Hiddens)],
        outputs: &[Port::new(OUT, Carries::Hiddens)],
    };
    const TRAINS: bool = true;
}

impl Config for Options {
    fn info(&self, _: &PhaseOutputs, inputs: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let mut wrong = vec![];
        wrong.extend(OptionError::outside("classes", self.classes, 1..=WIDEST));
        wrong.extend(OptionError::outside("width", self.width, 1..=WIDEST));
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            let says = format!("option `temperature`: {} is not above 0", self.temperature);
            wrong.push(OptionError::at("temperature", says));
        }
        let Some([Shape::Hiddens { layers, width }]) = inputs.get(IN).map(Vec::as_slice) else {
            return if wrong.is_empty() {
                Ok(NodeInfo::default())
            } else {
                Err(wrong)
            };
        };
        if layers.len() != 1 {
            wrong.push(OptionError::at(
                "inputs.hiddens",
                format!("input `{IN}`: takes one layer, not layers {layers:?}"),
            ));
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let frames: usize = count::SUPERB
            .iter()
            .map(|&n| Architecture::default().frames(n))
            .sum();
        let products = (*width as u64 + self.classes as u64) * self.width as u64;
        Ok(NodeInfo {
            outputs: shapes([(
                OUT,
                Shape::Hiddens {
                    layers: layers.clone(),
                    width: self.classes,
                },
            )]),
            parameters: Some(products + self.width as u64),
            macs: Some(frames as u64 * products),
            ..NodeInfo::default()
        })
    }
    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let Some([Shape::Hiddens { width: from, .. }]) = context.inputs.get(IN).map(Vec::as_slice)
        else {
            return Err("does not know what comes in".into());
        };
        let [weight, bias] =
            linear_start(context.key("final_proj"), 0, *from, self.width).map(param);
        let key = context.key("label_embs");
        let embeddings = param(
            (0..self.classes * self.width)
                .map(|i| key.uniform(0, i as u64))
                .collect(),
        );
        Ok(Box::new(Logits {
            weight,
            bias,
            embeddings,
            temperature: self.temperature as f32,
        }))
    }
}

struct Logits {
    weight: Param,
    bias: Param,
    /// (classes, width); at first uniform in [0, 1), as fairseq's.
    embeddings: Param,
    temperature: f32,
}

impl Node for Logits {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let of = |(layer, hidden)| {
            let z = linear(hidden, &self.weight, &self.bias, Precision::F32);
            (layer, cosine_logits(z, &self.embeddings, self.temperature))
        };
        let layers = step.hiddens(IN)?.layers.into_iter().map(of).collect();
        step.send(OUT, Value::Hiddens(Hiddens { layers }));
        Ok(())
    }

    fn finish(&mut self, step: &mut Step) -> Result<()> {
        let mut parameters = self.parameters();
        let tensors: Vec<_> = parameters
            .iter_mut()
            .map(|p| (p.name.clone(), p.shape.clone(), read(&*p.weight)))
            .collect();
        file::save(
            &step.context.folder().join("logits.safetensors"),
            &tensors,
            Default::default(),
        )
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        let to = len(&self.bias);
        let matrix = |name: &str, weight, shape| Parameter {
            shape,
            ..Parameter::flat(name.into(), weight)
        };
        let (from, classes) = (len(&self.weight) / to, len(&self.embeddings) / to);
        vec![
            matrix("final_proj.weight", &mut self.weight, vec![to, from]),
            Parameter::flat("final_proj.bias".into(), &mut self.bias),
            matrix("label_embs", &mut self.embeddings, vec![classes, to]),
        ]
    }
}
