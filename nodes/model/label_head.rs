//! The head with which HuBERT is pre-trained (Hsu et al. 2021, arXiv:2106.07447, equation 3): it
//! gives each frame x of the encoder's output a logit for each class c,
//! cos(W x + b, e_c) / temperature, e_c the embedding of the class.
//!
//! A model's head is `logits.safetensors` beside its weights: `final_proj.weight` (size, width),
//! `final_proj.bias`, `label_embs` (classes, size). Checkpoints of fairseq hold it themselves.
use super::Architecture;
use super::checkpoint::open_file;
use super::formats::{StoredModel, head};
use super::stored::Stored;
use crate::Result;
use crate::data::error::{PathContext, error_at};
use crate::data::file::{FileMetadata, Tensors};
use crate::data::read_files::ReadFiles;
use crate::data::torch::is_torch_file;
use compute::gemm::Precision;
use compute::op::{cosine_logits, linear, linear_start};
use compute::random::Key;
use compute::tensor::{Hidden, Param, Track, param};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

const FILE: &str = "logits.safetensors";
const EMBEDDINGS: &str = "label_embs";
/// What fairseq calls them.
const EMBEDDINGS_OF_FAIRSEQ: &str = "label_embs_concat";
/// The key of the metadata for the rows of `label_embs` that come before those of clusters: symbols
/// of a dictionary, such as fairseq's four.
const SPECIAL: &str = "special_rows";

/// The head of a model.
pub struct LabelHead {
    weight: Param,
    bias: Param,
    embeddings: Param,
}

/// Which rows of the label embeddings are classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Classes {
    /// All, those of special symbols too.
    Rows,
    /// Those of clusters, in the order of the dictionary.
    #[default]
    Clusters,
}

/// Which numbers the classes of labels and logits have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Numbering {
    /// Those of what the logits are trained against, whatever these are.
    Learned,
    /// Those of clusters.
    Clusters,
    /// Rows of label embeddings, of which this many are special symbols before the clusters.
    Rows { special: usize },
}

impl Numbering {
    /// Whether labels or logits of both numberings may meet.
    pub fn agrees_with(self, other: Numbering) -> bool {
        self == other || self == Numbering::Learned || other == Numbering::Learned
    }
}

impl fmt::Display for Numbering {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Numbering::Learned => f.write_str("as they are learned"),
            Numbering::Clusters => f.write_str("as clusters"),
            Numbering::Rows { special } => {
                write!(
                    f,
                    "as rows of label embeddings, the first {special} of which are special"
                )
            }
        }
    }
}

/// The classes of a head.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadClasses {
    pub count: usize,
    pub numbering: Numbering,
}

