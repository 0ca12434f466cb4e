//! The example of docs/add-a-method.md, which only tests compile: sends some of the layers that come
//! in, in the order of the option `layers`.
use crate::Result;
use crate::node::port::{Carries, Hiddens, Port, Ports, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{
    Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, PhaseOutputs, shapes,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Sends some of the layers that come in.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Which of the layers, in the order in which they are sent.
    layers: Vec<usize>,
}

const PORT: &str = "hiddens";

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[Port::new(PORT, Carries::Hiddens)],
        outputs: &[Port::new(PORT, Carries::Hiddens)],
    };
}

impl Config for Options {
    fn info(&self, _: &PhaseOutputs, inputs: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let Some([shape @ Shape::Hiddens { layers, .. }]) = inputs.get(PORT).map(Vec::as_slice)
        else {
            return Ok(NodeInfo::default()); // a problem upstream hides what comes in
        };
        let mut errors = vec![];
        for (i, layer) in self.layers.iter().enumerate() {
            if !layers.contains(layer) {
                let path = format!("layers.{i}");
                let message = format!("layer {layer} does not come in");
                errors.push(OptionError::element(&path, "layers", message));
            }
        }
        OptionError::fail_if_any(errors)?;
        let mut sent = shape.clone();
        if let Shape::Hiddens { layers, .. } = &mut sent {
            layers.clone_from(&self.layers);
        }
        Ok(NodeInfo {
            outputs: shapes([(PORT, sent)]),
            ..NodeInfo::default()
        })
    }

    fn build(&self, _: &NodeContext) -> Result<Box<dyn Node>> {
        Ok(Box::new(Select {
            layers: self.layers.clone(),
        }))
    }
}

struct Select {
    layers: Vec<usize>,
}

impl Node for Select {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let received = step.hiddens(PORT)?.layers;
        let mut layers = vec![];
        for wanted in &self.layers {
            let found = received.iter().find(|(layer, _)| layer == wanted);
            layers.push(found.ok_or("a layer did not come in")?.clone());
        }
        step.send(PORT, Value::Hiddens(Hiddens { layers }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::port::{Content, FrameStep};

    fn hiddens(layers: &[usize]) -> Shape {
        Shape::Hiddens {
            layers: layers.to_vec(),
            width: 8,
            step: FrameStep::default(),
            content: Content::Layers,
        }
    }

    fn info(layers: &[usize]) -> Result<NodeInfo, Vec<OptionError>> {
        let layers = layers.to_vec();
        let inputs = shapes([(PORT, hiddens(&[3, 5]))]);
        Options { layers }.info(&PhaseOutputs::default(), &inputs)
    }

    #[test]
    fn a_layer_that_does_not_come_in_is_an_error() {
        let planned = info(&[5]).unwrap_or_else(|_| panic!("layer 5 comes in"));
        assert_eq!(planned.outputs[PORT], [hiddens(&[5])]);
        let errors = info(&[5, 4]).err().expect("layer 4 does not come in");
        let expected = "option `layers`: layer 4 does not come in";
        assert_eq!(errors[0].path, ["layers", "1"]);
        assert_eq!(errors[0].message, expected);
    }
}
