//! `pipeline extract MODEL AUDIO... --layers 0,4,8 --out FILE.parquet [--convention hf|torchaudio]`
use crate::device;
use crate::ending::CommandResult;
use nodes::model::Convention;
use nodes::tool::extract::extract;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The model's folder
    model: PathBuf,
    /// Audio files
    #[arg(required = true, value_hint = clap::ValueHint::FilePath)]
    audio: Vec<String>,
    /// Layers, by number: 0,4,8
    #[arg(long, value_delimiter = ',', required = true)]
    layers: Vec<usize>,
    /// The Parquet file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Library whose meaning of the first and the last layer applies; hf is transformers
    #[arg(long, value_enum, default_value = "hf")]
    convention: ConventionName,
    /// Keys of config.json that change no hidden state, though this version does not know them
    #[arg(long, value_delimiter = ',', value_name = "KEY,KEY")]
    ignore_keys: Vec<String>,
    #[command(flatten)]
    device: device::Arguments,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum ConventionName {
    Hf,
    Torchaudio,
}

impl Arguments {
    /// Writes the hidden states.
    pub(crate) fn run(self) -> CommandResult {
        let convention = match self.convention {
            ConventionName::Hf => Convention::Hf,
            ConventionName::Torchaudio => Convention::Torchaudio,
        };
        self.device.choose()?;
        extract(
            &self.model,
            &self.ignore_keys,
            &self.audio,
            &self.layers,
            convention,
            &self.out,
        )?;
        Ok(())
    }
}
