//! A frozen encoder: hidden states of each row. On the CPU each is computed on the row alone, so that a target is a function
//! of its row; a GPU computes the rows together.
use crate::Result;
use crate::data::column;
use crate::data::column::{ID, SAMPLES, SPEECH, TARGETS};
use crate::data::entry::Entry;
use crate::data::targets;
use crate::data::targets::Targets;
use crate::model::{Convention, Forward, Model, ModelOption, OPEN, activation_bytes, count};
use crate::node::model_option::{layers_wrong, mask_wrong};
use crate::node::port;
use crate::node::port::{Carries, Port, Ports, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{
    Cacheable, Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, PhaseOutputs, shapes,
};
use arrow::record_batch::RecordBatch;
use compute::gemm::Precision;
use compute::tensor::{Hidden, by_rows};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::ops::Range;
use std::path::Path;

/// A frozen model: its hiddens are the targets.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Folder with config.json and model.safetensors.
    model: String,
    /// What to count and draw where the folder is missing; with a folder, dropouts and the like.
    #[serde(default)]
    #[schemars(schema_with = "crate::model::described")]
    architecture: Option<Json>,
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
}

const IN: &str = "speech";
const OUT: &str = "targets";

impl Options {
    fn source(&self) -> ModelOption<'_> {
        ModelOption {
            option: "model",
            folder: Some(&self.model),
            architecture: self.architecture.as_ref(),
        }
    }
    /// The model's files that decide its outputs, where they are.
    fn files(&self, context: &NodeContext) -> Vec<std::path::PathBuf> {
        let folder = context.path(&self.model);
        let names = [
            "config.json",
            "model.safetensors",
            "preprocessor_config.json",
        ];
        names
            .map(|n| folder.join(n))
            .into_iter()
            .filter(|f| f.exists())
            .collect()
    }
}

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[Port::new(IN, Carries::Batch(SPEECH)), port::MASK],
        outputs: &[Port::new(OUT, Carries::Batch(TARGETS)).tensors()],
    };
    const CACHEABLE: bool = true;
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
        let width = known.architecture.hidden_size;
        Ok(NodeInfo {
            outputs: shapes([(
                OUT,
                Shape::Hiddens {
                    layers: self.layers.clone(),
                    width,
                },
            )]),
            parameters: Some(count::parameters(&known.architecture)),
            macs: Some(count::macs(&known.architecture)),
            activation_bytes: Some([
                activation_bytes::copies(&known.architecture, self.precision.here()),
                0,
            ]),
            estimated: known.estimated,
            reads: known.reads.into_iter().collect(),
            warnings: self.precision.warning().into_iter().collect(),
            ..NodeInfo::default()
        })
    }
    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        self.build_for(&self.layers, context)
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
        for file in self.files(context) {
            let name = file
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            model.insert(name, hash_of(&file)?.into());
        }
        if model.is_empty() {
            // Random weights, where a rehearsal has no model: what they are drawn by.
            let known = self
                .source()
                .known(&context.run.phase_outputs)
                .map_err(|wrong| wrong.message)?;
            model.insert(
                "random".into(),
                json!([
                    context.run.seed,
                    context.run.phase,
                    context.node,
                    known.architecture.to_config()
                ]),
            );
        }
        Ok(json!({
            "kind": "teacher",
            "convention": self.convention,
            "normalize": self.normalize,
            "precision": self.precision.here(),
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
    fn build_for(&self, layers: &[usize], context: &NodeContext) -> Result<Box<dyn Node>> {
        let mut model = self.source().open(context, context.key("weights"))?;
        model.normalize = self.normalize.unwrap_or(model.normalize);
        Ok(Box::new(Teacher {
            model,
            layers: layers.to_vec(),
            convention: self.convention,
            precision: self.precision,
        }))
    }
    fn batch(&self, rows: &RecordBatch, entries: &[Vec<Entry>]) -> Result<RecordBatch> {
        targets::batch_from_entries(rows, entries)
    }
    fn entry(&self, sent: &RecordBatch, row: usize, place: usize) -> Result<Entry> {
        targets::entry(sent, row, place)
    }
}

struct Teacher {
    model: Model,
    layers: Vec<usize>,
    convention: Convention,
    precision: Precision,
}

impl Node for Teacher {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let batch = step.batch(IN)?;
        let (rows, masks) = (column::floats_by_row(&batch, SAMPLES)?, step.masks()?);
        let pass = Forward::frozen(&self.model, OPEN, self.precision);
        let encode = |of: Range<usize>, features: Hidden| {
            pass.encode(
                features,
                masks.as_ref().map(|masks| &masks[of]),
                &self.layers,
                self.convention,
            )
        };
        let layers = by_rows(rows.len(), |of| pass.features(&rows[of]), encode);
        let macs = count::macs_of(&self.model.architecture, rows.iter().map(|r| r.len()));
        step.record_products(self.precision, macs, false);
        step.send(
            OUT,
            Value::Targets(Targets::new(column::get(&batch, ID)?.clone(), layers)),
        );
        Ok(())
    }
}
