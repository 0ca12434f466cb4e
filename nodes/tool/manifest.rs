//! Lists the audio files of a corpus as two manifests, train.tsv and dev.tsv, in fairseq's form: the
//! root folder, then a line `path<TAB>samples` for each file, samples at the file's own rate.
mod speaker;
mod split;

use crate::Result;
use crate::data::audio::resample::audio_seconds;
use crate::data::error::{PathContext, error_at};
use crate::data::file::write_atomic;
use crate::data::manifest;
use crate::data::manifest::Listing;
use crate::data::printable::{printable, printable_path};
use rayon::prelude::*;
use split::{Group, choose_dev};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub use speaker::SpeakerRule;

/// What keeps together: all files of a speaker, or each file alone.
#[derive(Clone, Copy, Debug)]
pub enum Division {
    Speakers(SpeakerRule),
    Files,
}

/// What is written of a corpus.
#[derive(Debug)]
pub struct Manifests {
    pub train: Side,
    pub dev: Side,
}

/// One of the two sets.
#[derive(Debug)]
pub struct Side {
    pub path: PathBuf,
    pub utterances: usize,
    pub hours: f64,
    pub speakers: usize,
}

/// A file that can be used.
struct CorpusFile {
    /// Relative to the corpus.
    path: String,
    /// Samples of one channel at the file's own rate.
    frames: u64,
    seconds: f64,
    speaker: String,
}

impl Division {
    /// Returns the rule that names speakers.
    fn rule(self) -> SpeakerRule {
        match self {
            Division::Speakers(rule) => rule,
            Division::Files => SpeakerRule::Name,
        }
    }

    /// Returns the name of the group that a file belongs to: files of one group are in one set.
    fn group(self, file: &CorpusFile) -> &str {
        match self {
            Division::Speakers(_) => &file.speaker,
            Division::Files => &file.path,
        }
    }
}

/// Returns the paths of the two manifests in a folder.
pub fn manifest_paths(folder: &Path) -> [PathBuf; 2] {
    ["train.tsv", "dev.tsv"].map(|name| folder.join(name))
}

/// Lists the audio files below `corpus` in train.tsv and dev.tsv in the folder `out`, with about
/// the share `dev` of the hours in the latter. `say` is told what is left out.
///
/// # Errors
/// The corpus cannot be read or has no file to use, it has one speaker only, or a file is in no
/// folder at the speaker's level. Nothing is written then.
pub fn write_manifests(
    corpus: &Path,
    out: &Path,
    dev: f64,
    division: Division,
    mut say: impl FnMut(&str),
) -> Result<Manifests> {
    let root = root(corpus)?;
    let files = usable_files(corpus, division, &mut say)?;
    let mut seconds: BTreeMap<&str, f64> = BTreeMap::new();
    for file in &files {
        *seconds.entry(division.group(file)).or_default() += file.seconds;
    }
    if seconds.len() < 2 {
        return Err(error_at(corpus, one_group(division)));
    }
    let groups: Vec<Group> = seconds
        .iter()
        .map(|(name, seconds)| Group {
            name,
            seconds: *seconds,
        })
        .collect();
    let chosen = choose_dev(&groups, dev);
    let dev_groups: BTreeSet<&str> = groups
        .iter()
        .zip(chosen)
        .filter(|(_, chosen)| *chosen)
        .map(|(group, _)| group.name)
        .collect();
    let (dev_files, train_files): (Vec<_>, Vec<_>) = files
        .iter()
        .partition(|file| dev_groups.contains(division.group(file)));
    let [train_path, dev_path] = manifest_paths(out);
    Ok(Manifests {
        train: write(train_path, &root, &train_files)?,
        dev: write(dev_path, &root, &dev_files)?,
    })
}

