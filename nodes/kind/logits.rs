//! A head that maps one layer of a student, (frames, hidden), to logits, (frames, classes):
//!
//! ```text
//! cosine    z = x Wᵀ + b, and cos(z, e_c) / τ for the embedding e_c of each class: the head of
//!           HuBERT's pre-training (Hsu et al. 2021, arXiv:2106.07447, equation 3)
//! linear    x Wᵀ + b
//! ```
mod node;
mod sizes;

use crate::Result;
use crate::data::file;
use crate::model::Classes;
use crate::node::contents::FileOption;
use crate::node::port::{Carries, Content, Port, Ports, Shape, Shapes};
use crate::node::{
    Artifact, Config, HiddenInput, KindOptions, Node, NodeContext, NodeInfo, OptionError,
    PhaseOutputs, shapes, superb_frames,
};
use compute::gemm::Precision;
use compute::op::linear_start;
use compute::tensor::param;
use node::Logits;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sizes::tensors;

/// Logits of classes for each frame: cosines with embeddings, as in HuBERT's pre-training, or a
/// linear map.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// "cosine": cosines with an embedding of each class. "linear": a linear map.
    #[serde(default)]
    r#type: Form,
    /// The number of classes; with `embeddings` "clusters" (null too), those without special symbols,
    /// or "rows", all.
    #[serde(default)]
    classes: Option<ClassesOption>,
    /// Width of the embeddings; null: that of `embeddings`, or 256.
    #[serde(default)]
    width: Option<usize>,
    /// Divisor of the cosines; null: 0.1.
    #[serde(default)]
    temperature: Option<f64>,
    /// A model's folder, or its logits.safetensors, whose embeddings of classes are used and not
    /// trained; null: they are drawn and trained.
    #[serde(default)]
    embeddings: Option<String>,
    /// The folder of such a head that an earlier phase wrote (`$OUT/phase/node`); null: it is drawn.
    #[serde(default)]
    init: Option<String>,
    /// The layer that is read, of several that come in; null: the only one.
    #[serde(default)]
    layer: Option<usize>,
    /// What operands of products are rounded to.
    #[serde(default)]
    precision: Precision,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Form {
    #[default]
    Cosine,
    Linear,
}

/// A number of classes, or which rows of other embeddings they are.
#[derive(Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a whole number from 0, \"clusters\" or \"rows\""
)]
enum ClassesOption {
    Count(usize),
    Of(Classes),
}

const IN: &str = "hiddens";
const OUT: &str = "logits";
const FILE: &str = "logits.safetensors";
const MAX_WIDTH: usize = 1 << 16;
const DEFAULT_WIDTH: usize = 256;
const DEFAULT_TEMPERATURE: f64 = 0.1;

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[Port::new(IN, Carries::Hiddens)],
        outputs: &[Port::new(OUT, Carries::Hiddens)],
    };
    const TRAINS: bool = true;
    const FILES: &[FileOption] = &[FileOption::files("embeddings"), FileOption::files("init")];
}

impl Config for Options {
    fn info(&self, earlier: &PhaseOutputs, inputs: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let mut errors = self.errors();
        let Some(HiddenInput {
            layers,
            width,
            step,
            ..
        }) = HiddenInput::find(IN, inputs)
        else {
            OptionError::fail_if_any(errors)?;
            return Ok(NodeInfo::default());
        };
        match self.layer {
            Some(layer) => errors.extend(OptionError::unless(
                layers.contains(&layer),
                "layer",
                format!("layer {layer} does not come in; layers {layers:?} do"),
            )),
            None if layers.len() != 1 => errors.push(OptionError::input(
                IN,
                format!("takes one layer, not layers {layers:?}: choose one by the option `layer`"),
            )),
            None => {}
        }
        OptionError::fail_if_any(errors)?;
        let layers = self.layer.map_or(layers.to_vec(), |layer| vec![layer]);
        let mut reads: Vec<String> = self.embeddings.clone().into_iter().collect();
        let Some(sizes) = self
            .sizes(earlier, |named| named.into())
            .map_err(|error| vec![error])?
        else {
            return Ok(NodeInfo {
                reads,
                ..NodeInfo::default()
            });
        };
        let mapped = self.mapped_width(&sizes) as u64;
        let cosines = match self.r#type {
            Form::Cosine => sizes.classes as u64 * sizes.width as u64,
            Form::Linear => 0,
        };
        let tensors = tensors(width, mapped as usize, self.embedded_classes(&sizes));
        let init = self.check_init(&tensors, earlier);
        reads.extend(init.map_err(|error| vec![error])?);
        let trained = if sizes.given { 0 } else { cosines };
        let output = Shape::Hiddens {
            layers,
            width: sizes.classes,
            step,
            content: Content::Logits(sizes.numbering),
        };
        Ok(NodeInfo {
            outputs: shapes([(OUT, output)]),
            parameters: Some((width as u64 + 1) * mapped + trained),
            macs: Some(superb_frames(step) * (width as u64 * mapped + cosines)),
            writes: Some(Artifact::Head { tensors }),
            reads,
            warnings: self.precision.warning().into_iter().collect(),
            ..NodeInfo::default()
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let width = HiddenInput::known(IN, &context.inputs)?.width;
        let earlier = &context.run.phase_outputs;
        let sizes = self.sizes(earlier, |named| context.path(named));
        let sizes = sizes.map_err(|error| error.message)?;
        let sizes = sizes.ok_or("the number of classes is unknown")?;
        let mapped = self.mapped_width(&sizes);
        let embedded_classes = self.embedded_classes(&sizes);
        let [weight, bias] = linear_start(context.key("final_proj"), 0, width, mapped);
        let embeddings = match self.r#type {
            Form::Linear => None,
            Form::Cosine => Some(sizes.embeddings.unwrap_or_else(|| {
                let key = context.key("label_embs");
                let numbers = 0..sizes.classes * sizes.width;
                numbers.map(|i| key.uniform(0, i as u64)).collect()
            })),
        };
        let mut values = vec![weight, bias];
        values.extend(embeddings);
        let path = self
            .init
            .as_deref()
            .map(|init| context.path(init).join(FILE));
        // A benchmark draws what an earlier phase has not written.
        if let Some(path) = path.filter(|path| !context.run.bench || path.exists()) {
            let mut stored = file::Tensors::read(&path)?;
            values.clear();
            for (name, shape) in tensors(width, mapped, embedded_classes) {
                values.push(stored.take(&name, &shape)?);
            }
        }
        let mut values = values.into_iter().map(param);
        let mut next = || values.next().ok_or("a head has a weight and a bias");
        Ok(Box::new(Logits {
            weight: next()?,
            bias: next()?,
            embeddings: values.next(),
            trains_embeddings: !sizes.given,
            numbering: sizes.numbering,
            layer: self.layer,
            temperature: self.temperature.unwrap_or(DEFAULT_TEMPERATURE) as f32,
            precision: self.precision,
        }))
    }
}
