//! An encoder under training. At the end it takes the fixed gates, if it has any, shrinks, and writes its own folder.
use crate::Result;
use crate::data::column;
use crate::data::column::{SAMPLES, SPEECH};
use crate::model::{
    Convention, DropoutKey, Forward, MASK_EMBEDDING, Model, ModelOption, OPEN, activation_bytes,
    count,
};
use crate::node::model_option::{layers_wrong, mask_wrong};
use crate::node::port;
use crate::node::port::{Carries, Gates, Hiddens, Port, Ports, Scalar, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{
    Artifact, Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, Parameter,
    PhaseOutputs, shapes,
};
use crate::prune::Finalize;
use crate::prune::shrink::{Fixed, shrink};
use compute::gemm::Precision;
use compute::op::{gradient_scale, mean_square};
use compute::random::Key;
use compute::tensor::{Hidden, NoneTape, Number, Track, Vector, put, read, scaled, split};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The model under training.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Model folder to begin with (`$OUT/phase/node`: an earlier phase's); null: random weights of `architecture`.
    #[serde(default)]
    init: Option<String>,
    /// What to draw; with a folder, dropouts and the like.
    #[serde(default)]
    #[schemars(schema_with = "crate::model::described")]
    architecture: Option<serde_json::Value>,
    /// Which hidden states, by `convention`.
    layers: Vec<usize>,
    /// What layer 0 and the last layer are: as in transformers and s3prl, or as in torchaudio and DPHuBERT.
    #[serde(default)]
    convention: Convention,
    /// Waveforms to zero mean and unit variance; null: as the model says.
    #[serde(default)]
    normalize: Option<bool>,
    /// What operands of products are rounded to.
    #[serde(default)]
    precision: Precision,
    /// Keep only each layer's input and compute the layer again for its gradients: less memory, more time, the same numbers.
    #[serde(default)]
    recompute: bool,
    /// Weight of the mean square of the extractor's features, sent as `penalty`.
    #[serde(default)]
    feature_penalty: f64,
    /// Factor of the gradient that reaches the extractor.
    #[serde(default = "one")]
    feature_gradient: f64,
}

fn one() -> f64 {
    1.0
}

const IN: &str = "speech";
const GATES: &str = "gates";
const OUT: &str = "hiddens";
const PENALTY: &str = "penalty";
/// A constant of pruning.
const DUMMY_WEIGHT: &str = "feature_extractor.dummy_weight";

impl Options {
    fn source(&self) -> ModelOption<'_> {
        ModelOption {
            option: "init",
            folder: self.init.as_deref(),
            architecture: self.architecture.as_ref(),
        }
    }
}

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[
            Port::new(IN, Carries::Batch(SPEECH)),
            port::MASK,
            Port::new(GATES, Carries::Gates).optional(),
        ],
        outputs: &[
            Port::new(OUT, Carries::Hiddens),
            Port::new(PENALTY, Carries::Scalar),
        ],
    };
    const TRAINS: bool = true;
}

impl Config for Options {
    fn info(
        &self,
        phase_outputs: &PhaseOutputs,
        inputs: &Shapes,
    ) -> Result<NodeInfo, Vec<OptionError>> {
        let known = self.source().known(phase_outputs).map_err(|w| vec![w])?;
        layers_wrong(&self.layers, &known.architecture)?;
        mask_wrong(inputs, &known.architecture)?;
        for (option, x) in [
            ("feature_penalty", self.feature_penalty),
            ("feature_gradient", self.feature_gradient),
        ] {
            if !(x >= 0.0 && x.is_finite()) {
                return Err(vec![OptionError::at(
                    option,
                    format!("option `{option}`: {x} is not a number from 0"),
                )]);
            }
        }
        let mut writes = Artifact::Model {
            architecture: known.architecture.clone(),
            estimated: known.estimated,
        };
        if let Some([Shape::Gates(pruning)]) = inputs.get(GATES).map(Vec::as_slice) {
            if pruning.architecture.tensors() != known.architecture.tensors() {
                let says =
                    "input `gates`: its gates are for a model of another shape than this student's";
                return Err(vec![OptionError::at("inputs.gates", says)]);
            }
            writes = Artifact::Model {
                architecture: pruning.estimate(),
                estimated: true,
            };
        }
        let (width, precision) = (known.architecture.hidden_size, self.precision.here());
        let second = activation_bytes::bytes(&known.architecture, precision, self.recompute, 16000);
        Ok(NodeInfo {
            outputs: shapes([
                (
                    OUT,
                    Shape::Hiddens {
                        layers: self.layers.clone(),
                        width,
                    },
                ),
                (PENALTY, Shape::Plain),
            ]),
            parameters: Some(count::parameters(&known.architecture)),
            macs: Some(count::macs(&known.architecture)),
            activation_bytes: Some([
                activation_bytes::fixed(&known.architecture, precision),
                second,
            ]),
            estimated: known.estimated,
            writes: Some(writes),
            reads: known.reads.into_iter().collect(),
            warnings: self.precision.warning().into_iter().collect(),
            ..NodeInfo::default()
        })
    }
    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let mut model = self.source().open(context, context.key("weights"))?;
        model.normalize = self.normalize.unwrap_or(model.normalize);
        let (layers, convention, noise) =
            (self.layers.clone(), self.convention, context.key("dropout"));
        let (precision, recompute) = (self.precision, self.recompute);
        let masked = context.inputs.contains_key(port::MASK.name);
        let [penalty, gradient] = [self.feature_penalty, self.feature_gradient].map(|x| x as f32);
        Ok(Box::new(Student {
            model,
            layers,
            convention,
            precision,
            recompute,
            penalty,
            gradient,
            masked,
            noise,
        }))
    }
}

