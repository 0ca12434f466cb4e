//! The encoder under training.
//!
//! When its phase ends it shrinks to the fixed gates, if it has any, and writes its own model
//! folder.
mod check;
mod cut;
mod front_end;
mod frozen;
mod look_ahead;
mod node;
mod spec_augment;

use crate::Result;
use crate::data::audio::resample::RATE;
use crate::data::column::{FBANK, SPEECH};
use crate::model::{
    Convention, HUGGING_FACE_EPSILON, MASK_EMBEDDING, UnknownKeys, activation_bytes, count,
};
use crate::node::contents::FileOption;
use crate::node::layer_outputs::{
    common_width, hiddens_shape, maps_shape, mask_error, missing_maps, sent_maps,
};
use crate::node::model_option::ModelOption;
use crate::node::port;
use crate::node::port::{Carries, Port, Ports, Shape, Shapes};
use crate::node::{
    Artifact, Config, KindOptions, LayersOption, Node, NodeContext, NodeInfo, OptionError,
    PhaseOutputs, shapes,
};
use check::pruned_architecture;
use compute::gemm::Precision;
use frozen::Frozen;
use node::Student;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spec_augment::SpecAugment;

/// The model under training.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Model to begin with, a folder or a checkpoint as teacher's (`$OUT/phase/node`: an earlier
    /// phase's); null: random weights of `architecture`.
    #[serde(default)]
    init: Option<String>,
    /// Architecture to draw; with a folder, keys that replace the folder's. Where they change shapes,
    /// tensors of equal name and shape are taken from the folder, and the rest is drawn.
    #[serde(default)]
    #[schemars(schema_with = "crate::model::architecture_schema")]
    architecture: Option<serde_json::Value>,
    /// Layers of `init`, from 1, that fill the student's layers 1, 2, ...; null: those of the same
    /// number.
    #[serde(default)]
    init_layers: Option<Vec<usize>>,
    /// Layers whose hidden states are sent, numbered by `convention`; "all": 0 to the last.
    layers: LayersOption,
    /// What layer 0 and the last layer are: as in transformers and s3prl, or as in torchaudio and
    /// DPHuBERT.
    #[serde(default)]
    convention: Convention,
    /// Whether waveforms are normalised to zero mean and unit variance; null: as the model says.
    #[serde(default)]
    normalize: Option<bool>,
    /// What operands of products are rounded to.
    #[serde(default)]
    precision: Precision,
    /// Keep only each layer's input and compute the layer again for its gradients: less memory,
    /// more time, the same numbers.
    #[serde(default)]
    recompute: bool,
    /// How gradients of later layers add up in a layer: "sum", or "mean", ARMHuBERT's layer gradient
    /// scaling.
    #[serde(default)]
    layer_gradients: LayerGradients,
    /// Weight of the mean square of the extractor's features, sent as `penalty`.
    #[serde(default)]
    feature_penalty: f64,
    /// Factor of the gradient that reaches the extractor.
    #[serde(default = "one")]
    feature_gradient: f64,
    /// Beginnings of the names of tensors that stand still: no gradient, no decay.
    #[serde(default)]
    frozen: Vec<String>,
    /// How log-mel frames are normalised: by the statistics of the model that the student begins
    /// with ("model"), not at all ("none"), or by those of a cmvn.safetensors, whose path this is.
    #[serde(default = "front_end::of_model")]
    cmvn: String,
    /// Masks on normalised log-mel frames in training; null: none.
    #[serde(default)]
    spec_augment: Option<SpecAugment>,
    /// Keys of config.json that this program does not know and that change no hidden state.
    #[serde(default)]
    ignore_keys: Vec<String>,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum LayerGradients {
    #[default]
    Sum,
    Mean,
}

fn one() -> f64 {
    1.0
}

const IN: &str = "speech";
const FEATURES_IN: &str = "features";
const GATES: &str = "gates";
const OUT: &str = "hiddens";
const MAPS_OUT: &str = "maps";
const PENALTY: &str = "penalty";
/// The metric of the penalty on features.
const FEATURE_LOSS: &str = "loss_features";

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[
            Port::new(IN, Carries::Batch(SPEECH)).optional(),
            Port::new(FEATURES_IN, Carries::Batch(FBANK)).optional(),
            port::MASK,
            Port::new(GATES, Carries::Gates).optional(),
        ],
        outputs: &[
            Port::new(OUT, Carries::Hiddens),
            Port::new(MAPS_OUT, Carries::Maps),
            Port::new(PENALTY, Carries::Scalar),
        ],
    };
    const TRAINS: bool = true;
    const FILES: &[FileOption] = &[FileOption::files("init"), FileOption::files("cmvn")];
}

