//! A frozen encoder: hidden states of each row, computed on the row alone, so that a target is a function of its row.
use crate::column::{self, FRAMES, HIDDEN, ID, SAMPLES, SPEECH, TARGETS};
use crate::gemm::Precision;
use crate::model::{Convention, Model, OPEN, Pass, Source, count};
use crate::node::{Cacheable, Config, Facts, Node, Place, World, Wrong, shapes};
use crate::port::{Carries, Port, Ports, Shape, Shapes, Value};
use crate::step::Step;
use crate::{Result, layers_wrong};
use arrow::array::{ArrayRef, UInt32Array};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::path::Path;
use std::sync::Arc;

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
    fn source(&self) -> Source<'_> {
        Source { option: "model", folder: Some(&self.model), architecture: self.architecture.as_ref() }
    }
    /// The model's files that decide its outputs, where they are.
    fn files(&self, place: &Place) -> Vec<std::path::PathBuf> {
        let folder = place.path(&self.model);
        let names = ["config.json", "model.safetensors", "preprocessor_config.json"];
        names.map(|n| folder.join(n)).into_iter().filter(|f| f.exists()).collect()
    }
}

impl Config for Options {
    fn ports(&self) -> Ports {
        const INPUTS: &[Port] = &[Port::new(IN, Carries::Batch(SPEECH))];
        const OUTPUTS: &[Port] = &[Port::new(OUT, Carries::Batch(TARGETS))];
        Ports { inputs: INPUTS, outputs: OUTPUTS }
    }
    fn facts(&self, world: &World, _: &Shapes) -> Result<Facts, Vec<Wrong>> {
        let known = self.source().known(world).map_err(|w| vec![w])?;
        layers_wrong(&self.layers, &known.architecture)?;
        let width = known.architecture.hidden_size;
        Ok(Facts {
            outputs: shapes([(OUT, Shape::Hiddens { layers: self.layers.clone(), width })]),
            parameters: Some(count::parameters(&known.architecture)),
            macs: Some(count::macs(&known.architecture)),
            estimated: known.estimated,
            reads: known.reads.into_iter().collect(),
            warnings: self.precision.warning().into_iter().collect(),
            ..Facts::default()
        })
    }
    fn build(&self, place: &Place) -> Result<Box<dyn Node>> {
        self.build_for(&self.layers, place)
    }
    fn cacheable(&self) -> Option<&dyn Cacheable> {
        Some(self)
    }
}

impl Cacheable for Options {
    fn identity(&self, place: &Place, hash_of: &mut dyn FnMut(&Path) -> Result<String>) -> Result<Json> {
        let mut model = serde_json::Map::new();
        for file in self.files(place) {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            model.insert(name, hash_of(&file)?.into());
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
    fn layers(&self) -> &[usize] {
        &self.layers
    }
    fn input(&self) -> &'static str {
        IN
    }
    fn output(&self) -> &'static str {
        OUT
    }
    fn build_for(&self, layers: &[usize], place: &Place) -> Result<Box<dyn Node>> {
        let mut model = self.source().open(place, place.key("weights"))?;
        model.normalize = self.normalize.unwrap_or(model.normalize);
        Ok(Box::new(Teacher { model, layers: layers.to_vec(), convention: self.convention, precision: self.precision }))
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
        let rows = (0..batch.num_rows()).map(|row| column::floats(&batch, SAMPLES, row)).collect::<Result<Vec<_>>>()?;
        let pass = Pass::frozen(&self.model, OPEN, self.precision);
        let alone = |row: &&[f32]| pass.hiddens(&[row], &self.layers, self.convention);
        let hiddens: Vec<_> = rows.par_iter().map(alone).collect(); // (rows)(layers)

        let all = || hiddens.iter().flatten();
        let values = all().flat_map(|h| h.read().iter().copied()).collect();
        let lists = column::list_by_layer(values, all().map(|h| h.read().len()), rows.len(), self.layers.len())?;
        let frames: UInt32Array = rows.iter().map(|r| self.model.architecture.frames(r.len()) as u32).collect();
        let ids: ArrayRef = Arc::new(column::texts(&batch, ID)?.clone());
        let targets = vec![(ID, ids), (FRAMES, Arc::new(frames) as ArrayRef), (HIDDEN, Arc::new(lists) as ArrayRef)];
        step.send(OUT, Value::Batch(column::batch(targets)?));
        Ok(())
    }
}