struct Student {
    model: Model,
    layers: Vec<usize>,
    convention: Convention,
    precision: Precision,
    recompute: bool,
    /// Weight of the features' mean square, and factor of their gradient.
    penalty: f32,
    gradient: f32,
    /// Masks come in, and so the embedding of masked frames is trained.
    masked: bool,
    noise: Key,
}

impl Node for Student {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let batch = step.batch(IN)?;
        let (rows, masks) = (column::floats_by_row(&batch, SAMPLES)?, step.masks()?);
        let macs = count::macs_of(&self.model.architecture, rows.iter().map(|r| r.len()));
        step.record_products(self.precision, macs, true);
        let rows = (&rows[..], masks.as_deref());
        let gates = step.gates(GATES).unwrap_or_default().vectors;
        let (hiddens, penalty) = if step.trains() {
            let drops = DropoutKey(Some(self.noise.word(step.info.step)));
            self.hiddens(rows, &gates, drops, step.tape().clone())
        } else {
            let gates = gates
                .into_iter()
                .map(|(name, z)| (name, split(z).0))
                .collect();
            let (hiddens, penalty) = self.hiddens(rows, &gates, DropoutKey(None), NoneTape);
            (
                hiddens.into_iter().map(|h| h.on(step.tape())).collect(),
                penalty.map(|p| put(&p, step.tape())),
            )
        };
        let layers = self.layers.iter().copied().zip(hiddens).collect();
        step.send(OUT, Value::Hiddens(Hiddens { layers }));
        let mut sent = Scalar::nothing(step.tape());
        if let Some(square) = penalty {
            sent.parts = vec![("loss_features".into(), read(&square)[0])];
            sent.value = scaled(square, self.penalty);
        }
        step.send(PENALTY, Value::Scalar(sent));
        Ok(())
    }

    fn finish(&mut self, step: &mut Step) -> Result<()> {
        let Some(Gates {
            vectors,
            finalize: Some(how),
        }) = step.gates(GATES)
        else {
            return self.model.save(&step.context.folder());
        };
        let gates: Fixed = vectors
            .into_iter()
            .map(|(name, z)| (name, read(&z).into()))
            .collect();
        let small = shrink(&self.model, &gates, how);
        step.context.say(self.about_cut(&small, &gates, how));
        small.save(&step.context.folder())
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        let mut shapes: BTreeMap<String, Vec<usize>> =
            self.model.architecture.tensors().into_iter().collect();
        let trains = |name: &str| name != DUMMY_WEIGHT && (self.masked || name != MASK_EMBEDDING);
        let trained = self
            .model
            .weights
            .0
            .iter_mut()
            .filter(|(name, _)| trains(name));
        let parameter = |(name, weight)| {
            let shape = shapes.remove(name).unwrap_or_default();
            Parameter {
                name: String::clone(name),
                shape,
                weight,
                sign: 1.0,
            }
        };
        trained.map(parameter).collect()
    }
}

impl Student {
    /// The layers, and the mean square of the extractor's features, if it is penalised.
    fn hiddens<T: Track>(
        &self,
        (rows, masks): (&[&[f32]], Option<&[Vec<bool>]>),
        gates: &BTreeMap<String, Vector<T>>,
        drops: DropoutKey,
        tape: T,
    ) -> (Vec<Hidden<T>>, Option<Number<T>>) {
        let (precision, recompute) = (self.precision, self.recompute);
        let pass = Forward {
            model: &self.model,
            gates,
            drops,
            precision,
            recompute,
            tape,
        };
        let features = gradient_scale(pass.features(rows), self.gradient);
        let penalty = (self.penalty > 0.0).then(|| mean_square(features.clone()));
        (
            pass.encode(features, masks, &self.layers, self.convention),
            penalty,
        )
    }

    /// Counts before and after, and how far the cut moved the hidden states of a second of noise.
    fn about_cut(&self, small: &Model, gates: &Fixed, how: Finalize) -> String {
        let speech: Vec<f32> = (0..16000)
            .map(|i| 0.1 * self.noise.normal(u64::MAX, i))
            .collect();
        let open: BTreeMap<String, Vector> = gates
            .iter()
            .map(|(n, z)| (n.clone(), compute::tensor::param(z.clone())))
            .collect();
        let all: Vec<usize> = (0..=self.model.architecture.num_hidden_layers).collect();
        let passes = [
            Forward::frozen(&self.model, &open, Precision::F32),
            Forward::frozen(small, OPEN, Precision::F32),
        ];
        let [before, after] = passes.map(|p| p.hiddens(&[&speech], &all, self.convention));
        let apart = |(b, a): (&Hidden, &Hidden)| {
            let (before, after) = (read(&b.values), read(&a.values));
            before
                .iter()
                .zip(after.iter())
                .map(|(b, a)| (b - a).abs())
                .fold(0f32, f32::max)
        };
        let jump = before.iter().zip(&after).map(apart).fold(0f32, f32::max);
        let (was, is) = (
            count::parameters(&self.model.architecture),
            count::parameters(&small.architecture),
        );
        let sparsity = 1.0 - is as f64 / was as f64;
        let how = if how == Finalize::Exact {
            "exactly"
        } else {
            "as the reference does"
        };
        format!(
            "cut {how} from {was} to {is} parameters, sparsity {sparsity:.4}; hidden states moved by at most {jump:.1e}"
        )
    }
}
