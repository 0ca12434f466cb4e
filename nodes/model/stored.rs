//! The tensors of a checkpoint by name: their shapes and types at once, their numbers when they are
//! taken.
mod tensor;

use super::Architecture;
use crate::Result;
use crate::data::error::error_at;
use crate::data::file::Tensors;
use crate::data::suggestion::most_similar;
use crate::data::torch::TorchFile;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tensor::not_floats;
pub(super) use tensor::{Numbers, StoredTensor, described};

/// The most problems that one message lists.
const LISTED: usize = 100;

/// Returns the older names of the weight norm's tensors.
pub(super) fn older_name(name: &str) -> String {
    name.replace("parametrizations.weight.original0", "weight_g")
        .replace("parametrizations.weight.original1", "weight_v")
}

/// The tensors of one checkpoint, which may lie in several files.
pub(super) struct Stored {
    /// The file that messages name.
    path: PathBuf,
    pub(super) tensors: BTreeMap<String, StoredTensor>,
    torch_files: Vec<TorchFile>,
}

impl Stored {
    /// Returns no tensors; messages about them name `path`.
    pub(super) fn none(path: &Path) -> Stored {
        Stored {
            path: path.to_owned(),
            tensors: BTreeMap::new(),
            torch_files: vec![],
        }
    }

    /// Takes the tensors of a safetensors file.
    pub(super) fn of_tensors(path: &Path, tensors: Tensors) -> Stored {
        let mut stored = Stored::none(path);
        for (name, dtype) in tensors.other_types() {
            let tensor = StoredTensor {
                saved_as: name.to_owned(),
                shape: vec![],
                numbers: Numbers::Unreadable(not_floats(dtype)),
            };
            stored.tensors.insert(name.to_owned(), tensor);
        }
        for (name, (shape, values)) in tensors.floats {
            let tensor = StoredTensor {
                saved_as: name.clone(),
                shape,
                numbers: Numbers::Read(values),
            };
            stored.tensors.insert(name, tensor);
        }
        stored
    }

    /// Takes the tensors that [`described`] listed of a file.
    pub(super) fn of_torch(file: TorchFile, tensors: BTreeMap<String, StoredTensor>) -> Stored {
        Stored {
            path: file.path().to_owned(),
            tensors,
            torch_files: vec![file],
        }
    }

    /// Returns the file that messages name.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds the tensors of another file that `keep` accepts.
    pub(super) fn append(&mut self, other: Stored, keep: &BTreeSet<String>) {
        let before = self.torch_files.len();
        for (name, mut tensor) in other.tensors {
            if let Numbers::Torch(file, _) = &mut tensor.numbers {
                *file += before;
            }
            if keep.contains(&name) {
                self.tensors.insert(name, tensor);
            }
        }
        self.torch_files.extend(other.torch_files);
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Gives tensors other names, and leaves those out for which `rename` returns `None`.
    pub(super) fn rename(self, rename: impl Fn(&str) -> Option<String>) -> Stored {
        self.split(|name, tensor| {
            rename(name)
                .map(|name| (name, tensor))
                .into_iter()
                .collect()
        })
    }

    /// Replaces each tensor by those that `split` makes of it.
    pub(super) fn split(
        self,
        split: impl Fn(&str, StoredTensor) -> Vec<(String, StoredTensor)>,
    ) -> Stored {
        let tensors = self.tensors.into_iter();
        let tensors = tensors.flat_map(|(name, tensor)| split(&name, tensor));
        Stored {
            tensors: tensors.collect(),
            ..self
        }
    }

    /// Cuts tensors down to the leading block of these shapes, by name; of a dimension for which
    /// `parts` returns its place and a number of equal parts, to the leading entries of each part.
    /// Tensors that are smaller in some dimension stay.
    pub(super) fn leading(
        self,
        shapes: &[(String, Vec<usize>)],
        parts: impl Fn(&str) -> Option<(usize, usize)>,
    ) -> Stored {
        let shapes: BTreeMap<&str, &[usize]> = shapes
            .iter()
            .map(|(name, shape)| (name.as_str(), shape.as_slice()))
            .collect();
        self.split(|name, tensor| {
            let fits = |shape: &[usize]| {
                let mut sizes = shape.iter().zip(&tensor.shape);
                shape.len() == tensor.shape.len() && sizes.all(|(part, whole)| part <= whole)
            };
            let shape = shapes.get(name).filter(|shape| fits(shape));
            let cut = match (shape, parts(name)) {
                (None, _) => tensor,
                (Some(shape), None) => tensor.block(0, shape),
                (Some(shape), Some((dim, parts))) => tensor.leading_of_parts(dim, parts, shape),
            };
            vec![(name.to_owned(), cut)]
        })
    }

    /// Takes the numbers of a tensor that must have this shape. Errors name the file.
    pub(super) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let found = self.tensors.remove(name);
        let Some(StoredTensor {
            shape: found,
            numbers,
            ..
        }) = found
        else {
            return Err(error_at(&self.path, format!("there is no tensor `{name}`")));
        };
        if !matches!(numbers, Numbers::Unreadable(_)) && found != shape {
            let message = format!("`{name}` is {found:?}, not {shape:?}");
            return Err(error_at(&self.path, message));
        }
        match numbers {
            Numbers::Read(values) => Ok(values),
            Numbers::Torch(file, tensor) => self.torch_files[file]
                .read(&tensor)
                .map_err(|error| format!("{error} (`{name}`)").into()),
            Numbers::Unreadable(what) => Err(error_at(&self.path, format!("`{name}` {what}"))),
        }
    }

