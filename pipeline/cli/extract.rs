//! `pipeline extract MODEL AUDIO... --layers 0,4,8 --out FILE.parquet [--convention hf|torchaudio]`
use crate::{Outcome, device};
use nodes::model;
use nodes::tool::extract::extract;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Arguments {
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
    /// What layer 0 and the last layer are
    #[arg(long, value_enum, default_value = "hf")]
    convention: Convention,
    #[command(flatten)]
    device: device::Arguments,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Convention {
    Hf,
    Torchaudio,
}

impl Arguments {
    pub fn run(self) -> Outcome {
        let convention = match self.convention {
            Convention::Hf => model::Convention::Hf,
            Convention::Torchaudio => model::Convention::Torchaudio,
        };
        self.device.choose()?;
        extract(
            &self.model,
            &self.audio,
            &self.layers,
            convention,
            &self.out,
        )?;
        Ok(0)
    }
}
