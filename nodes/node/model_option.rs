//! The options that name a node's model: a folder, an earlier phase of the same file, or an
//! architecture alone.
use crate::Result;
use crate::data::file;
use crate::data::read_files::ReadFiles;
use crate::model::{
    Architecture, ArchitectureError, LoadedModel, Model, Transfer, UnknownKeys, read_architecture,
    weight_paths,
};
use crate::node::{NodeContext, OptionError, PhaseOutputs, SharedModel, folder_owner};
use compute::gemm::Precision;
use compute::random::Key;
use serde_json::Value as Json;
use std::path::Path;

/// The two options of a node with a model.
pub struct ModelOption<'a> {
    /// Name of the option that names a folder: `model` or `init`.
    pub option: &'static str,
    pub folder: Option<&'a str>,
    pub architecture: Option<&'a Json>,
    /// Whether `architecture` may have other shapes than the folder, whose tensors then fill those
    /// that they fit.
    pub may_reshape: bool,
    /// The folder's layers, from 1, that fill layers 1, 2, ...; null: those of the same number.
    pub layers: Option<&'a [usize]>,
    /// What happens to keys of config.json that this program does not know.
    pub unknown_keys: UnknownKeys<'a>,
}

/// What a plan knows of a model before it is opened.
#[derive(Clone, Debug)]
pub struct PlannedModel {
    pub architecture: Architecture,
    /// Whether an earlier phase decides the size, so that it is the one at its target sparsity.
    pub estimated: bool,
    /// The paths that must exist when the graph runs.
    pub reads: Vec<String>,
    /// What comes from the folder, if the architecture has other shapes or layers.
    pub transfer: Option<Transfer>,
}

