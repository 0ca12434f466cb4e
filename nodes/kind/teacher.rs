//! A frozen encoder that sends the hidden states of each row.
//!
//! On the CPU each row is computed alone, so that a target is a function of its row. A GPU computes
//! the rows together.
mod node;

use crate::Result;
use crate::data::column::{MAPS, SPEECH, TARGETS};
use crate::data::entry::Entry;
use crate::data::targets;
use crate::model::{
    Architecture, Convention, LabelHead, UnknownKeys, activation_bytes, count, encoder_files,
    label_classes,
};
use crate::node::contents::FileOption;
use crate::node::model_option::{
    ModelOption, check_layers, check_mask, common_width, hiddens_shape, mapped_layers, missing_maps,
};
use crate::node::port;
use crate::node::port::{Carries, Port, Ports, Shape, Shapes};
use crate::node::{
    BuiltNode, Cacheable, Config, KindOptions, Node, NodeContext, NodeInfo, OptionError,
    PhaseOutputs, shapes,
};
use arrow::record_batch::RecordBatch;
use compute::gemm::Precision;
use node::Teacher;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};

/// A frozen model: its hiddens are the targets.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Folder with config.json and model.safetensors.
    model: String,
    /// Architecture to count and to draw if the folder is missing; with a folder, options such as
    /// dropouts that replace the folder's.
    #[serde(default)]
    #[schemars(schema_with = "crate::model::architecture_schema")]
    architecture: Option<Json>,
    /// Layers whose hidden states are sent, numbered by `convention`.
    layers: Vec<usize>,
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
    /// Keys of config.json that this program does not know and that change no hidden state.
    #[serde(default)]
    ignore_keys: Vec<String>,
}

fn default_temperature() -> f64 {
    0.1
}

const IN: &str = "speech";
const OUT: &str = "targets";
const MAPS_OUT: &str = "maps";
const LOGITS_OUT: &str = "logits";

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

    /// Returns the number of classes of the model's label head, if it has one.
    fn classes(&self, architecture: &Architecture) -> Result<Option<usize>, OptionError> {
        let folder = Path::new(&self.model);
        if !folder.exists() {
            return Ok(architecture.label_embeddings);
        }
        label_classes(folder).map_err(|error| OptionError::option("model", error))
    }

    /// Opens the label head; draws it in a dry run without a model.
    fn open_head(&self, architecture: &Architecture, context: &NodeContext) -> Result<LabelHead> {
        let folder = context.path(&self.model);
        if folder.exists() {
            return LabelHead::load(&folder, architecture);
        }
        let size = architecture.final_proj_size.unwrap_or(256);
        let classes = architecture.label_embeddings.ok_or("has no label head")?;
        let key = context.key("label-head");
        Ok(LabelHead::random(
            architecture.layer_width(architecture.num_hidden_layers),
            size,
            classes,
            key,
        ))
    }

    /// Checks that all layers have the same frames, as the rows of a batch do.
    fn check_frames(&self, architecture: &Architecture) -> Result<(), OptionError> {
        let mixed = self.layers.contains(&0) && self.layers.len() > 1;
        if architecture.time_reduction > 1 && mixed {
            return Err(OptionError::option(
                "layers",
                "layer 0 of this model has more frames than the others; use two nodes",
            ));
        }
        Ok(())
    }

    /// Returns the paths of the model's files that determine its hidden states.
    fn files(&self, context: &NodeContext) -> Vec<PathBuf> {
        encoder_files(&context.path(&self.model))
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
        let planned = self
            .model_option()
            .plan(phase_outputs)
            .map_err(|e| vec![e])?;
        let architecture = planned.architecture;
        check_layers(&self.layers, &architecture)?;
        let width = common_width(&self.layers, &architecture)?;
        check_mask(inputs, &architecture)?;
        self.check_frames(&architecture).map_err(|e| vec![e])?;
        let targets = hiddens_shape(&self.layers, width, &architecture);
        let maps = Shape::Maps {
            layers: mapped_layers(&self.layers),
        };
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            let message = format!("{} is not above 0", self.temperature);
            return Err(vec![OptionError::option("temperature", message)]);
        }
        let mut outputs = shapes([(OUT, targets), (MAPS_OUT, maps)]);
        let mut unavailable = missing_maps(MAPS_OUT, &architecture);
        match self.classes(&architecture).map_err(|error| vec![error])? {
            Some(classes) => {
                let last = [architecture.num_hidden_layers];
                let logits = hiddens_shape(&last, classes, &architecture);
                outputs.insert(LOGITS_OUT, vec![logits]);
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
        Ok(self.build_for(&self.layers, context)?.node)
    }

    fn cacheable(&self) -> Option<&dyn Cacheable> {
        Some(self)
    }
}

impl Cacheable for Options {
    fn identity(
        &self,
        context: &NodeContext,
        hash_of: &mut dyn FnMut(&Path) -> Result<String>,
    ) -> Result<Json> {
        let mut model = serde_json::Map::new();
        for path in self.files(context) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            model.insert(name.into_owned(), hash_of(&path)?.into());
        }
        if model.is_empty() {
            // A dry run without a model draws random weights: from the seed, the node, and the
            // architecture.
            let run = &context.run;
            let planned = self.model_option().plan(&run.phase_outputs);
            let architecture = planned.map_err(|error| error.message)?.architecture;
            let drawn_from = json!([run.seed, run.phase, context.node, architecture.to_config()]);
            model.insert("random".into(), drawn_from);
        }
        Ok(json!({
            "kind": "teacher",
            "convention": self.convention,
            "normalize": self.normalize,
            "precision": self.precision.on_device(),
            "architecture": self.architecture,
            "model": model,
        }))
    }

    fn layers(&self) -> Option<&[usize]> {
        Some(&self.layers)
    }

    fn input(&self) -> &'static str {
        IN
    }

    fn output(&self) -> &'static str {
        OUT
    }

    fn build_for(&self, layers: &[usize], context: &NodeContext) -> Result<BuiltNode> {
        let key = context.key("weights");
        let (mut model, read_files) = self.model_option().open_shared(context, key)?;
        model.normalize = self.normalize.unwrap_or(model.normalize);
        if let Some(reason) = model.why_not_normalized() {
            context.say(reason);
        }
        let head = if context.read_outputs.contains(LOGITS_OUT) {
            Some(self.open_head(&model.architecture, context)?)
        } else {
            None
        };
        let teacher = Teacher {
            model,
            layers: layers.to_vec(),
            convention: self.convention,
            precision: self.precision,
            sends_maps: context.read_outputs.contains(MAPS_OUT),
            head,
            temperature: self.temperature as f32,
        };
        Ok(BuiltNode {
            node: Box::new(teacher),
            read_files,
        })
    }

    fn batch(&self, rows: &RecordBatch, entries: &[Vec<Entry>]) -> Result<RecordBatch> {
        targets::batch_from_entries(rows, entries)
    }

    fn entry(&self, sent: &RecordBatch, row: usize, layer_index: usize) -> Result<Entry> {
        targets::entry(sent, row, layer_index)
    }
}
