//! One cut of lhotse, from JSON to a piece of a file.
use crate::data::audio::piece::Piece;
use crate::data::audio::resample;
use crate::data::audio::resample::RATE;
use crate::data::manifest::utterance::DeclaredLengths;
use crate::data::store;
use crate::{Error, Result};
use serde::Deserialize;
use serde_json::Value as Json;
use std::borrow::Cow;
use std::path::Path;

/// A cut whose audio is in a file.
pub(super) struct Cut<'a> {
    pub(super) id: Cow<'a, str>,
    pub(super) path: Cow<'a, str>,
    pub(super) piece: Piece,
    pub(super) declared: DeclaredLengths,
}

#[derive(Deserialize)]
struct LhotseCut<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    start: f64,
    duration: f64,
    channel: usize,
    #[serde(borrow)]
    recording: Option<LhotseRecording<'a>>,
}

#[derive(Deserialize)]
struct LhotseRecording<'a> {
    #[serde(borrow)]
    sources: Vec<LhotseSource<'a>>,
    sampling_rate: u32,
    num_samples: u64,
    #[serde(default)]
    transforms: Option<Vec<Json>>,
}

#[derive(Deserialize)]
struct LhotseSource<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    channels: Vec<usize>,
    #[serde(borrow)]
    source: Cow<'a, str>,
}

/// The types of lines that are one cut of one recording.
const KINDS: [&str; 2] = ["MonoCut", "Cut"];

/// Parses a line.
pub(super) fn parse(line: &str) -> Result<Cut<'_>> {
    // Most lines are cuts. Only the others need the whole JSON, which takes several times as long.
    match serde_json::from_str::<LhotseCut>(line) {
        Ok(cut)
            if cut
                .kind
                .as_deref()
                .is_some_and(|kind| KINDS.contains(&kind)) =>
        {
            checked(cut)
        }
        _ => checked(mono_cut(line)?),
    }
}

/// Parses a line, with an error for one of another type.
fn mono_cut(line: &str) -> Result<LhotseCut<'_>> {
    let json: Json = serde_json::from_str(line)?;
    match json.get("type").and_then(Json::as_str) {
        Some(kind) if KINDS.contains(&kind) => serde_json::from_str(line).map_err(|error| {
            let message = error.to_string();
            let reason = message.split(" at line ").next(); // the JSON is one line
            reason.unwrap_or_default().into()
        }),
        Some(other) => Err(format!("a {other} is not read, only MonoCut is").into()),
        None => {
            Err("is no cut: it has no `type`; `lhotse cut simple` makes cuts of recordings".into())
        }
    }
}

/// Returns where the audio of a cut is.
fn checked(cut: LhotseCut<'_>) -> Result<Cut<'_>> {
    let in_cut = |message: String| -> Error { format!("cut `{}` {message}", cut.id).into() };
    let Some(recording) = &cut.recording else {
        return Err(in_cut("has no recording".into()));
    };
    let transforms = recording.transforms.as_deref().unwrap_or_default();
    let is_resampled = is_resampled(transforms).map_err(in_cut)?;
    let channel = cut.channel;
    let Some(source) = recording
        .sources
        .iter()
        .find(|source| source.channels.contains(&channel))
    else {
        return Err(in_cut(format!(
            "has channel {channel}, its recording has not"
        )));
    };
    let is_in_store = source.kind == "url" && store::is_address(Path::new(&*source.source));
    if source.kind != "file" && !is_in_store {
        return Err(in_cut(format!(
            "has its audio from a source of type `{}`; only `file` is read, and `url` of an object store",
            source.kind
        )));
    }

    // lhotse rounds the beginning and the length, not the end.
    let rate = recording.sampling_rate;
    let from = (cut.start * rate as f64).round();
    let length = (cut.duration * rate as f64).round();
    if !(from >= 0.0 && length > 0.0 && from + length < u32::MAX as f64 && rate > 0) {
        let start = cut.start;
        let end = cut.start + cut.duration;
        return Err(in_cut(format!(
            "is no piece: seconds {start} to {end} at {rate} Hz"
        )));
    }
    let is_whole = from == 0.0 && length == recording.num_samples as f64;
    let piece = Piece {
        from: from / rate as f64,
        to: (!is_whole).then_some((from + length) / rate as f64),
        channel: source.channels.iter().position(|c| *c == channel),
    };
    Ok(Cut {
        path: source.source.clone(), // mostly borrowed
        piece,
        declared: DeclaredLengths {
            frames: Some(recording.num_samples).filter(|_| !is_resampled),
            samples: Some(resample::length(length as u64, rate)?),
        },
        id: cut.id,
    })
}

/// Returns whether the recording is resampled to 16 kHz, which all audio is here; other transforms
/// are errors.
fn is_resampled(transforms: &[Json]) -> Result<bool, String> {
    for transform in transforms {
        let name = transform.get("name").and_then(Json::as_str).unwrap_or("?");
        let rate = transform
            .pointer("/kwargs/target_sampling_rate")
            .and_then(Json::as_u64);
        if name != "Resample" || rate != Some(RATE as u64) {
            return Err(format!(
                "has the transform {name}; of transforms only Resample to {RATE} is read"
            ));
        }
    }
    Ok(!transforms.is_empty())
}