impl ModelOption<'_> {
    /// Finds the architecture without opening the model; reads at most a config.json and the names
    /// of tensors.
    pub fn plan(&self, phase_outputs: &PhaseOutputs) -> Result<PlannedModel, OptionError> {
        let Some(folder) = self.folder else {
            let message = format!("needs the option `{}` or `architecture`", self.option);
            let architecture = self.with_option(None)?;
            return Ok(PlannedModel {
                architecture: architecture.ok_or_else(|| OptionError::at("", message))?,
                estimated: false,
                reads: vec![],
                transfer: None,
            });
        };
        if let Some(earlier) = folder_owner(folder) {
            return self.plan_from_phase(folder, earlier, phase_outputs);
        }
        let path = Path::new(folder);
        if path.exists() {
            let stored = read_architecture(path, self.unknown_keys)
                .map_err(|e| OptionError::option(self.option, e))?;
            if self.option == "init"
                && let Some(problem) = stored.only_teaches()
            {
                return Err(OptionError::option("init", format!("the model {problem}")));
            }
            let weights = weight_paths(Path::new(folder.trim_end_matches('/')));
            let reads = weights
                .iter()
                .map(|path| path.to_string_lossy().into_owned());
            let architecture = self.with_option(Some(&stored))?;
            let architecture = architecture.unwrap_or_else(|| stored.clone());
            return Ok(PlannedModel {
                transfer: self.transfer(&architecture, &stored)?,
                architecture,
                estimated: false,
                reads: reads.collect(),
            });
        }
        let hint = file::hint(folder);
        let missing = format!(
            "there is no folder `{folder}`{hint}, and no `architecture` says what to count"
        );
        let architecture = self.with_option(None)?;
        Ok(PlannedModel {
            architecture: architecture.ok_or_else(|| OptionError::option(self.option, missing))?,
            estimated: false,
            reads: vec![folder.to_owned()],
            transfer: None,
        })
    }

    /// Plans with the student that an earlier phase will write.
    fn plan_from_phase(
        &self,
        folder: &str,
        earlier: &str,
        phase_outputs: &PhaseOutputs,
    ) -> Result<PlannedModel, OptionError> {
        let Some((written, estimated)) = phase_outputs.model(earlier) else {
            let names = phase_outputs
                .model_names()
                .map(|name| format!("`$OUT/{name}`"));
            let names: Vec<_> = names.collect();
            let available = if names.is_empty() {
                "none does".to_owned()
            } else {
                format!("there is {}", names.join(", "))
            };
            return Err(OptionError::option(
                self.option,
                format!("no student of an earlier phase writes `{folder}`; {available}"),
            ));
        };
        let architecture = self.with_option(Some(written))?;
        let architecture = architecture.unwrap_or_else(|| written.clone());
        Ok(PlannedModel {
            transfer: self.transfer(&architecture, written)?,
            architecture,
            estimated,
            reads: vec![],
        })
    }

    /// Plans what the folder fills, if it is of other shapes or its layers are chosen.
    fn transfer(
        &self,
        architecture: &Architecture,
        stored: &Architecture,
    ) -> Result<Option<Transfer>, OptionError> {
        if let Some(layers) = self.layers {
            let own = architecture.num_hidden_layers;
            let available = stored.num_hidden_layers;
            if layers.len() != own {
                return Err(OptionError::option(
                    "init_layers",
                    format!("{} numbers for {own} layers", layers.len()),
                ));
            }
            for (i, layer) in layers.iter().enumerate() {
                if !(1..=available).contains(layer) {
                    return Err(OptionError::element(
                        &format!("init_layers.{i}"),
                        "init_layers",
                        format!(
                            "there is no layer {layer}, `{}` has 1 to {available}",
                            self.option
                        ),
                    ));
                }
            }
        } else if architecture.tensors() == stored.tensors() {
            return Ok(None);
        }
        Ok(Some(architecture.transfer_from(stored, self.layers)))
    }

    /// Returns the architecture when the phase begins.
    pub fn architecture_at(&self, context: &NodeContext) -> Result<Architecture> {
        let stored = match self.folder {
            Some(text) if !context.run.bench || context.path(text).exists() => {
                Some(read_architecture(&context.path(text), self.unknown_keys)?)
            }
            Some(text) => {
                let earlier =
                    folder_owner(text).and_then(|key| context.run.phase_outputs.model(key));
                earlier.map(|(architecture, _)| architecture.clone())
            }
            None => None,
        };
        let architecture = self.with_option(stored.as_ref()).map_err(|e| e.message)?;
        let neither = "there is neither a model folder nor an `architecture`";
        Ok(architecture.or(stored).ok_or(neither)?)
    }

    /// Opens the folder. Draws random weights for what it does not fill; for all if no folder is
    /// named, or if `bench` finds none.
    pub fn open(&self, context: &NodeContext, key: Key) -> Result<Model> {
        Ok(self.open_files(context, key)?.0)
    }

    /// Opens the model as [`ModelOption::open`], and returns the files that it was loaded from.
    pub fn open_files(&self, context: &NodeContext, key: Key) -> Result<(Model, ReadFiles)> {
        let folder = self.folder.map(|text| context.path(text));
        let Some(folder) = folder.filter(|folder| folder.exists()) else {
            let architecture = self.architecture_at(context)?;
            return Ok((Model::random(&architecture, key), ReadFiles::default()));
        };
        let LoadedModel {
            mut model,
            read_files,
            ..
        } = LoadedModel::load(&folder, self.unknown_keys)?;
        let wanted = self.with_option(Some(&model.architecture));
        let wanted = wanted.map_err(|error| error.message)?;
        let architecture = wanted.unwrap_or_else(|| model.architecture.clone());
        let transfer = self.transfer(&architecture, &model.architecture);
        match transfer.map_err(|error| error.message)? {
            None => model.architecture = architecture,
            Some(transfer) => {
                context.say_once(&transfer.describe(&folder.display().to_string()));
                model = model.transferred(&architecture, &transfer, key);
            }
        }
        Ok((model, read_files))
    }

    /// Opens a frozen model for passes of this precision, as [`ModelOption::open_files`]. Nodes of a
    /// phase that name equal models at equal precision share one copy of the weights, also of those that `bench` draws in
    /// place of a missing folder.
    pub fn open_shared(&self, context: &NodeContext, precision: Precision) -> Result<SharedModel> {
        let named = self.folder.unwrap_or_default();
        let except = match self.unknown_keys {
            UnknownKeys::Refuse { except } => except,
            UnknownKeys::Allow => &[],
        };
        let path = context.path(named);
        let computed = precision.on_device();
        let name = format!("{:?}", (path, self.architecture, except, computed));
        let key = Key::new(context.run.seed, &["weights", named]);
        let models = &context.run.models;
        models.open(name, || {
            let (mut model, files) = self.open_files(context, key)?;
            model.pack(precision);
            Ok((model, files))
        })
    }

    /// Applies the option `architecture`, if it is given, to a folder's architecture.
    pub(crate) fn with_option(
        &self,
        stored: Option<&Architecture>,
    ) -> Result<Option<Architecture>, OptionError> {
        let read = |option| Architecture::from_option(option, stored, self.may_reshape);
        Ok(self.architecture.map(read).transpose()?)
    }
}

impl From<ArchitectureError> for OptionError {
    fn from(error: ArchitectureError) -> OptionError {
        OptionError::at(&format!("architecture.{}", error.key), error.message)
    }
}
