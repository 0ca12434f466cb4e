//! A head that maps one layer of a student, (frames, hidden), to logits, (frames, classes):
//!
//! ```text
//! cosine    z = x Wᵀ + b, and cos(z, e_c) / τ for the embedding e_c of each class: the head of
//!           HuBERT's pre-training (Hsu et al. 2021, arXiv:2106.07447, equation 3)
//! linear    x Wᵀ + b
//! ```
use crate::Result;
use crate::data::file;
use crate::model::{Classes, LabelEmbeddings, Numbering, label_embeddings, label_head_metadata};
use crate::node::contents::FileOption;
use crate::node::port::{Carries, Content, Hiddens, Port, Ports, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{
    Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, Parameter, PhaseOutputs,
    check_finite, shapes, superb_frames,
};
use compute::gemm::Precision;
use compute::op::{cosine_logits, linear, linear_start};
use compute::tensor::{Hidden, Param, Tape, len, param, read};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

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
const MAX_WIDTH: usize = 1 << 16;
const DEFAULT_WIDTH: usize = 256;
const DEFAULT_TEMPERATURE: f64 = 0.1;

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[Port::new(IN, Carries::Hiddens)],
        outputs: &[Port::new(OUT, Carries::Hiddens)],
    };
    const TRAINS: bool = true;
    const FILES: &[FileOption] = &[FileOption::files("embeddings")];
}

/// Classes, and the width of what they are compared with.
struct Sizes {
    classes: usize,
    numbering: Numbering,
    width: usize,
    /// Whether the embeddings are another model's.
    given: bool,
    /// Those embeddings, if their file is there.
    embeddings: Option<Vec<f32>>,
}

impl Options {
    fn errors(&self) -> Vec<OptionError> {
        let mut errors = vec![];
        for (option, value) in [("classes", self.count()), ("width", self.width)] {
            if let Some(value) = value {
                errors.extend(OptionError::outside(option, value, 1..=MAX_WIDTH));
            }
        }
        let temperature = self.temperature.unwrap_or(1.0);
        errors.extend(OptionError::unless(
            temperature > 0.0 && temperature.is_finite(),
            "temperature",
            format!("{temperature} is not above 0"),
        ));
        if self.r#type == Form::Linear {
            for (option, given) in [
                ("width", self.width.is_some()),
                ("temperature", self.temperature.is_some()),
                ("embeddings", self.embeddings.is_some()),
            ] {
                let message = "is for the type \"cosine\"";
                errors.extend(OptionError::unless(!given, option, message));
            }
        }
        if self.embeddings.is_none() {
            match self.classes {
                None => errors.push(OptionError::at("", "needs the option `classes`")),
                Some(ClassesOption::Of(_)) => errors.push(OptionError::option(
                    "classes",
                    "is a number here; \"clusters\" and \"rows\" are of `embeddings`",
                )),
                Some(ClassesOption::Count(_)) => {}
            }
        }
        errors
    }

    /// Returns the number of classes that the option states.
    fn count(&self) -> Option<usize> {
        match self.classes? {
            ClassesOption::Count(count) => Some(count),
            ClassesOption::Of(_) => None,
        }
    }

    /// Reads the embeddings, of the rows that the option `classes` names or has the number of.
    fn read_embeddings(&self, path: &Path) -> Result<LabelEmbeddings, OptionError> {
        let read = |classes| {
            label_embeddings(path, classes).map_err(|e| OptionError::option("embeddings", e))
        };
        let found = match self.classes {
            Some(ClassesOption::Of(classes)) => return read(classes),
            _ => read(Classes::Clusters)?,
        };
        if self
            .count()
            .is_none_or(|count| count == found.classes.count)
        {
            return Ok(found);
        }
        let rows = read(Classes::Rows)?;
        Ok(match self.count() == Some(rows.classes.count) {
            true => rows,
            false => found,
        })
    }

    /// Returns the sizes; `None` if they are those of a file that is not there.
    fn sizes(&self) -> Result<Option<Sizes>, OptionError> {
        let file = self.embeddings.as_deref().map(Path::new);
        let Some(path) = file.filter(|path| path.exists()) else {
            return Ok(self.count().map(|classes| Sizes {
                classes,
                numbering: Numbering::Learned,
                width: self.width.unwrap_or(DEFAULT_WIDTH),
                given: file.is_some(),
                embeddings: None,
            }));
        };
        let found = self.read_embeddings(path)?;
        for (option, stated, found) in [
            ("classes", self.count(), found.classes.count),
            ("width", self.width, found.size),
        ] {
            if stated.is_some_and(|stated| stated != found) {
                return Err(OptionError::option(
                    option,
                    format!("`{}` has {found}", path.display()),
                ));
            }
        }
        Ok(Some(Sizes {
            classes: found.classes.count,
            numbering: found.classes.numbering,
            width: found.size,
            given: true,
            embeddings: Some(found.values),
        }))
    }

    /// Returns the outputs of the linear map.
    fn mapped_width(&self, sizes: &Sizes) -> usize {
        match self.r#type {
            Form::Cosine => sizes.width,
            Form::Linear => sizes.classes,
        }
    }
}

