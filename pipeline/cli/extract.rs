//! `pipeline extract MODEL AUDIO... --layers 0,4,8 --out FILE.parquet [--convention hf|torchaudio]
//! [--precision f32|bf16] [--bad-files N]`
use crate::ending::{CommandResult, refuse_folder};
use crate::screen::file_bar::FileBar;
use crate::{device, model_options, numbers, terminal};
use compute::gemm::Precision;
use nodes::model::Convention;
use nodes::tool::extract::{ExtractOptions, ExtractProgress, ExtractReport, extract};
use nodes::tool::layers::LayerChoice;
use pipeline::format::{duration, thousands};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The model's folder or checkpoint
    model: PathBuf,
    /// Audio files, or folders of them
    #[arg(required = true, value_hint = clap::ValueHint::FilePath)]
    audio: Vec<String>,
    /// Layers: 0,4,8 or 0-4 or -1 (the last) or all
    #[arg(long, required = true, allow_hyphen_values = true)]
    layers: LayerChoice,
    /// The Parquet file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Library whose meaning of the first and the last layer applies; hf is transformers
    #[arg(long, value_enum, default_value = "hf")]
    convention: ConventionName,
    /// What operands of products are rounded to; a CPU without bf16 computes in f32 and says so
    #[arg(long, value_enum, default_value = "f32")]
    precision: PrecisionName,
    #[command(flatten)]
    model_options: model_options::Arguments,
    /// How many audio files may be damaged or too short; they are named and left out
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = numbers::files, allow_negative_numbers = true)]
    bad_files: u64,
    #[command(flatten)]
    device: device::Arguments,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum ConventionName {
    Hf,
    Torchaudio,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum PrecisionName {
    F32,
    Bf16,
}

impl Arguments {
    /// Writes the hidden states.
    pub(crate) fn run(self) -> CommandResult {
        let convention = match self.convention {
            ConventionName::Hf => Convention::Hf,
            ConventionName::Torchaudio => Convention::Torchaudio,
        };
        let precision = match self.precision {
            PrecisionName::F32 => Precision::F32,
            PrecisionName::Bf16 => Precision::Bf16,
        };
        refuse_folder(&self.out)?;
        self.device.choose()?;
        let options = ExtractOptions {
            model: self.model_options.options(),
            layers: &self.layers,
            convention,
            precision,
            bad_files: self.bad_files,
        };
        let mut screen = FileBar::new("extract");
        let done = extract(&self.model, &self.audio, &options, &self.out, &mut screen);
        screen.leave();
        terminal::print_line(&summary(&done?));
        Ok(())
    }
}

/// Describes a finished extraction: its length, its time and how one relates to the other.
fn summary(done: &ExtractProgress) -> String {
    let files = thousands(done.files_done);
    let noun = if done.files_done == 1 {
        "file"
    } else {
        "files"
    };
    let audio = duration(done.audio_seconds);
    let time = duration(done.elapsed.as_secs_f64());
    let factor = done.real_time_factor().unwrap_or(0.0);
    format!("{files} {noun}, {audio} of audio in {time}: real-time factor {factor:.3}")
}

impl ExtractReport for FileBar {
    fn say(&mut self, line: &str) {
        FileBar::say(self, line);
    }

    fn advance(&mut self, progress: ExtractProgress) {
        let seconds = progress.elapsed.as_secs_f64();
        let speed = progress.audio_seconds / seconds.max(1e-9);
        self.show(progress.files_done, progress.files, speed, seconds);
    }
}