    /// Leaves out those tensors of these names that hold zeros.
    pub(super) fn without_zeros(mut self, is_candidate: impl Fn(&str) -> bool) -> Stored {
        let files = &mut self.torch_files;
        let are_zeros = |values: &[f32]| values.iter().all(|value| *value == 0.0);
        let mut is_zero = |tensor: &StoredTensor| match &tensor.numbers {
            Numbers::Read(values) => are_zeros(values),
            Numbers::Torch(file, tensor) => files[*file]
                .read(tensor)
                .is_ok_and(|values| are_zeros(&values)),
            Numbers::Unreadable(_) => false,
        };
        self.tensors
            .retain(|name, tensor| !(is_candidate(name) && is_zero(tensor)));
        self
    }

    /// Checks that the checkpoint has the tensors of an architecture, which `says` describes.
    ///
    /// # Errors
    /// All that are missing, of another shape or of no floats, in one message; and with them those
    /// of the encoder that nothing reads.
    pub(super) fn check(&self, architecture: &Architecture, says: &str) -> Result<()> {
        let expected = architecture.tensors();
        let mut problems = vec![];
        for (name, shape) in &expected {
            match self.tensors.get(name) {
                None => {
                    let known = self.names().filter(|known| !is_expected(known, &expected));
                    let hint = most_similar(name, known)
                        .map(|known| format!("; did you mean {}?", self.spelled(known)));
                    let hint = hint.unwrap_or_default();
                    problems.push(format!("there is no tensor `{name}`{hint}"));
                }
                Some(StoredTensor {
                    numbers: Numbers::Unreadable(what),
                    ..
                }) => problems.push(format!("{} {what}", self.spelled(name))),
                Some(tensor) if tensor.shape != *shape => problems.push(format!(
                    "{} is {:?}, but {says} says {shape:?}",
                    self.spelled(name),
                    tensor.shape
                )),
                Some(_) => {}
            }
        }
        if problems.is_empty() {
            return Ok(());
        }
        let unread = self.unread(architecture).into_iter();
        problems.extend(unread.map(|name| format!("nothing reads the tensor `{name}`")));
        Err(error_at(&self.path, listed(problems)))
    }

    /// Returns the name of a tensor in backticks, and the file's own where that is more than a prefix
    /// away.
    fn spelled(&self, name: &str) -> String {
        match self.tensors.get(name) {
            Some(tensor) if !tensor.saved_as.ends_with(name) => {
                format!("`{name}` (in the file `{}`)", tensor.saved_as)
            }
            _ => format!("`{name}`"),
        }
    }

    /// Lists tensors of the encoder, the extractor or the projection that an architecture does not
    /// list, by their names in the file.
    pub(super) fn unread(&self, architecture: &Architecture) -> Vec<String> {
        let expected = architecture.tensors();
        let is_encoder = |name: &str| ENCODER.iter().any(|prefix| name.starts_with(prefix));
        let tensors = self.tensors.iter();
        let unread = tensors.filter(|(name, _)| is_encoder(name) && !is_expected(name, &expected));
        // Several names here may be parts of one tensor of the file.
        let names: BTreeSet<&String> = unread.map(|(_, tensor)| &tensor.saved_as).collect();
        names.into_iter().cloned().collect()
    }
}

/// What the names of an encoder's own tensors begin with; others are heads of a task.
const ENCODER: [&str; 3] = ["encoder.", "feature_extractor.", "feature_projection."];

fn is_expected(name: &str, expected: &[(String, Vec<usize>)]) -> bool {
    expected.iter().any(|(known, _)| known == name)
}

/// Joins problems to one message, of which a long list says how many more there are.
pub(super) fn listed(mut problems: Vec<String>) -> String {
    let more = problems.len().saturating_sub(LISTED);
    problems.truncate(LISTED);
    let mut message = problems.join("; ");
    if more > 0 {
        message += &format!("; and {more} more");
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A checkpoint of fairseq is told of in its own words.
    #[test]
    fn messages_have_the_names_of_the_file() {
        let architecture = Architecture::default();
        let mut stored = Stored::none(Path::new("a.pt"));
        for (name, shape) in architecture.tensors() {
            let name = name
                .replace(".attention.", ".self_attn.")
                .replace(
                    "layers.7.self_attn.k_proj.bias",
                    "layers.7.self_attn.k_proj.biass",
                )
                .replace("encoder.layer_norm.bias", "encoder.layer_norm.b");
            let tensor = StoredTensor {
                saved_as: name.clone(),
                shape: match name.ends_with("11.self_attn.q_proj.bias") {
                    true => vec![3],
                    false => shape,
                },
                numbers: Numbers::Read(vec![]),
            };
            stored.tensors.insert(name, tensor);
        }
        let stored = stored.rename(|name| Some(name.replace(".self_attn.", ".attention.")));
        let error = stored
            .check(&architecture, "its configuration")
            .unwrap_err();
        let error = error.to_string();
        for part in [
            "a.pt: ",
            "`encoder.layers.11.attention.q_proj.bias` (in the file \
             `encoder.layers.11.self_attn.q_proj.bias`) is [3], but its configuration says [768]",
            "there is no tensor `encoder.layers.7.attention.k_proj.bias`; did you mean \
             `encoder.layers.7.attention.k_proj.biass` (in the file \
             `encoder.layers.7.self_attn.k_proj.biass`)?",
            "there is no tensor `encoder.layer_norm.bias`; did you mean `encoder.layer_norm.b`?",
            "nothing reads the tensor `encoder.layers.7.self_attn.k_proj.biass`",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert_eq!(error.matches("; ").count(), 6, "{error}");
    }
}
