//! Files of codebooks: safetensors with a tensor (books, 256, width) for each layer of a teacher,
//! called `layer-03`.
use super::{CODES, Codebooks};
use crate::Result;
use crate::data::error::{PathContext, error_at};
use crate::data::file;
use crate::data::file::Tensors;
use crate::data::store;
use crate::kmeans::Centroids;
use compute::random::Key;
use parquet::file::reader::Length;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The name of the file in the folder of the node that fits it, and in a cache.
pub const FILE: &str = "codebooks.safetensors";

const LAYER: &str = "layer-";

/// The codebooks of layers, and BLAKE3 of the file that they were read from.
#[derive(Clone, Debug, PartialEq)]
pub struct CodebookFile {
    pub layers: BTreeMap<usize, Arc<Codebooks>>,
    /// Empty if no file was read.
    pub hash: String,
}

impl CodebookFile {
    /// Collects codebooks of layers to be saved.
    pub fn new(layers: impl IntoIterator<Item = (usize, Codebooks)>) -> CodebookFile {
        let layers = layers.into_iter();
        CodebookFile {
            layers: layers
                .map(|(layer, books)| (layer, Arc::new(books)))
                .collect(),
            hash: String::new(),
        }
    }

    /// Draws codebooks that nothing was fitted to, for a benchmark.
    pub fn random(layers: &[usize], books: usize, width: usize, key: Key) -> CodebookFile {
        let book = |layer: usize, book: usize| {
            let counter = (layer * books + book) as u64;
            let values = (0..CODES * width).map(|i| key.normal(counter, i as u64));
            Centroids {
                values: values.collect(),
                width,
            }
        };
        let of_layer = |&layer: &usize| {
            let books = (0..books).map(|number| book(layer, number)).collect();
            (layer, Codebooks { books })
        };
        CodebookFile::new(layers.iter().map(of_layer))
    }

    /// Writes the codebooks. Errors name the file.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut tensors = vec![];
        for (layer, codebooks) in &self.layers {
            let shape = vec![codebooks.count(), CODES, codebooks.width()];
            let books = codebooks.books.iter();
            let values: Vec<f32> = books.flat_map(|book| &book.values).copied().collect();
            tensors.push((format!("{LAYER}{layer:02}"), shape, values.into()));
        }
        file::save(path, &tensors, Default::default())
    }

    /// Reads codebooks. Errors name the file.
    pub fn load(path: &Path) -> Result<CodebookFile> {
        let file = store::open(path).at(path)?;
        let size = file.len();
        let (tensors, hash) = Tensors::read_opened(path, file, size)?;
        let mut layers = BTreeMap::new();
        for (name, (shape, values)) in tensors.floats {
            let layer = name.strip_prefix(LAYER).and_then(|n| n.parse().ok());
            let layer: usize = layer
                .ok_or_else(|| format!("the tensor `{name}` is no `{LAYER}NN`"))
                .at(path)?;
            let width = match shape[..] {
                [books, CODES, width] if books * width > 0 => width,
                _ => {
                    let message = format!("`{name}` is {shape:?}, not (books, {CODES}, width)");
                    return Err(error_at(path, message));
                }
            };
            if !values.iter().all(|x| x.is_finite()) {
                return Err(error_at(path, format!("a value of `{name}` is not finite")));
            }
            let books = values.chunks_exact(CODES * width).map(|values| Centroids {
                values: values.to_vec(),
                width,
            });
            let books = books.collect();
            layers.insert(layer, Arc::new(Codebooks { books }));
        }
        if layers.is_empty() {
            let message = format!("there is no tensor `{LAYER}NN`: a node `codebook` writes them");
            return Err(error_at(path, message));
        }
        Ok(CodebookFile {
            layers,
            hash: hash.to_hex().to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codebooks_come_back() {
        let folder = std::env::temp_dir().join(format!("codebooks-{}", std::process::id()));
        let path = folder.join(FILE);
        let file = CodebookFile::random(&[0, 12], 2, 3, Key::new(1, &["books"]));
        file.save(&path).unwrap();
        let loaded = CodebookFile::load(&path).unwrap();
        assert_eq!(loaded.layers, file.layers);
        let hash = blake3::hash(&std::fs::read(&path).unwrap());
        assert_eq!(loaded.hash, hash.to_hex().to_string());
        let wrong: [(&str, Vec<usize>, f32); 4] = [
            ("layer-x", vec![1, CODES, 1], 0.0),
            ("layer-00", vec![1, 2, CODES / 2], 0.0),
            ("layer-00", vec![CODES], 0.0),
            ("layer-00", vec![1, CODES, 1], f32::NAN),
        ];
        for (name, shape, value) in wrong {
            let values = vec![value; CODES];
            let tensor = (name.to_owned(), shape, values.into());
            crate::data::file::save(&path, &[tensor], Default::default()).unwrap();
            let error = CodebookFile::load(&path).unwrap_err().to_string();
            assert!(error.starts_with(path.to_str().unwrap()), "{error}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
