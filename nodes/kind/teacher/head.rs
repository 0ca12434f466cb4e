//! The label head of a teacher, whose logits it sends.
use super::Options;
use crate::Result;
use crate::data::read_files::ReadFiles;
use crate::model::{Architecture, Classes, HeadClasses, LabelHead, Numbering, label_classes};
use crate::node::{NodeContext, OptionError};
use std::path::Path;

impl Options {
    /// Returns the classes of the model's label head, if it has one.
    pub(super) fn head_classes(
        &self,
        architecture: &Architecture,
    ) -> Result<Option<HeadClasses>, OptionError> {
        let folder = Path::new(&self.model);
        if folder.exists() {
            return label_classes(folder, self.classes)
                .map_err(|error| OptionError::option("model", error));
        }
        // How many rows are special is known with the folder only.
        let numbering = match self.classes {
            Classes::Clusters => Numbering::Clusters,
            Classes::Rows => Numbering::Learned,
        };
        Ok(architecture
            .label_embeddings
            .map(|count| HeadClasses { count, numbering }))
    }

    /// Opens the label head; draws it in a dry run without a model. Its file is added to those that
    /// were read.
    pub(super) fn open_head(
        &self,
        architecture: &Architecture,
        context: &NodeContext,
        read_files: &mut ReadFiles,
    ) -> Result<LabelHead> {
        let folder = context.path(&self.model);
        if folder.exists() {
            return LabelHead::load(&folder, architecture, self.classes, read_files);
        }
        let size = architecture.final_proj_size.unwrap_or(256);
        let classes = architecture.label_embeddings.ok_or("has no label head")?;
        let width = architecture.layer_width(architecture.num_hidden_layers);
        let key = context.key("label-head");
        Ok(LabelHead::random(width, size, classes, key))
    }
}
