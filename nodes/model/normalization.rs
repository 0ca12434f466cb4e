//! Whether a model wants its waveforms at zero mean and unit variance, and which file of its folder
//! says so.
use super::{Architecture, ExtractNorm, FrontEnd};
use crate::Result;
use crate::data::audio::resample::RATE;
use crate::data::error::{PathContext, error_at};
use crate::data::read_files::ReadFiles;
use serde_json::Value as Json;
use std::path::Path;

/// Files that hold a feature extractor's settings, in the order in which they are asked.
///
/// transformers wrote preprocessor_config.json until version 4; version 5 writes
/// processor_config.json alone, with the settings below `feature_extractor`; the first versions
/// for speech kept `do_normalize` in tokenizer_config.json, which counts where the others are silent.
const FILES: [&str; 3] = [
    "preprocessor_config.json",
    "processor_config.json",
    TOKENIZER,
];
const TOKENIZER: &str = "tokenizer_config.json";

/// Whether waveforms are normalised, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Normalization {
    pub normalize: bool,
    /// The file that says it; `None` where none does, and the type of the extractor decides.
    pub file: Option<&'static str>,
}

/// What transformers' feature extractor adds to the variance of a waveform.
pub const HUGGING_FACE_EPSILON: f32 = 1e-7;
/// The epsilon with which fairseq normalises waveforms: that of `layer_norm` in PyTorch.
pub const FAIRSEQ_EPSILON: f32 = 1e-5;

impl Normalization {
    /// Returns what a checkpoint says that is one file.
    pub(super) fn of_checkpoint(normalize: bool) -> Normalization {
        Normalization {
            normalize,
            file: Some("the checkpoint"),
        }
    }

    /// Returns what the type of the extractor decides.
    pub(super) fn unstated(architecture: &Architecture) -> Normalization {
        Normalization {
            normalize: Normalization::by_default(architecture),
            file: None,
        }
    }

    /// Returns the file of a model folder that decides; `None` if no file does, or if it cannot be
    /// read.
    pub fn file(folder: &Path) -> Option<&'static str> {
        let states = |name: &&str| {
            let found = stated(&folder.join(name), &mut ReadFiles::default());
            found.is_ok_and(|found| found.is_some())
        };
        FILES.into_iter().find(states)
    }

    /// Whether a model wants normalised waveforms where no file says it.
    pub(super) fn by_default(architecture: &Architecture) -> bool {
        architecture.front_end == FrontEnd::Waveform
            && architecture.feat_extract_norm == ExtractNorm::Layer
    }

    /// Reads `do_normalize` of a model folder. Where no file says it, models with layer norms in the
    /// extractor want normalised waveforms, others do not.
    ///
    /// # Errors
    /// A file cannot be read, wants another rate than 16 kHz, or contradicts another one.
    pub fn read(
        folder: &Path,
        architecture: &Architecture,
        read_files: &mut ReadFiles,
    ) -> Result<Normalization> {
        if architecture.front_end != FrontEnd::Waveform {
            // Log-mel frames are of samples as they are; the file belongs to what the cache names.
            if let Some(name) = Normalization::file(folder) {
                read_files.text(&folder.join(name))?;
            }
            return Ok(Normalization {
                normalize: false,
                file: None,
            });
        }
        let mut found: Option<Normalization> = None;
        for name in FILES {
            let path = folder.join(name);
            if !path.exists() {
                continue;
            }
            let Some(normalize) = stated(&path, read_files)? else {
                continue;
            };
            match found {
                None => {
                    found = Some(Normalization {
                        normalize,
                        file: Some(name),
                    })
                }
                Some(_) if name == TOKENIZER => {}
                Some(first) if first.normalize != normalize => {
                    let other = first.file.unwrap_or_default();
                    let folder = folder.display();
                    return Err(format!(
                        "{folder}: {other} and {name} differ in `do_normalize`; correct one of them"
                    )
                    .into());
                }
                Some(_) => {}
            }
        }
        Ok(found.unwrap_or(Normalization::unstated(architecture)))
    }
}

