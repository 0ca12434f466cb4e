//! Checks a codec against the outputs and the codebooks that it is for.
use super::CodecOption;
use crate::data::store;
use crate::kmeans::residual::{CodebookFile, FILE};
use crate::node::port::{Content, Shape, Shapes};
use crate::node::{Artifact, LOGITS_PORT, PhaseOutputs, artifact_owner};
use std::collections::BTreeSet;
use std::path::Path;

impl CodecOption {
    /// Returns what an earlier phase leaves at the path of the file.
    pub(in crate::cache) fn artifact<'a>(&self, earlier: &'a PhaseOutputs) -> Option<&'a Artifact> {
        earlier.0.get(artifact_owner(self.file()?, FILE)?)
    }

    /// Checks the codebooks, if they are planned or there, against the layers that a node sends; and
    /// that somebody reads the logits of which the largest are stored. `read` are the outputs of the
    /// node that others read.
    ///
    /// # Errors
    /// A message for the option.
    pub fn check(
        &self,
        earlier: &PhaseOutputs,
        outputs: &Shapes,
        read: &BTreeSet<&str>,
    ) -> Result<(), String> {
        if let CodecOption::TopK(_) = self
            && !read.contains(LOGITS_PORT)
        {
            let message = "`codec`: top-k is of a teacher's `logits`, which no node reads here";
            return Err(message.into());
        }
        let Some(path) = self.file() else {
            return Ok(());
        };
        let Some(codebooks) = self.codebooks(earlier)? else {
            return match path.starts_with("$OUT/") {
                true => Err(format!(
                    "`codec`: no earlier phase writes codebooks to `{path}`"
                )),
                false => Ok(()),
            };
        };
        for shape in outputs.values().flatten() {
            match shape {
                Shape::Hiddens {
                    layers,
                    width,
                    content: Content::Layers,
                    ..
                } => {
                    if let Some(layer) = layers.iter().find(|l| !codebooks.layers.contains(l)) {
                        return Err(format!(
                            "`codec`: `{path}` has no codebooks of layer {layer}"
                        ));
                    }
                    if *width != codebooks.width {
                        let found = codebooks.width;
                        return Err(format!(
                            "`codec`: the codebooks in `{path}` are {found} wide, the layers {width}"
                        ));
                    }
                }
                Shape::Features { .. } => {
                    return Err(
                        "`codec`: codebooks are of a teacher's layers, not of features".into(),
                    );
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns the number of codebooks; `None` if they are neither planned nor there.
    pub fn books(&self, earlier: &PhaseOutputs) -> Option<u64> {
        let codebooks = self.codebooks(earlier).ok().flatten();
        codebooks.map(|codebooks| codebooks.books as u64)
    }

    /// Returns what is known of the codebooks; `None` if they are neither planned nor there.
    fn codebooks(&self, earlier: &PhaseOutputs) -> Result<Option<KnownCodebooks>, String> {
        if let Some(artifact) = self.artifact(earlier) {
            return Ok(match artifact {
                Artifact::Codebooks {
                    layers,
                    width,
                    books,
                } => Some(KnownCodebooks {
                    layers: layers.clone(),
                    width: *width,
                    books: *books,
                }),
                _ => None,
            });
        }
        let path = self.file().filter(|path| !path.starts_with("$OUT/"));
        let Some(path) = path.map(Path::new).filter(|path| store::exists(path)) else {
            return Ok(None);
        };
        let file = CodebookFile::load(path).map_err(|error| format!("`codec`: {error}"))?;
        let codebooks = file.layers.values().next();
        Ok(codebooks.map(|codebooks| KnownCodebooks {
            layers: file.layers.keys().copied().collect(),
            width: codebooks.width(),
            books: codebooks.count(),
        }))
    }
}

/// Codebooks that are planned or there.
struct KnownCodebooks {
    layers: Vec<usize>,
    width: usize,
    books: usize,
}
