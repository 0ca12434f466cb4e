//! Refuses rows for which there is no memory, before they are computed.
mod estimates;

use super::Architecture;
use crate::Result;
use crate::data::audio::piece::Piece;
use crate::data::audio::resample::audio_seconds;
use crate::data::audio::{lengths, open_file};
use arrow::array::StringArray;
use compute::memory;
use compute::tensor::ON_GPU;
use estimates::{decoded_bytes, frozen_bytes, trained_bytes};
use std::path::Path;

/// What a user of a graph can do.
const IN_A_GRAPH: &str = "split it, leave it out with `max_seconds`, or cut it with `crop` \
                          (options of `decode`)";

/// A row's name, for errors, and its samples.
#[derive(Clone, Copy)]
pub struct RowLength<'a> {
    pub name: &'a str,
    pub samples: usize,
}

/// Pairs the ids of a batch with the lengths of its rows.
pub fn row_lengths<'a>(ids: &'a StringArray, rows: &[&[f32]]) -> Vec<RowLength<'a>> {
    let names = ids.iter().map(|id| id.unwrap_or_default());
    names
        .zip(rows)
        .map(|(name, row)| RowLength {
            name,
            samples: row.len(),
        })
        .collect()
}

/// Checks that memory for the hidden states of `layers` layers of these rows can be had, for a
/// model that is not trained.
///
/// # Errors
/// It cannot; the error names the longest row.
pub fn check_frozen(a: &Architecture, layers: usize, rows: &[RowLength]) -> Result<()> {
    for row in rows {
        check_length(a, row, IN_A_GRAPH)?;
    }
    check(rows, frozen_bytes(a, layers, rows), IN_A_GRAPH)
}

/// Checks as [`check_frozen`], for a model that is trained.
pub fn check_trained(a: &Architecture, recompute: bool, rows: &[RowLength]) -> Result<()> {
    let each = rows
        .iter()
        .map(|row| trained_bytes(a, recompute, row.samples));
    check(rows, each.sum(), IN_A_GRAPH)
}

/// Checks, by an audio file's header, that it can be decoded and that the hidden states of `layers`
/// layers can be computed and copied.
///
/// # Errors
/// The file cannot be read, or needs too much memory; the error names it.
pub fn check_file(a: &Architecture, layers: usize, path: &Path) -> Result<()> {
    let lengths = lengths(path, open_file(path)?, &Piece::default())?;
    let name = path.display().to_string();
    let row = RowLength {
        name: &name,
        samples: lengths.row as usize,
    };
    check_length(a, &row, "split it")?;
    let decoded = decoded_bytes(lengths.frames, lengths.row);
    let computed = 4 * lengths.row + frozen_bytes(a, layers, &[row]);
    check(&[row], decoded.max(computed), "split it")
}

/// Checks that a model reads rows of this length.
fn check_length(a: &Architecture, row: &RowLength, remedy: &str) -> Result<()> {
    let Some(problem) = a.length_problem(row.samples) else {
        return Ok(());
    };
    let seconds = audio_seconds(row.samples as u64);
    let name = row.name;
    Err(format!("`{name}` has {seconds:.1} s of audio, but {problem}; {remedy}").into())
}

/// Checks that the samples of a batch's rows can be decoded; `rows` have them at 16 kHz.
///
/// # Errors
/// As [`check_frozen`].
pub fn check_decoded(rows: &[RowLength]) -> Result<()> {
    let each = rows.iter().map(|row| row.samples as u64);
    let bytes = each.map(|samples| decoded_bytes(samples, samples)).sum();
    check(rows, bytes, IN_A_GRAPH)
}

fn check(rows: &[RowLength], bytes: u64, remedy: &str) -> Result<()> {
    let Some(longest) = rows.iter().max_by_key(|row| row.samples) else {
        return Ok(());
    };
    if ON_GPU {
        return Ok(());
    }
    let name = longest.name;
    let seconds = audio_seconds(longest.samples as u64);
    let purpose = format!("`{name}` ({seconds:.1} s of audio): {remedy}");
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let Err(shortage) = memory::reserve(bytes, purpose) else {
        return Ok(());
    };
    let error = match rows.len() {
        1 => format!("`{name}`: {seconds:.1} s of audio need about {shortage}; {remedy}"),
        count => format!(
            "a batch of {count} rows, the longest `{name}` with {seconds:.1} s of audio, needs \
             about {shortage}; lower `seconds_per_batch`"
        ),
    };
    Err(error.into())
}
