//! How values are stored: the option `codec` beside `cache`.
//!
//! A computed row is encoded and decoded before it is sent, so that a run with an empty cache, one
//! with a full cache and one without a cache see the same numbers.
mod entry;
mod option;

use crate::Result;
use crate::data::error::{PathContext, error_at};
use crate::data::store;
use crate::kmeans::residual::{CodebookFile, FILE};
use crate::node::{Artifact, LOGITS_PORT, NodeContext, StoredEntry};
pub(super) use entry::{Encoded, EntryCodec, NOT_FINITE, little_endian};
pub use option::{CodecOption, Scale};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A codec with all that it needs to decode.
#[derive(Clone)]
pub(super) enum Codec {
    F32,
    F16,
    Bf16,
    Int8(Scale),
    MultiCodebook {
        file: Arc<CodebookFile>,
        path: PathBuf,
    },
    /// Of logits; layers are exact.
    TopK(u32),
}

impl Codec {
    /// Reads what the codec of an option needs.
    ///
    /// # Errors
    /// The codebooks cannot be read.
    pub(super) fn open(option: &CodecOption, context: &NodeContext) -> Result<Codec> {
        Ok(match option {
            CodecOption::F32 => Codec::F32,
            CodecOption::F16 => Codec::F16,
            CodecOption::Bf16 => Codec::Bf16,
            CodecOption::Int8(scale) => Codec::Int8(*scale),
            CodecOption::TopK(k) => Codec::TopK(*k),
            CodecOption::MultiCodebook { file } => {
                let path = context.path(file);
                let planned = option.artifact(&context.run.phase_outputs);
                let file = match planned {
                    // A benchmark whose earlier phases have not run.
                    Some(Artifact::Codebooks {
                        layers,
                        width,
                        books,
                    }) if context.run.bench && !path.exists() => {
                        CodebookFile::random(layers, *books, *width, context.key("codebooks"))
                    }
                    _ => CodebookFile::load(&path)?,
                };
                Codec::MultiCodebook {
                    file: Arc::new(file),
                    path,
                }
            }
        })
    }

    /// Reads the codec by which the parts in the folder of a fingerprint are stored, from what the
    /// fingerprint says of it.
    pub(super) fn of_folder(folder: &Path, json: &Json) -> Result<Codec> {
        if json["type"] != "multi-codebook" {
            let context = "this version does not know its codec";
            let option = CodecOption::parse(json).map_err(|_| format!("{context} {json}"))?;
            return Ok(match option {
                CodecOption::F32 => Codec::F32,
                CodecOption::F16 => Codec::F16,
                CodecOption::Bf16 => Codec::Bf16,
                CodecOption::Int8(scale) => Codec::Int8(scale),
                CodecOption::TopK(k) => Codec::TopK(k),
                CodecOption::MultiCodebook { .. } => return Err(context.into()),
            });
        }
        let path = folder.join(FILE);
        let file = CodebookFile::load(&path)?;
        if json["file"] != file.hash.as_str() {
            return Err(error_at(&path, "these are not the codebooks of its rows"));
        }
        Ok(Codec::MultiCodebook {
            file: Arc::new(file),
            path,
        })
    }

    /// Returns what the fingerprint of an output says of the codec.
    pub(super) fn json(&self, port: &str) -> Json {
        match self {
            Codec::TopK(_) if port != LOGITS_PORT => CodecOption::F32.json(),
            Codec::TopK(k) => CodecOption::TopK(*k).json(),
            Codec::F32 => CodecOption::F32.json(),
            Codec::F16 => CodecOption::F16.json(),
            Codec::Bf16 => CodecOption::Bf16.json(),
            Codec::Int8(scale) => CodecOption::Int8(*scale).json(),
            Codec::MultiCodebook { file, .. } => {
                json!({ "type": "multi-codebook", "file": file.hash })
            }
        }
    }

    /// Returns the codec of one layer.
    ///
    /// # Errors
    /// There are no codebooks of it.
    pub(super) fn of_entry(&self, entry: StoredEntry) -> Result<EntryCodec> {
        Ok(match self {
            Codec::F32 => EntryCodec::F32,
            Codec::F16 => EntryCodec::F16,
            Codec::Bf16 => EntryCodec::Bf16,
            Codec::Int8(scale) => EntryCodec::Int8(*scale),
            Codec::TopK(k) if entry == StoredEntry::Logits => EntryCodec::TopK(*k),
            Codec::TopK(_) => EntryCodec::F32,
            Codec::MultiCodebook { file, path } => {
                let (found, what) = match entry {
                    StoredEntry::Layer(layer) => {
                        (file.layers.get(&layer), format!("layer {layer}"))
                    }
                    StoredEntry::Logits => (None, "logits".to_owned()),
                    StoredEntry::Rows => (None, "features".to_owned()),
                };
                let missing = || error_at(path, format!("there are no codebooks of {what}"));
                EntryCodec::MultiCodebook(found.cloned().ok_or_else(missing)?)
            }
        })
    }

    /// Copies what is needed to decode into the folder of a fingerprint, unless it is there undamaged.
    pub(super) fn keep_file(&self, folder: &Path) -> Result<()> {
        let Codec::MultiCodebook { file, path } = self else {
            return Ok(());
        };
        let kept = folder.join(FILE);
        let is_right = |bytes: &[u8]| blake3::hash(bytes).to_hex().as_str() == file.hash;
        if file.hash.is_empty() || store::read(&kept).is_ok_and(|bytes| is_right(&bytes)) {
            return Ok(());
        }
        let bytes = store::read(path).at(path)?;
        if !is_right(&bytes) {
            return Err(error_at(path, "has changed during the run; run again"));
        }
        if store::is_address(&kept) && store::exists(&kept) {
            store::remove(&kept).at(&kept)?; // an object is never written over
        }
        store::write_new(&kept, &bytes)
    }
}
