//! One cut of lhotse, from JSON to an utterance.
use crate::data::audio::piece::Piece;
use crate::data::audio::resample;
use crate::data::audio::resample::RATE;
use crate::data::manifest::Utterance;
use crate::{Error, Result};
use serde::Deserialize;
use serde_json::Value as Json;

#[derive(Deserialize)]
struct MonoCut {
    id: String,
    start: f64,
    duration: f64,
    channel: usize,
    recording: Option<LhotseRecording>,
}

#[derive(Deserialize)]
struct LhotseRecording {
    sources: Vec<LhotseSource>,
    sampling_rate: u32,
    num_samples: u64,
    #[serde(default)]
    transforms: Option<Vec<Json>>,
}

#[derive(Deserialize)]
struct LhotseSource {
    #[serde(rename = "type")]
    kind: String,
    channels: Vec<usize>,
    source: String,
}

/// Parses a line.
pub(super) fn utterance(line: &str) -> Result<Utterance> {
    let json: Json = serde_json::from_str(line)?;
    match json.get("type").and_then(Json::as_str) {
        Some("MonoCut" | "Cut") => (),
        Some(other) => return Err(format!("a {other} is not read, only MonoCut is").into()),
        None => {
            return Err(
                "is no cut: it has no `type`; `lhotse cut simple` makes cuts of recordings".into(),
            );
        }
    }
    let cut: MonoCut = serde_json::from_value(json)?;
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
    if source.kind != "file" {
        return Err(in_cut(format!(
            "has its audio from a source of type `{}`; only `file` is read",
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
    let path = source.source.as_str().into();
    Ok(Utterance {
        piece,
        declared_frames: Some(recording.num_samples).filter(|_| !is_resampled),
        declared_samples: Some(resample::length(length as u64, rate)?),
        ..Utterance::file(cut.id, path)
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
                "has the transform {name}, of which only Resample to {RATE} is read"
            ));
        }
    }
    Ok(!transforms.is_empty())
}