/// Returns the path of a model folder's head.
pub fn label_head_path(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

/// Reads what the classes of a model's head are; `None` if the model has no head.
///
/// # Errors
/// A file cannot be read, or does not say which row is of which class.
pub fn label_classes(model: &Path, classes: Classes) -> Result<Option<HeadClasses>> {
    let found = Embeddings::find(model, &mut ReadFiles::default())?;
    Ok(found.map(|found| found.classes(classes)))
}

/// The embeddings of a head, in a file of its own or with a checkpoint.
struct Embeddings {
    stored: Stored,
    /// The name of the embeddings, (rows, size).
    name: &'static str,
    rows: usize,
    size: usize,
    /// Rows of special symbols before the others.
    special: usize,
    /// The row of each cluster.
    clusters: Vec<usize>,
}

impl Embeddings {
    /// Finds the head of a model, and adds its file to those that were read; `None` if it has none.
    fn find(model: &Path, read_files: &mut ReadFiles) -> Result<Option<Embeddings>> {
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

    fn classes(&self, classes: Classes) -> HeadClasses {
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
    fn take(&mut self, classes: Classes) -> Result<Vec<f32>> {
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

impl LabelHead {
    /// Reads the head of a model, and adds its file to those that were read.
    ///
    /// # Errors
    /// There is none, a file cannot be read, or it does not fit the model.
    pub fn load(
        model: &Path,
        architecture: &Architecture,
        classes: Classes,
        read_files: &mut ReadFiles,
    ) -> Result<LabelHead> {
        let found = Embeddings::find(model, read_files)?;
        let mut found = found.ok_or_else(|| error_at(model, "has no label head"))?;
        let size = found.size;
        let width = architecture.layer_width(architecture.num_hidden_layers);
        let weight = found.stored.take("final_proj.weight", &[size, width])?;
        let bias = found.stored.take("final_proj.bias", &[size])?;
        let embeddings = found.take(classes)?;
        Ok(LabelHead {
            weight: param(weight),
            bias: param(bias),
            embeddings: param(embeddings),
        })
    }

    /// Draws a head, for a dry run without a model.
    pub fn random(width: usize, size: usize, classes: usize, key: Key) -> LabelHead {
        let [weight, bias] = linear_start(key, 0, width, size);
        let embeddings = (0..classes * size).map(|i| key.uniform(1, i as u64));
        LabelHead {
            weight: param(weight),
            bias: param(bias),
            embeddings: param(embeddings.collect()),
        }
    }

    /// Returns the logits of each frame of the encoder's output, (frames, classes).
    pub fn logits<T: Track>(&self, x: Hidden<T>, temperature: f32) -> Hidden<T> {
        let z = linear(x, &self.weight, &self.bias, Precision::F32);
        cosine_logits(z, &self.embeddings, temperature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::file;
    use compute::tensor::{Spans, hidden};
    use std::borrow::Cow;

    fn write(folder: &Path, special: Option<&str>) {
        let tensors = [
            (
                "final_proj.weight".into(),
                vec![2, 3],
                vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            ),
            ("final_proj.bias".into(), vec![2], vec![0.0, 0.0]),
            (
                "label_embs".into(),
                vec![3, 2],
                vec![9.0, 9.0, 1.0, 0.0, 0.0, 2.0],
            ),
        ];
        let tensors = tensors.map(|(name, shape, values)| (name, shape, Cow::Owned(values)));
        let metadata = special.map(|rows| (SPECIAL.to_owned(), rows.to_owned()));
        file::save(
            &label_head_path(folder),
            &tensors,
            metadata.into_iter().collect(),
        )
        .unwrap();
    }

    #[test]
    fn rows_of_special_symbols_are_no_classes() {
        let folder = std::env::temp_dir().join(format!("label-head-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let clusters = |folder| label_classes(folder, Classes::Clusters);
        assert_eq!(clusters(&folder).unwrap(), None);
        let architecture = Architecture {
            hidden_size: 3,
            ..Architecture::default()
        };
        write(&folder, Some("1"));
        let numbered = |count, numbering| HeadClasses { count, numbering };
        let two = numbered(2, Numbering::Clusters);
        assert_eq!(clusters(&folder).unwrap(), Some(two));
        let rows = label_classes(&folder, Classes::Rows).unwrap();
        assert_eq!(rows, Some(numbered(3, Numbering::Rows { special: 1 })));
        let mut read = ReadFiles::default();
        let head = LabelHead::load(&folder, &architecture, Classes::Clusters, &mut read).unwrap();
        assert!(read.hash(&label_head_path(&folder)).unwrap().is_some());
        let x = hidden(vec![3.0, 4.0, 5.0], 3, Spans::new([1]));
        let logits = head.logits(x, 0.1);
        let numbers = compute::tensor::read(&logits.values);
        assert!((numbers[0] - 6.0).abs() < 1e-5 && (numbers[1] - 8.0).abs() < 1e-5);
        let embeddings = label_embeddings(&folder, Classes::Rows).unwrap();
        assert_eq!(embeddings.values, [9.0, 9.0, 1.0, 0.0, 0.0, 2.0]);
        write(&folder, None);
        for classes in [Classes::Rows, Classes::Clusters] {
            let embeddings = label_embeddings(&folder, classes).unwrap();
            assert_eq!(embeddings.classes, numbered(3, Numbering::Clusters));
        }
        write(&folder, Some("3"));
        let error = clusters(&folder).unwrap_err().to_string();
        assert!(error.ends_with("`special_rows` of its metadata is no number of rows"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
