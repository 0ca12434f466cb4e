//! Writes a model in the form that another program reads: folders for transformers and s3prl, a
//! checkpoint in torchaudio's names, an ONNX graph.
mod compare;
mod dense;
mod draft;
mod gate_convolution;
mod heads;
mod huggingface;
mod onnx;
mod s3prl;
mod torchaudio;

use crate::Result;
use crate::model::{Architecture, FAIRSEQ_EPSILON, HUGGING_FACE_EPSILON};
use crate::tool::layers::LayerChoice;
use crate::tool::model_options::ModelOptions;
pub use onnx::OnnxPrecision;
use std::path::Path;

/// Forms of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// A folder for the class of transformers that computes the model.
    HuggingFace,
    /// The same for a pruned model: what was cut out comes back as zeros.
    HuggingFaceDense,
    /// A folder with the model's own class for transformers, of the model's own shapes.
    HuggingFaceCode,
    /// An upstream of s3prl.
    S3prl,
    /// A checkpoint in torchaudio's names, for DPHuBERT's builder.
    Torchaudio,
    /// A folder with an ONNX graph.
    Onnx(OnnxPrecision),
}

impl ExportFormat {
    /// Returns the epsilon with which programs that read the form normalise waveforms; `None` if the
    /// form says which.
    fn normalize_epsilon(self) -> Option<f32> {
        match self {
            ExportFormat::S3prl => None,
            ExportFormat::Torchaudio => Some(FAIRSEQ_EPSILON),
            _ => Some(HUGGING_FACE_EPSILON),
        }
    }
}

/// What is written.
pub struct ExportOptions<'a> {
    pub format: ExportFormat,
    pub model: ModelOptions,
    /// Layers that s3prl's upstream and ONNX graphs return.
    pub layers: &'a LayerChoice,
    /// The heads.safetensors whose outputs s3prl's upstream returns in place of layers.
    pub heads: Option<&'a Path>,
}

/// Writes a model to `out`, which must be new, and returns a sentence on what was checked. `say` is
/// told what a user of the result should know.
///
/// # Errors
/// The model cannot be read, or the form cannot express it.
pub fn export(
    model: &Path,
    options: &ExportOptions,
    out: &Path,
    mut say: impl FnMut(&str),
) -> Result<String> {
    let mut model = options.model.load(model)?;
    if let Some(problem) = model.architecture.only_teaches() {
        return Err(format!("the model {problem}; it is not exported").into());
    }
    if let Some(epsilon) = options.format.normalize_epsilon()
        && model.normalize_epsilon != epsilon
    {
        if model.normalize {
            say(&format!(
                "waveforms are normalised with an epsilon of {epsilon:e} from now on, not {:e}: the \
                 hidden states of quiet rows differ",
                model.normalize_epsilon
            ));
        }
        model.normalize_epsilon = epsilon;
    }
    if let Some(reason) = model.why_not_normalized() {
        say(&reason);
    }
    let layers = options
        .layers
        .layers(model.architecture.num_hidden_layers)?;
    match options.format {
        ExportFormat::HuggingFace => huggingface::write(&model, out),
        ExportFormat::HuggingFaceDense => huggingface::write_dense(&model, out, &mut say),
        ExportFormat::HuggingFaceCode => huggingface::write_code(&model, out),
        ExportFormat::S3prl => s3prl::write(&model, &layers, options.heads, out, &mut say),
        ExportFormat::Torchaudio => torchaudio::write(&model, out, &mut say),
        ExportFormat::Onnx(precision) => onnx::write(&model, &layers, precision, out),
    }
}

/// Returns what keeps a model of the standard modules (convolutions, attention, feed-forward) from
/// being one, if anything does.
fn beyond_standard_layers(a: &Architecture) -> Option<&'static str> {
    let reuses = (0..a.num_hidden_layers).any(|layer| a.reuses_attention(layer));
    [
        (a.is_lstm(), "its layers are LSTMs"),
        (a.is_fbank(), "it reads log-mel frames"),
        (reuses, "layers reuse attention maps"),
        (a.time_reduction > 1, "it joins frames before its layers"),
    ]
    .into_iter()
    .find_map(|(found, what)| found.then_some(what))
}
