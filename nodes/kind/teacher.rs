//! A frozen encoder that sends the hidden states of each row.
//!
//! On the CPU each row is computed alone, so that a target is a function of its row. A GPU computes
//! the rows together.
mod baseline;
mod cached;
mod head;
mod node;

use crate::Result;
use crate::data::column::{MAPS, SPEECH, TARGETS};
use crate::model::{Architecture, Classes, Convention, UnknownKeys, activation_bytes, count};
use crate::node::contents::FileOption;
use crate::node::layer_outputs::{
    common_width, hiddens_shape, maps_shape, mask_error, missing_maps,
};
use crate::node::model_option::ModelOption;
use crate::node::port;
use crate::node::port::{Carries, Content, FrameStep, Port, Ports, Shape, Shapes};
use crate::node::{
    Cacheable, Config, KindOptions, LOGITS_PORT, LayersOption, Node, NodeContext, NodeInfo,
    OptionError, PhaseOutputs, shapes,
};
use compute::gemm::Precision;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// A frozen model: its hiddens are the targets.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Model folder, or a checkpoint of fairseq, s3prl, torchaudio, ... (docs/models.md); or "fbank":
    /// log-mel frames, SUPERB's baseline.
    model: String,
    /// Architecture to count and to draw if the folder is missing; with a folder, options such as
    /// dropouts that replace the folder's.
    #[serde(default)]
    #[schemars(schema_with = "crate::model::architecture_schema")]
    architecture: Option<Json>,
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
    /// Divisor of the cosines that are sent as `logits`.
    #[serde(default = "default_temperature")]
    temperature: f64,
    /// Rows of the label embeddings that are classes of the `logits`: "clusters", in the order of
    /// the dictionary and without special symbols, or all "rows".
    #[serde(default)]
    classes: Classes,
    /// "mean": each row of `targets` is one frame, the mean over its frames; null: all frames.
    #[serde(default)]
    pool: Option<Pool>,
    /// Keys of config.json that this program does not know and that change no hidden state.
    #[serde(default)]
    ignore_keys: Vec<String>,
}

/// What the frames of a row are reduced to.
#[derive(Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Pool {
    Mean,
}

fn default_temperature() -> f64 {
    0.1
}

const IN: &str = "speech";
const OUT: &str = "targets";
const MAPS_OUT: &str = "maps";
const LOGITS_OUT: &str = LOGITS_PORT;

impl Options {
    fn model_option(&self) -> ModelOption<'_> {
        ModelOption {
            option: "model",
            folder: Some(&self.model),
            architecture: self.architecture.as_ref(),
            may_reshape: false,
            layers: None,
            unknown_keys: UnknownKeys::Refuse {
                except: &self.ignore_keys,
            },
        }
    }

    /// Returns what is wrong with options by themselves.
    fn own_errors(&self) -> Option<OptionError> {
        OptionError::unless(
            self.temperature > 0.0 && self.temperature.is_finite(),
            "temperature",
            format!("{} is not above 0", self.temperature),
        )
    }

    /// Returns an error unless all layers have the same frames, as the rows of a batch do.
    fn frames_error(&self, layers: &[usize], architecture: &Architecture) -> Option<OptionError> {
        let mixed = layers.contains(&0) && layers.len() > 1;
        OptionError::unless(
            architecture.time_reduction == 1 || !mixed,
            "layers",
            "layer 0 of this model has more frames than the others; use two nodes",
        )
    }

    /// Returns the shape of the hidden states that are sent.
    fn targets_shape(&self, layers: &[usize], width: usize, architecture: &Architecture) -> Shape {
        self.pooled(hiddens_shape(layers, width, architecture))
    }

    /// Returns the shape after the option `pool`.
    fn pooled(&self, shape: Shape) -> Shape {
        match shape {
            Shape::Hiddens {
                layers,
                width,
                step,
                content,
            } if self.pool.is_some() => Shape::Hiddens {
                layers,
                width,
                content,
                step: FrameStep {
                    pooled: true,
                    ..step
                },
            },
            shape => shape,
        }
    }
}

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[Port::new(IN, Carries::Batch(SPEECH)), port::MASK],
        outputs: &[
            Port::new(OUT, Carries::Batch(TARGETS)).tensors(),
            Port::new(MAPS_OUT, Carries::Batch(MAPS)),
            Port::new(LOGITS_OUT, Carries::Batch(TARGETS)).tensors(),
        ],
    };
    const CACHEABLE: bool = true;
    const FILES: &[FileOption] = &[FileOption::files("model")];
}

impl Config for Options {
    fn info(
        &self,
        phase_outputs: &PhaseOutputs,
        inputs: &Shapes,
    ) -> Result<NodeInfo, Vec<OptionError>> {
        let mut errors: Vec<_> = self.own_errors().into_iter().collect();
        if baseline::is_named(&self.model) {
            errors.extend(self.baseline_errors(inputs));
            OptionError::fail_if_any(errors)?;
            return Ok(self.baseline_info());
        }
        let planned = match self.model_option().plan(phase_outputs) {
            Ok(planned) => planned,
            Err(error) => {
                errors.push(error);
                return Err(errors);
            }
        };
        let architecture = planned.architecture;
        let layers = self.layers.of(&architecture);
        errors.extend(self.layers.errors(&architecture));
        errors.extend(mask_error(inputs, &architecture));
        errors.extend(self.frames_error(&layers, &architecture));
        OptionError::fail_if_any(errors)?;
        let width = common_width(&layers, &architecture).map_err(|error| vec![error])?;
        let targets = self.targets_shape(&layers, width, &architecture);
        let maps = maps_shape(&layers, &architecture);
        let mut outputs = shapes([(OUT, targets), (MAPS_OUT, maps)]);
        let mut unavailable = missing_maps(MAPS_OUT, &layers, &architecture);
        let classes = self.head_classes(&architecture);
        match classes.map_err(|error| vec![error])? {
            Some(classes) => {
                let last = [architecture.num_hidden_layers];
                let logits = hiddens_shape(&last, classes.count, &architecture);
                let content = Content::Logits(classes.numbering);
                outputs.insert(LOGITS_OUT, vec![logits.with_content(content)]);
            }
            None => unavailable.push((
                LOGITS_OUT,
                format!(
                    "`{}` has no logits.safetensors, and `architecture` names no `label_embeddings`",
                    self.model
                ),
            )),
        }
        let weight_copies =
            activation_bytes::weight_copies(&architecture, self.precision.on_device());
        Ok(NodeInfo {
            outputs,
            parameters: Some(count::parameters(&architecture)),
            macs: Some(count::macs(&architecture)),
            unavailable,
            activation_bytes: Some([weight_copies, 0]),
            estimated: planned.estimated,
            reads: planned.reads,
            warnings: self.precision.warning().into_iter().collect(),
            ..NodeInfo::default()
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let mut entries = vec![];
        for port in self.ports() {
            if context.read_outputs.contains(port) {
                entries.extend(self.entries(port, context)?);
            }
        }
        Ok(self.build_for(&entries, context)?.node)
    }

    fn cacheable(&self) -> Option<&dyn Cacheable> {
        Some(self)
    }
}