/// Returns `do_normalize` of one file; `None` if it holds no feature extractor.
fn stated(path: &Path, read_files: &mut ReadFiles) -> Result<Option<bool>> {
    const TRANSFORMERS_DEFAULT: bool = true;
    let text = read_files.text(path)?;
    let keys: Json = serde_json::from_str(&text).at(path)?;
    if !keys.is_object() {
        return Err(error_at(path, "is no JSON object"));
    }
    let nested = &keys["feature_extractor"];
    let settings = if nested.is_object() { nested } else { &keys };
    let rate = &settings["sampling_rate"];
    if rate.as_f64().is_some_and(|rate| rate != RATE as f64) {
        let path = path.display();
        return Err(format!("{path}: the model wants {rate} Hz, not {RATE}").into());
    }
    let is_extractor = nested.is_object() || path.ends_with(FILES[0]);
    match settings.get("do_normalize") {
        Some(Json::Bool(normalize)) => Ok(Some(*normalize)),
        Some(other) => Err(error_at(
            path,
            format!("do_normalize is {other}; it is true or false"),
        )),
        None => Ok(is_extractor.then_some(TRANSFORMERS_DEFAULT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Returns what a folder with these files says.
    fn read(test: &str, files: &[(&str, &str)]) -> Result<Normalization> {
        let name = format!("normalization-{test}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        for (name, text) in files {
            fs::write(folder.join(name), text).expect("a file");
        }
        let found =
            Normalization::read(&folder, &Architecture::default(), &mut ReadFiles::default());
        fs::remove_dir_all(&folder).expect("removed");
        found
    }

    fn says(normalize: bool, file: &'static str) -> Normalization {
        Normalization {
            normalize,
            file: Some(file),
        }
    }

    #[test]
    fn only_true_and_false_say_it() {
        for text in [
            r#"{"do_normalize": null}"#,
            r#"{"do_normalize": 0}"#,
            r#"{"do_normalize": []}"#,
            r#"{"do_normalize": "true"}"#,
            "[]",
            "3",
        ] {
            let found = read("strict", &[("preprocessor_config.json", text)]);
            assert!(found.is_err(), "{text}: {found:?}");
        }
        // As transformers, whose feature extractors normalise unless they are told not to.
        let silent = read("silent", &[("preprocessor_config.json", "{}")]);
        assert_eq!(silent.unwrap(), says(true, "preprocessor_config.json"));
    }

    #[test]
    fn every_companion_file_is_asked() {
        let old = (
            "preprocessor_config.json",
            r#"{"do_normalize": true, "sampling_rate": 16000}"#,
        );
        let new = (
            "processor_config.json",
            r#"{"feature_extractor": {"do_normalize": true}}"#,
        );
        let first = ("tokenizer_config.json", r#"{"do_normalize": true}"#);
        let silent = ("tokenizer_config.json", r#"{"pad_token": "<pad>"}"#);
        let default = ("preprocessor_config.json", "{}");
        for file in [old, new, first] {
            assert_eq!(read("each", &[file]).expect(file.0), says(true, file.0));
        }
        assert_eq!(
            read("default", &[default]).expect("read"),
            says(true, default.0)
        );
        let none = Normalization {
            normalize: false,
            file: None,
        };
        assert_eq!(read("silent", &[silent]).expect("read"), none);
        assert_eq!(read("both", &[old, new]).expect("read"), says(true, old.0));
        let other = ("tokenizer_config.json", r#"{"do_normalize": false}"#);
        let found = read("tokenizer", &[old, other]).expect("read");
        assert_eq!(found, says(true, old.0));
    }

    #[test]
    fn contradictions_and_other_rates_are_errors() {
        let yes = ("preprocessor_config.json", r#"{"do_normalize": true}"#);
        let no = (
            "processor_config.json",
            r#"{"feature_extractor": {"do_normalize": false}}"#,
        );
        let error = read("differ", &[yes, no])
            .expect_err("they differ")
            .to_string();
        assert!(error.contains("preprocessor_config.json and processor_config.json differ"));
        let rate = (
            "processor_config.json",
            r#"{"feature_extractor": {"sampling_rate": 8000}}"#,
        );
        let error = read("rate", &[rate]).expect_err("8 kHz").to_string();
        assert!(
            error.ends_with("the model wants 8000 Hz, not 16000"),
            "{error}"
        );
    }
}
