//! The embeddings of a head's classes, in a file of its own or within a checkpoint.
use super::{Classes, HeadClasses, Numbering, label_head_path};
use crate::Result;
use crate::data::error::{PathContext, error_at};
use crate::data::file::{FileMetadata, Tensors};
use crate::data::read_files::ReadFiles;
use crate::data::torch::is_torch_file;
use crate::model::checkpoint::open_file;
use crate::model::formats::{StoredModel, head};
use crate::model::stored::Stored;
use std::path::Path;

const EMBEDDINGS: &str = "label_embs";

/// What fairseq calls them.
const EMBEDDINGS_OF_FAIRSEQ: &str = "label_embs_concat";

/// The key of the metadata for the rows of `label_embs` that come before those of clusters: symbols
/// of a dictionary, such as fairseq's four.
pub(super) const SPECIAL: &str = "special_rows";

/// The embeddings of a head, in a file of its own or with a checkpoint.
pub(super) struct Embeddings {
    pub(super) stored: Stored,
    /// The name of the embeddings, (rows, size).
    name: &'static str,
    rows: usize,
    pub(super) size: usize,
    /// Rows of special symbols before the others.
    special: usize,
    /// The row of each cluster.
    clusters: Vec<usize>,
}

impl Embeddings {
    /// Finds the head of a model, and adds its file to those that were read; `None` if it has none.
    pub(super) fn find(model: &Path, read_files: &mut ReadFiles) -> Result<Option<Embeddings>> {
        if model.is_file() {
            let opened = open_file(model, read_files)?;
            let has_head = opened.stored.tensors.contains_key(EMBEDDINGS_OF_FAIRSEQ);
            return has_head
                .then(|| Embeddings::of_checkpoint(opened))
                .transpose();
        }
        let path = label_head_path(model);
        let read = || {
            let (tensors, hash) = Tensors::read_and_hash(&path)?;
            read_files.insert(&path, hash);
            Embeddings::of(&path, tensors)
        };
        path.exists().then(read).transpose()
    }

    /// Opens the head that a checkpoint of fairseq holds, whose dictionary names the rows.
    fn of_checkpoint(opened: StoredModel) -> Result<Embeddings> {
        let (rows, size) = shape(&opened.stored, EMBEDDINGS_OF_FAIRSEQ)?;
        let path = opened.stored.path();
        let clusters = head::rows(opened.symbols.as_deref(), rows).at(path)?;
        Ok(Embeddings {
            stored: opened.stored,
            name: EMBEDDINGS_OF_FAIRSEQ,
            rows,
            size,
            special: clusters.iter().copied().min().unwrap_or(0),
            clusters,
        })
    }

    /// Takes the tensors of a file of this program.
    fn of(path: &Path, tensors: Tensors) -> Result<Embeddings> {
        let special = tensors.metadata.get(SPECIAL).cloned();
        let stored = Stored::of_tensors(path, tensors);
        let (rows, size) = shape(&stored, EMBEDDINGS)?;
        let special = special.map_or(Ok(0), |text| text.parse::<usize>());
        let special = special.ok().filter(|special| *special < rows);
        let Some(special) = special else {
            let message = format!("`{SPECIAL}` of its metadata is no number of rows");
            return Err(error_at(path, message));
        };
        Ok(Embeddings {
            stored,
            name: EMBEDDINGS,
            rows,
            size,
            special,
            clusters: (special..rows).collect(),
        })
    }

    pub(super) fn classes(&self, classes: Classes) -> HeadClasses {
        match classes {
            Classes::Rows if self.special > 0 => HeadClasses {
                count: self.rows,
                numbering: Numbering::Rows {
                    special: self.special,
                },
            },
            // Without special symbols the rows are the clusters.
            Classes::Rows | Classes::Clusters => HeadClasses {
                count: self.clusters.len(),
                numbering: Numbering::Clusters,
            },
        }
    }

    /// Takes the embeddings of the classes out.
    pub(super) fn take(&mut self, classes: Classes) -> Result<Vec<f32>> {
        let values = self.stored.take(self.name, &[self.rows, self.size])?;
        if matches!(self.classes(classes).numbering, Numbering::Rows { .. }) {
            return Ok(values);
        }
        let rows = self.clusters.iter();
        Ok(rows
            .flat_map(|row| &values[row * self.size..(row + 1) * self.size])
            .copied()
            .collect())
    }
}

/// Returns the shape of embeddings, (rows, size).
fn shape(stored: &Stored, name: &str) -> Result<(usize, usize)> {
    let tensor = stored.tensors.get(name);
    match tensor.map(|tensor| tensor.shape.as_slice()) {
        Some([rows, size]) => Ok((*rows, *size)),
        _ => {
            let message = format!("there is no tensor `{name}` of (classes, size)");
            Err(error_at(stored.path(), message))
        }
    }
}

/// Reads the embeddings of a head's classes, (classes, size), from its file or its model.
///
/// # Errors
/// The file cannot be read, or has no embeddings.
pub fn label_embeddings(path: &Path, classes: Classes) -> Result<LabelEmbeddings> {
    let mut embeddings = if path.is_dir() {
        let path = label_head_path(path);
        Embeddings::of(&path, Tensors::read(&path)?)?
    } else if is_torch_file(path) {
        let message = "has no label head (`label_embs_concat`)";
        let found = Embeddings::find(path, &mut ReadFiles::default())?;
        found.ok_or_else(|| error_at(path, message))?
    } else {
        Embeddings::of(path, Tensors::read(path)?)?
    };
    Ok(LabelEmbeddings {
        classes: embeddings.classes(classes),
        values: embeddings.take(classes)?,
        size: embeddings.size,
    })
}

/// Returns the metadata of a file with a head whose classes are numbered so.
pub fn label_head_metadata(numbering: Numbering) -> FileMetadata {
    match numbering {
        Numbering::Rows { special } => [(SPECIAL.to_owned(), special.to_string())].into(),
        Numbering::Learned | Numbering::Clusters => FileMetadata::new(),
    }
}

/// Embeddings of classes, row-major.
pub struct LabelEmbeddings {
    pub values: Vec<f32>,
    pub classes: HeadClasses,
    pub size: usize,
}