/// Returns the absolute path of the corpus, as the first line of a manifest.
fn root(corpus: &Path) -> Result<String> {
    let root = std::fs::canonicalize(corpus).at(corpus)?;
    let text = root.to_str().filter(|text| is_line(text));
    match text {
        Some(text) if text.trim() == text => Ok(text.to_owned()),
        _ => Err(error_at(
            corpus,
            "the first line of a TSV cannot hold this path: rename the folder without tabs, line \
             ends, spaces at its ends, and bytes that are not UTF-8",
        )),
    }
}

/// Whether a field of a TSV can hold a text.
fn is_line(text: &str) -> bool {
    !text.contains(['\t', '\n', '\r'])
}

fn one_group(division: Division) -> &'static str {
    match division {
        Division::Speakers(SpeakerRule::Name) => {
            "all files are of one speaker, by their names and folders; `--by file` divides them by \
             files, `--speaker-level N` names the folders of speakers"
        }
        Division::Speakers(SpeakerRule::Level(_)) => {
            "all files are of one speaker at this level; `--by file` divides them by files, another \
             `--speaker-level` names other folders"
        }
        Division::Files => "has one audio file to use; two sets need at least two",
    }
}

/// Reads the lengths of all files in parallel, and says which cannot be used.
fn usable_files(
    corpus: &Path,
    division: Division,
    say: &mut impl FnMut(&str),
) -> Result<Vec<CorpusFile>> {
    let Listing {
        utterances,
        left_out,
    } = manifest::read_folder(corpus)?;
    if !left_out.is_empty() {
        say(&format!("left out: {left_out}"));
    }
    let lengths: Vec<_> = (0..utterances.len())
        .into_par_iter()
        .map(|row| utterances.get(row).file_lengths())
        .collect();
    let total = utterances.len();
    let mut files = vec![];
    let mut without_speaker = vec![];
    for (path, lengths) in utterances.ids().iter().zip(lengths) {
        let reason = match lengths {
            Err(error) => error.to_string(),
            Ok(lengths) if lengths.row == 0 => {
                format!("{} has no samples", printable_path(&corpus.join(&path)))
            }
            Ok(_) if !is_line(&path) || !corpus.join(&path).exists() => format!(
                "`{}`: a TSV cannot hold its name: rename it without tabs, line ends and bytes \
                 that are not UTF-8",
                printable(&path)
            ),
            Ok(lengths) => {
                match division.rule().speaker(&path) {
                    Some(speaker) => files.push(CorpusFile {
                        frames: lengths.frames,
                        seconds: audio_seconds(lengths.row),
                        speaker: speaker.to_owned(),
                        path,
                    }),
                    None => without_speaker.push(path),
                }
                continue;
            }
        };
        say(&format!("{reason}: left out"));
    }
    if let Some(first) = without_speaker.first() {
        let count = without_speaker.len();
        let first = printable(first);
        let message = format!(
            "{count} audio files are in no folder at the level of `--speaker-level`, the first \
             `{first}`; move them, or name another level"
        );
        return Err(error_at(corpus, message));
    }
    let bad = total - files.len();
    if bad > 0 {
        say(&format!("{bad} of {total} audio files are left out"));
    }
    if files.is_empty() {
        let mut message = format!("has no audio file to use, of {total}");
        if !left_out.is_empty() {
            message += &format!("; left out: {left_out}");
        }
        return Err(error_at(corpus, message));
    }
    Ok(files)
}

/// Writes a manifest of files, which are in the order of their paths.
fn write(path: PathBuf, root: &str, files: &[&CorpusFile]) -> Result<Side> {
    let mut text = format!("{root}\n");
    for CorpusFile { path, frames, .. } in files {
        text += &format!("{path}\t{frames}\n");
    }
    write_atomic(&path, text.as_bytes())?;
    let seconds: f64 = files.iter().map(|file| file.seconds).sum();
    let speakers: BTreeSet<&str> = files.iter().map(|file| file.speaker.as_str()).collect();
    Ok(Side {
        path,
        utterances: files.len(),
        hours: seconds / 3600.0,
        speakers: speakers.len(),
    })
}