impl Config for Options {
    fn info(&self, _: &PhaseOutputs, inputs: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let mut errors = self.errors();
        let Some(
            [
                Shape::Hiddens {
                    layers,
                    width,
                    step,
                    ..
                },
            ],
        ) = inputs.get(IN).map(Vec::as_slice)
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
        let layers = self.layer.map_or(layers.clone(), |layer| vec![layer]);
        let reads = self.embeddings.clone().into_iter().collect();
        let Some(sizes) = self.sizes().map_err(|error| vec![error])? else {
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
        let trained = if sizes.given { 0 } else { cosines };
        let output = Shape::Hiddens {
            layers,
            width: sizes.classes,
            step: *step,
            content: Content::Logits(sizes.numbering),
        };
        Ok(NodeInfo {
            outputs: shapes([(OUT, output)]),
            parameters: Some((*width as u64 + 1) * mapped + trained),
            macs: Some(
                superb_frames(step.joined) * step.split as u64 * (*width as u64 * mapped + cosines),
            ),
            reads,
            warnings: self.precision.warning().into_iter().collect(),
            ..NodeInfo::default()
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let Some([Shape::Hiddens { width, .. }]) = context.inputs.get(IN).map(Vec::as_slice) else {
            return Err("the width of `hiddens` is unknown".into());
        };
        let sizes = self.sizes().map_err(|error| error.message)?;
        let sizes = sizes.ok_or("the number of classes is unknown")?;
        let mapped = self.mapped_width(&sizes);
        let [weight, bias] = linear_start(context.key("final_proj"), 0, *width, mapped);
        let embeddings = match self.r#type {
            Form::Linear => None,
            Form::Cosine => Some(sizes.embeddings.unwrap_or_else(|| {
                let key = context.key("label_embs");
                let numbers = 0..sizes.classes * sizes.width;
                numbers.map(|i| key.uniform(0, i as u64)).collect()
            })),
        };
        Ok(Box::new(Logits {
            weight: param(weight),
            bias: param(bias),
            embeddings: embeddings.map(param),
            trains_embeddings: !sizes.given,
            numbering: sizes.numbering,
            layer: self.layer,
            temperature: self.temperature.unwrap_or(DEFAULT_TEMPERATURE) as f32,
            precision: self.precision,
        }))
    }
}

struct Logits {
    /// (width, hidden)
    weight: Param,
    /// (width)
    bias: Param,
    /// (classes, width), uniform in [0, 1) at the start, as in fairseq; `None` if the linear map
    /// gives the logits.
    embeddings: Option<Param>,
    trains_embeddings: bool,
    numbering: Numbering,
    /// The layer that is read; `None`: the only one.
    layer: Option<usize>,
    temperature: f32,
    precision: Precision,
}

impl Logits {
    fn logits(&self, x: Hidden<Tape>) -> Hidden<Tape> {
        let z = linear(x, &self.weight, &self.bias, self.precision);
        match &self.embeddings {
            Some(embeddings) => cosine_logits(z, embeddings, self.temperature),
            None => z,
        }
    }

    /// Lists all tensors of the head.
    fn tensors(&mut self) -> Vec<Parameter<'_>> {
        let width = len(&self.bias);
        let hidden = len(&self.weight) / width;
        let mut weight = Parameter::flat("final_proj.weight".into(), &mut self.weight);
        weight.shape = vec![width, hidden];
        let bias = Parameter::flat("final_proj.bias".into(), &mut self.bias);
        let mut tensors = vec![weight, bias];
        if let Some(embeddings) = &mut self.embeddings {
            let classes = len(embeddings) / width;
            let mut embeddings = Parameter::flat("label_embs".into(), embeddings);
            embeddings.shape = vec![classes, width];
            tensors.push(embeddings);
        }
        tensors
    }
}

impl Node for Logits {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let mut layers = vec![];
        for (layer, hidden) in step.hiddens(IN)?.layers {
            if self.layer.is_none_or(|chosen| chosen == layer) {
                layers.push((layer, self.logits(hidden)));
            }
        }
        step.send(OUT, Value::Hiddens(Hiddens { layers }));
        Ok(())
    }

    fn finish(&mut self, step: &mut Step) -> Result<()> {
        let path = step.context.folder().join("logits.safetensors");
        let metadata = label_head_metadata(self.numbering);
        let all = self.tensors();
        check_finite(all.iter().map(|p| (p.name.as_str(), &*p.weight)))?;
        let tensors: Vec<_> = all
            .iter()
            .map(|p| (p.name.clone(), p.shape.clone(), read(&*p.weight)))
            .collect();
        file::save(&path, &tensors, metadata)
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        let trains_embeddings = self.trains_embeddings;
        let mut parameters = self.tensors();
        parameters.retain(|p| trains_embeddings || p.name != "label_embs");
        parameters
    }
}
