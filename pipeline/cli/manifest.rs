//! `pipeline manifest FOLDER --out DIR [--dev 0.1] [--by speaker|file] [--speaker-level N]`: lists a
//! corpus as train.tsv and dev.tsv.
use crate::ending::{CommandError, CommandResult};
use nodes::data::printable::{printable_lines, printable_path};
use nodes::tool::manifest::{Division, Side, SpeakerRule, manifest_paths, write_manifests};
use pipeline::format::thousands;
use std::num::NonZeroUsize;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A folder of audio files, in folders of any depth
    folder: PathBuf,
    /// The folder to write train.tsv and dev.tsv into
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The share of the hours that the dev set has, about
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, value_parser = share)]
    dev: f64,
    /// What is in one of the two sets as a whole: all files of a speaker, or each file
    #[arg(long, value_enum, default_value = "speaker")]
    by: By,
    /// The level below FOLDER, from 1, whose folders are the speakers [default: the part of a file's
    /// name before the first - in names such as 84-121123-0000, else its folder]
    #[arg(long, value_name = "N")]
    speaker_level: Option<NonZeroUsize>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum By {
    Speaker,
    File,
}

/// Parses a share between 0 and 1.
fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("this is no number above 0 and below 1".to_owned()),
    }
}

impl Arguments {
    /// Writes the manifests and says what is in them.
    pub(crate) fn run(self) -> CommandResult {
        let division = self.division()?;
        for path in manifest_paths(&self.out) {
            if path.exists() {
                let path = printable_path(&path);
                return Err(CommandError::Usage(format!(
                    "{path} is there already and is not overwritten; remove it, or name another \
                     folder with `--out`"
                )));
            }
        }
        let say = |line: &str| eprintln!("{}", printable_lines(line));
        let manifests = write_manifests(&self.folder, &self.out, self.dev, division, say)?;
        for side in [&manifests.train, &manifests.dev] {
            eprintln!("{}", line(side));
        }
        eprintln!(
            "in a graph: \"manifest\": {:?}, \"dev\": {:?}",
            manifests.train.path.display().to_string(),
            manifests.dev.path.display().to_string()
        );
        Ok(())
    }

    fn division(&self) -> Result<Division, CommandError> {
        match (self.by, self.speaker_level) {
            (By::File, None) => Ok(Division::Files),
            (By::File, Some(_)) => Err(CommandError::Usage(
                "`--speaker-level` is for `--by speaker`; leave one of them out".to_owned(),
            )),
            (By::Speaker, None) => Ok(Division::Speakers(SpeakerRule::Name)),
            (By::Speaker, Some(level)) => Ok(Division::Speakers(SpeakerRule::Level(level.get()))),
        }
    }
}

/// Says what is in a manifest: `my/train.tsv: 1,044 utterances, 2.51 hours, 52 speakers`.
fn line(side: &Side) -> String {
    let path = printable_path(&side.path);
    let utterances = count(side.utterances, "utterance");
    let hours = side.hours;
    let speakers = count(side.speakers, "speaker");
    format!("{path}: {utterances}, {hours:.2} hours, {speakers}")
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", thousands(number as u64))
}
