//! A frozen encoder that sends the hidden states of each row.
//!
//! On the CPU each row is computed alone, so that a target is a function of its row. A GPU computes
//! the rows together.
use crate::Result;
use crate::data::column;
use crate::data::column::{FRAMES, ID, MAP, MAPS, SAMPLES, SPEECH, TARGETS};
use crate::data::entry::Entry;
use crate::data::targets;
use crate::data::targets::Targets;
use crate::model::row_memory::{check_frozen, row_lengths};
use crate::model::{
    Architecture, CMVN_FILE, Convention, Forward, LabelHead, Model, Normalization, OPEN, Outputs,
    UnknownKeys, activation_bytes, count, label_classes, weight_paths,
};
use crate::node::model_option::{
    ModelOption, check_layers, check_mask, common_width, mapped_layers, missing_maps,
};
use crate::node::port;
use crate::node::port::{Carries, FrameStep, Port, Ports, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{
    BuiltNode, Cacheable, Config, KindOptions, Node, NodeContext, NodeInfo, OptionError,
    PhaseOutputs, shapes,
};
use arrow::array::{ArrayRef, UInt32Array};
use arrow::record_batch::RecordBatch;
use compute::gemm::Precision;
use compute::op::mean_map;
use compute::tensor::{Hidden, by_rows, read};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

    /// Returns the paths of the model's files that determine its outputs.
    fn files(&self, context: &NodeContext) -> Vec<PathBuf> {
        let folder = context.path(&self.model);
        let config = folder.join("config.json");
        let statistics = folder.join(CMVN_FILE);
        let weights = weight_paths(&folder);
        let normalization = Normalization::file(&folder).map(|name| folder.join(name));
        let paths = [config, statistics].into_iter().chain(weights);
        let paths = paths.chain(normalization);
        paths.filter(|path| path.exists()).collect()
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
        let targets = Shape::Hiddens {
            layers: self.layers.clone(),
            width,
            step: FrameStep {
                joined: architecture.time_reduction,
                ..FrameStep::default()
            },
        };
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
                let logits = Shape::Hiddens {
                    layers: vec![architecture.num_hidden_layers],
                    width: classes,
                    step: FrameStep {
                        joined: architecture.time_reduction,
                        ..FrameStep::default()
                    },
                };
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

struct Teacher {
    model: Model,
    layers: Vec<usize>,
    convention: Convention,
    precision: Precision,
    /// Whether a node reads the attention maps.
    sends_maps: bool,
    /// The label head, if a node reads the logits.
    head: Option<LabelHead>,
    temperature: f32,
}

/// Returns a batch with the columns [`MAPS`] for rows of these frames.
fn maps_batch(ids: ArrayRef, frames: &[usize], layers: &[Hidden]) -> Result<RecordBatch> {
    let numbers: Vec<_> = layers.iter().map(|layer| read(&layer.values)).collect();
    let mut values: Vec<f32> = vec![];
    let mut lengths = vec![];
    for row in 0..frames.len() {
        for (layer, numbers) in layers.iter().zip(&numbers) {
            let pairs = layer.spans.of(row);
            lengths.push(pairs.len());
            values.extend_from_slice(&numbers[pairs]);
        }
    }
    let maps = column::list_by_layer(values, lengths, frames.len(), layers.len())?;
    let frames = UInt32Array::from_iter_values(frames.iter().map(|&frames| frames as u32));
    column::batch(vec![
        (ID, ids),
        (FRAMES, Arc::new(frames)),
        (MAP, Arc::new(maps)),
    ])
}

impl Node for Teacher {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let batch = step.batch(IN)?;
        let samples = column::floats_by_row(&batch, SAMPLES)?;
        let masks = step.masks()?;
        let rows = row_lengths(column::texts(&batch, ID)?, &samples);
        check_frozen(&self.model.architecture, self.layers.len(), &rows)?;
        let forward = Forward::frozen(&self.model, OPEN, self.precision);
        let mapped = if self.sends_maps {
            mapped_layers(&self.layers)
        } else {
            vec![]
        };
        let encode = |rows: Range<usize>, features: Hidden| {
            let masks = masks.as_ref().map(|masks| &masks[rows]);
            let outputs = Outputs {
                layers: &self.layers,
                maps: &mapped,
                encoder_output: self.head.is_some(),
                convention: self.convention,
            };
            let encoded = forward.encode(features, masks, outputs);
            let mut outputs = encoded.hiddens;
            outputs.extend(encoded.maps.iter().map(mean_map));
            let logits = self.head.as_ref().zip(encoded.encoder_output);
            outputs.extend(logits.map(|(head, x)| head.logits(x, self.temperature)));
            outputs
        };
        let mut layers = by_rows(
            samples.len(),
            |rows| forward.features(&samples[rows]),
            encode,
        );
        let mut maps = layers.split_off(self.layers.len());
        let logits = maps.split_off(mapped.len());
        let architecture = &self.model.architecture;
        let lengths = samples.iter().map(|row| row.len());
        let macs = count::macs_of(architecture, lengths.clone());
        step.record_products(self.precision, macs, false);
        let ids = column::get(&batch, ID)?.clone();
        if self.sends_maps {
            let frames: Vec<usize> = lengths.map(|n| architecture.layer_frames(1, n)).collect();
            let batch = maps_batch(ids.clone(), &frames, &maps)?;
            step.send(MAPS_OUT, Value::Batch(batch));
        }
        if self.head.is_some() {
            step.send(
                LOGITS_OUT,
                Value::Targets(Targets::new(ids.clone(), logits)),
            );
        }
        step.send(OUT, Value::Targets(Targets::new(ids, layers)));
        Ok(())
    }
}