impl Options {
    fn model_option(&self) -> ModelOption<'_> {
        ModelOption {
            option: "init",
            folder: self.init.as_deref(),
            architecture: self.architecture.as_ref(),
            may_reshape: true,
            layers: self.init_layers.as_deref(),
            unknown_keys: UnknownKeys::Refuse {
                except: &self.ignore_keys,
            },
        }
    }
}

impl Config for Options {
    fn info(
        &self,
        phase_outputs: &PhaseOutputs,
        inputs: &Shapes,
    ) -> Result<NodeInfo, Vec<OptionError>> {
        let mut errors = self.factor_errors();
        errors.extend(OptionError::unless(
            self.init.is_some() || self.init_layers.is_none(),
            "init_layers",
            "chooses layers of the model `init`, and none is named",
        ));
        let planned = match self.model_option().plan(phase_outputs) {
            Ok(planned) => planned,
            Err(error) => {
                errors.push(error);
                return Err(errors);
            }
        };
        let only_teaches = planned.architecture.only_teaches();
        if let Some(problem) = only_teaches {
            errors.push(OptionError::at("", format!("the model {problem}")));
            return Err(errors);
        }
        errors.extend(self.front_end_errors(&planned, phase_outputs, inputs));
        let notes = planned
            .transfer
            .map(|transfer| transfer.describe(self.init.as_deref().unwrap_or_default()));
        let architecture = planned.architecture;
        errors.extend(Frozen(&self.frozen).errors(&architecture));
        errors.extend(self.layers.errors(&architecture));
        errors.extend(mask_error(inputs, &architecture));
        errors.extend(self.recompute_error(&architecture));
        let pruned = match pruned_architecture(&architecture, inputs) {
            Ok(pruned) => pruned,
            Err(error) => {
                errors.push(error);
                None
            }
        };
        OptionError::fail_if_any(errors)?;
        let layers = self.layers.of(&architecture);
        let width = common_width(&layers, &architecture).map_err(|error| vec![error])?;
        let hiddens = hiddens_shape(&layers, width, &architecture);
        let maps = maps_shape(&layers, &architecture);
        let look_ahead = self.look_ahead_warning(&architecture);
        let precision = self.precision.on_device();
        let per_model = activation_bytes::per_model(&architecture, precision);
        let per_second =
            activation_bytes::per_row(&architecture, precision, self.recompute, RATE as usize);
        let penalty = match self.feature_penalty > 0.0 {
            true => Shape::penalty(&[FEATURE_LOSS]),
            false => Shape::penalty(&[]),
        };
        Ok(NodeInfo {
            outputs: shapes([(OUT, hiddens), (MAPS_OUT, maps), (PENALTY, penalty)]),
            parameters: Some(count::parameters(&architecture)),
            macs: Some(count::macs(&architecture)),
            unavailable: missing_maps(MAPS_OUT, &layers, &architecture),
            activation_bytes: Some([per_model, per_second]),
            estimated: planned.estimated,
            writes: Some(Artifact::Model {
                estimated: planned.estimated || pruned.is_some(),
                architecture: Box::new(pruned.unwrap_or(architecture)),
            }),
            reads: planned
                .reads
                .into_iter()
                .chain(self.statistics_file())
                .collect(),
            notes: notes.into_iter().collect(),
            warnings: [self.precision.warning(), look_ahead]
                .into_iter()
                .flatten()
                .collect(),
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let mut model = self.model_option().open(context, context.key("weights"))?;
        model.normalize = self.normalize.unwrap_or(model.normalize);
        // The folder that the student writes is read as one of transformers.
        model.normalize_epsilon = HUGGING_FACE_EPSILON;
        self.set_statistics(&mut model, context)?;
        let frozen = Frozen(&self.frozen);
        let layers = self.layers.of(&model.architecture);
        let has_gates = context.inputs.contains_key(GATES);
        let masked = context.inputs.contains_key(port::MASK.name);
        let sends_maps = context.read_outputs.contains(MAPS_OUT);
        let mapped = sent_maps(sends_maps, &layers, &model.architecture)?;
        let trained_mask = masked && !frozen.holds(MASK_EMBEDDING);
        let frozen_parts = match has_gates {
            true => 0,
            false => frozen.parts(&model.architecture, trained_mask, &mapped),
        };
        Ok(Box::new(Student {
            trains_extractor: !frozen.holds_extractor(&model.architecture) || has_gates,
            frozen_parts,
            frozen: self.frozen.clone(),
            spec_augment: self.spec_augment,
            augmentation: context.key("spec-augment"),
            model,
            convention: self.convention,
            precision: self.precision,
            recompute: self.recompute,
            average_gradients: self.layer_gradients == LayerGradients::Mean,
            mapped,
            layers,
            feature_penalty: self.feature_penalty as f32,
            feature_gradient: self.feature_gradient as f32,
            masked,
            noise: context.key("dropout"),
        }))
    }
}
