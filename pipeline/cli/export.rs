//! `pipeline export MODEL --format hf|hf-dense|hf-code|torchaudio|s3prl|onnx --out PATH
//! [--layers L] [--heads FILE] [--int8|--fp16] [--ignore-keys KEY,KEY]`
use crate::ending::{CommandError, CommandResult};
use crate::{device, model_options};
use nodes::data::printable::{printable_lines, printable_path};
use nodes::tool::export::{ExportFormat, ExportOptions, OnnxPrecision, export};
use nodes::tool::layers::LayerChoice;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The model's folder or checkpoint
    model: PathBuf,
    /// What reads the result
    #[arg(long, value_enum)]
    format: FormatName,
    /// The folder to write, for torchaudio the file; it must be new
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Layers that s3prl and onnx return: 0,4,8 or 0-4 or -1 (the last) or all, the default
    #[arg(long, allow_hyphen_values = true, conflicts_with = "heads")]
    layers: Option<LayerChoice>,
    /// For s3prl: the heads.safetensors whose outputs are returned in place of layers
    #[arg(long, value_name = "FILE")]
    heads: Option<PathBuf>,
    /// For onnx: multiply 8-bit integers in linear maps
    #[arg(long, conflicts_with = "fp16")]
    int8: bool,
    /// For onnx: store weights in 16 bits; they are computed with in 32
    #[arg(long)]
    fp16: bool,
    #[command(flatten)]
    model_options: model_options::Arguments,
    #[command(flatten)]
    device: device::Arguments,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum FormatName {
    /// A folder for HubertModel, WavLMModel or Wav2Vec2Model of transformers
    Hf,
    /// The same for a pruned model, with zeros for what was cut out
    HfDense,
    /// A folder with its own class for transformers (trust_remote_code), of the model's own shapes
    HfCode,
    /// A checkpoint in torchaudio's names, for the builder of pyf98/DPHuBERT
    Torchaudio,
    /// An upstream of s3prl
    S3prl,
    /// A folder with model.onnx
    Onnx,
}

impl Arguments {
    /// Writes the model, and says on stderr what was checked.
    pub(crate) fn run(self) -> CommandResult {
        self.check()?;
        self.device.choose()?;
        let layers = self.layers.clone().unwrap_or_else(LayerChoice::all);
        let options = ExportOptions {
            format: self.export_format(),
            model: self.model_options.options(),
            layers: &layers,
            heads: self.heads.as_deref(),
        };
        let say = |line: &str| eprintln!("{}", printable_lines(line));
        let checked = export(&self.model, &options, &self.out, say)?;
        eprintln!("{}: {checked}", printable_path(&self.out));
        Ok(())
    }

    fn export_format(&self) -> ExportFormat {
        match self.format {
            FormatName::Hf => ExportFormat::HuggingFace,
            FormatName::HfDense => ExportFormat::HuggingFaceDense,
            FormatName::HfCode => ExportFormat::HuggingFaceCode,
            FormatName::Torchaudio => ExportFormat::Torchaudio,
            FormatName::S3prl => ExportFormat::S3prl,
            FormatName::Onnx if self.int8 => ExportFormat::Onnx(OnnxPrecision::Int8),
            FormatName::Onnx if self.fp16 => ExportFormat::Onnx(OnnxPrecision::F16),
            FormatName::Onnx => ExportFormat::Onnx(OnnxPrecision::F32),
        }
    }

    /// Refuses options that the format does not have, and a place that is taken.
    fn check(&self) -> CommandResult {
        let s3prl = self.format == FormatName::S3prl;
        let onnx = self.format == FormatName::Onnx;
        for (option, given, formats, has_it) in [
            (
                "--layers",
                self.layers.is_some(),
                "s3prl` or `onnx",
                s3prl || onnx,
            ),
            ("--heads", self.heads.is_some(), "s3prl", s3prl),
            ("--int8", self.int8, "onnx", onnx),
            ("--fp16", self.fp16, "onnx", onnx),
        ] {
            if given && !has_it {
                return Err(usage(&format!("`{option}` needs `--format {formats}`")));
            }
        }
        if self.out.exists() {
            let out = printable_path(&self.out);
            return Err(usage(&format!("{out} exists; name a new place in `--out`")));
        }
        Ok(())
    }
}

fn usage(message: &str) -> CommandError {
    CommandError::Usage(message.to_owned())
}
