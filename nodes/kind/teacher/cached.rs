//! What a cache keeps of a teacher: hidden states layer by layer, and logits. Attention maps are not
//! kept.
use super::baseline;
use super::node::Teacher;
use super::{IN, LOGITS_OUT, MAPS_OUT, OUT, Options};
use crate::Result;
use crate::data::entry::Entry;
use crate::data::read_files::ReadFiles;
use crate::data::targets;
use crate::model::{StatedModel, label_head_path, named_encoder_files};
use crate::node::layer_outputs::sent_maps;
use crate::node::{BuiltNode, Cacheable, LayersOption, NodeContext, SharedModel, StoredEntry};
use arrow::record_batch::RecordBatch;
use serde_json::{Map, Value as Json, json};
use std::path::{Path, PathBuf};

impl Options {
    /// Returns the hashes of files by their names.
    fn hashes(
        files: Vec<(String, PathBuf)>,
        hash_of: &mut dyn FnMut(&Path) -> Result<String>,
    ) -> Result<Map<String, Json>> {
        let mut hashes = Map::new();
        for (name, path) in files {
            hashes.insert(name, hash_of(&path)?.into());
        }
        Ok(hashes)
    }

    /// Returns what hidden states depend on.
    fn targets_identity(
        &self,
        context: &NodeContext,
        hash_of: &mut dyn FnMut(&Path) -> Result<String>,
    ) -> Result<Map<String, Json>> {
        let files = named_encoder_files(&context.path(&self.model));
        let mut model = Options::hashes(files, hash_of)?;
        if model.is_empty() {
            // A dry run without a model draws random weights: from the seed, the name of the model,
            // and the architecture.
            let run = &context.run;
            let planned = self.model_option().plan(&run.phase_outputs);
            let architecture = planned.map_err(|error| error.message)?.architecture;
            let drawn_from = json!([run.seed, self.model, architecture.to_config()]);
            model.insert("random".into(), drawn_from);
        }
        let (normalize, architecture) = self.overruling(context)?;
        let mut identity = Map::new();
        identity.insert("kind".into(), json!("teacher"));
        identity.insert("convention".into(), json!(self.convention));
        identity.insert("normalize".into(), json!(normalize));
        identity.insert("precision".into(), json!(self.precision.on_device()));
        identity.insert("architecture".into(), json!(architecture));
        identity.insert("model".into(), model.into());
        if let Some(pool) = self.pool {
            identity.insert("pool".into(), json!(pool));
        }
        Ok(identity)
    }

    /// Returns `normalize` and `architecture` as far as they say other than the model's files: what says
    /// the same changes no number.
    fn overruling(&self, context: &NodeContext) -> Result<(Option<bool>, Option<&Json>)> {
        let path = context.path(&self.model);
        let mut normalize = self.normalize;
        let mut architecture = self.architecture.as_ref();
        if (normalize.is_none() && architecture.is_none()) || !path.exists() {
            return Ok((normalize, architecture));
        }
        let option = self.model_option();
        let stored = StatedModel::read(&path, option.unknown_keys)?;
        normalize = normalize.filter(|normalize| *normalize != stored.normalize);
        let wanted = option.with_option(Some(&stored.architecture));
        if let Some(wanted) = wanted.map_err(|error| error.message)?
            && wanted.computes_as(&stored.architecture)
        {
            architecture = None;
        }
        Ok((normalize, architecture))
    }
}

impl Cacheable for Options {
    fn identity(
        &self,
        port: &str,
        context: &NodeContext,
        hash_of: &mut dyn FnMut(&Path) -> Result<String>,
    ) -> Result<Json> {
        if baseline::is_named(&self.model) {
            return Ok(self.baseline_identity());
        }
        let mut identity = self.targets_identity(context, hash_of)?;
        if port == LOGITS_OUT {
            // Logits are of the encoder's output, whatever the layers and their numbering are.
            identity.remove("convention");
            identity.remove("pool");
            let head = label_head_path(&context.path(&self.model));
            // A checkpoint that is one file holds its head itself.
            let file = head
                .exists()
                .then(|| ("logits.safetensors".to_owned(), head));
            let files = file.into_iter().collect();
            identity.insert("head".into(), Options::hashes(files, hash_of)?.into());
            identity.insert("temperature".into(), json!(self.temperature));
            identity.insert("classes".into(), json!(self.classes));
        }
        Ok(identity.into())
    }

    fn ports(&self) -> &'static [&'static str] {
        &[OUT, LOGITS_OUT]
    }

    fn entries(&self, port: &str, context: &NodeContext) -> Result<Vec<StoredEntry>> {
        if port == LOGITS_OUT {
            return Ok(vec![StoredEntry::Logits]);
        }
        let layers = match &self.layers {
            LayersOption::Listed(layers) => layers.clone(),
            LayersOption::Every(_) if baseline::is_named(&self.model) => vec![0],
            LayersOption::Every(_) => {
                let architecture = self.model_option().architecture_at(context)?;
                self.layers.of(&architecture)
            }
        };
        Ok(layers.into_iter().map(StoredEntry::Layer).collect())
    }

    fn input(&self) -> &'static str {
        IN
    }

    fn build_for(&self, entries: &[StoredEntry], context: &NodeContext) -> Result<BuiltNode> {
        if baseline::is_named(&self.model) {
            return Ok(BuiltNode {
                node: Box::new(baseline::Baseline::new(self.pool.is_some())),
                read_files: ReadFiles::default(),
            });
        }
        let SharedModel {
            mut model,
            mut read_files,
            features,
        } = self.model_option().open_shared(context, self.precision)?;
        model.normalize = self.normalize.unwrap_or(model.normalize);
        if let Some(reason) = model.why_not_normalized() {
            context.say_once(&reason);
        }
        // A cache compares the files of all that it serves, also where only layers are missing.
        let head = match context.read_outputs.contains(LOGITS_OUT) {
            true => Some(self.open_head(&model.architecture, context, &mut read_files)?),
            false => None,
        };
        let sends_maps = context.read_outputs.contains(MAPS_OUT);
        let chosen = self.layers.of(&model.architecture);
        let mapped = sent_maps(sends_maps, &chosen, &model.architecture)?;
        let layers = entries.iter().filter_map(|entry| match entry {
            StoredEntry::Layer(layer) => Some(*layer),
            StoredEntry::Logits | StoredEntry::Rows => None,
        });
        let teacher = Teacher {
            layers: layers.collect(),
            mapped,
            sends_maps,
            head: head.filter(|_| entries.contains(&StoredEntry::Logits)),
            model,
            features,
            convention: self.convention,
            precision: self.precision,
            temperature: self.temperature as f32,
            pools: self.pool.is_some(),
        };
        Ok(BuiltNode {
            node: Box::new(teacher),
            read_files,
        })
    }

    fn batch(&self, _: &str, rows: &RecordBatch, entries: &[Vec<Entry>]) -> Result<RecordBatch> {
        targets::batch_from_entries(rows, entries)
    }

    fn entry(&self, _: &str, sent: &RecordBatch, row: usize, index: usize) -> Result<Entry> {
        targets::entry(sent, row, index)
    }
}
