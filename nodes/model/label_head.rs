//! The head with which HuBERT is pre-trained (Hsu et al. 2021, arXiv:2106.07447, equation 3): it
//! gives each frame x of the encoder's output a logit for each class c,
//! cos(W x + b, e_c) / temperature, e_c the embedding of the class.
//!
//! A model's head is `logits.safetensors` beside its weights: `final_proj.weight` (size, width),
//! `final_proj.bias`, `label_embs` (classes, size). Checkpoints of fairseq hold it themselves.
mod classes;
mod embeddings;

use super::Architecture;
use crate::Result;
use crate::data::error::error_at;
use crate::data::read_files::ReadFiles;
pub use classes::{Classes, HeadClasses, Numbering};
use compute::gemm::Precision;
use compute::op::{cosine_logits, linear, linear_start};
use compute::random::Key;
use compute::tensor::{Hidden, Param, Track, param};
use embeddings::Embeddings;
pub use embeddings::{LabelEmbeddings, label_embeddings, label_head_metadata};
use std::path::{Path, PathBuf};

const FILE: &str = "logits.safetensors";

/// The head of a model.
pub struct LabelHead {
    weight: Param,
    bias: Param,
    embeddings: Param,
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
    use super::embeddings::SPECIAL;
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
