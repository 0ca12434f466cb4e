//! lhotse's cuts, `*.jsonl` or `*.jsonl.gz`: a MonoCut a line, whose recording lies in a file. An id is the cut's.
//! Features and supervisions are not looked at.
use super::{Utterance, all, named};
use crate::data::audio::piece::Piece;
use crate::data::audio::resample;
use crate::data::audio::resample::RATE;
use crate::{Error, Result};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::Value as Json;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

#[derive(Deserialize)]
struct Cut {
    id: String,
    start: f64,
    duration: f64,
    channel: usize,
    recording: Option<Recording>,
}

#[derive(Deserialize)]
struct Recording {
    sources: Vec<Source>,
    sampling_rate: u32,
    num_samples: u64,
    #[serde(default)]
    transforms: Option<Vec<Json>>,
}

#[derive(Deserialize)]
struct Source {
    #[serde(rename = "type")]
    kind: String,
    channels: Vec<usize>,
    source: String,
}

pub fn read(path: &Path) -> Result<Vec<Utterance>> {
    let file = File::open(path).map_err(|e| named(path, e))?;
    let is_packed = path.extension().is_some_and(|e| e == "gz");
    let text: Box<dyn BufRead> = if is_packed {
        Box::new(BufReader::new(MultiGzDecoder::new(file)))
    } else {
        Box::new(BufReader::new(file))
    };
    let row = |(at, line): (usize, std::io::Result<String>)| match line {
        Ok(line) if line.trim().is_empty() => None,
        Ok(line) => Some(utterance(&line).map_err(|e| format!("line {at}: {e}").into())),
        Err(e) => Some(Err(
            format!("is cut off or damaged in line {at}: {e}").into()
        )),
    };
    // After an error of the file itself there is nothing to go on with.
    let mut broken = false;
    let lines = text
        .lines()
        .take_while(|line| !std::mem::replace(&mut broken, line.is_err()));
    all(path, (1..).zip(lines).filter_map(row))
}

fn utterance(line: &str) -> Result<Utterance> {
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
    let cut: Cut = serde_json::from_value(json)?;
    let in_cut = |says: String| -> Error { format!("cut `{}` {says}", cut.id).into() };
    let recording = cut
        .recording
        .ok_or_else(|| in_cut("has no recording".into()))?;
    let resampled = resampled(&recording.transforms.unwrap_or_default()).map_err(in_cut)?;
    let from_file = |says: String| in_cut(format!("has its audio {says}; only `file` is read"));
    let source = recording
        .sources
        .iter()
        .find(|source| source.channels.contains(&cut.channel));
    let source = source.ok_or_else(|| {
        in_cut(format!(
            "has channel {}, its recording has not",
            cut.channel
        ))
    })?;
    if source.kind != "file" {
        return Err(from_file(format!(
            "from a source of type `{}`",
            source.kind
        )));
    }

    // lhotse rounds the beginning and the length, not the end.
    let rate = recording.sampling_rate;
    let frames = |seconds: f64| (seconds * rate as f64).round();
    let (from, length) = (frames(cut.start), frames(cut.duration));
    if !(from >= 0.0 && length > 0.0 && from + length < u32::MAX as f64 && rate > 0) {
        let (from, to) = (cut.start, cut.start + cut.duration);
        return Err(in_cut(format!(
            "is no piece: seconds {from} to {to} at {rate} Hz"
        )));
    }
    let is_whole = from == 0.0 && length == recording.num_samples as f64;
    let to = (!is_whole).then_some((from + length) / rate as f64);
    let channel = source
        .channels
        .iter()
        .position(|channel| *channel == cut.channel);
    let piece = Piece {
        from: from / rate as f64,
        to,
        channel,
    };
    let said = Some(resample::length(length as u64, rate)?);
    let frames = Some(recording.num_samples).filter(|_| !resampled);
    Ok(Utterance {
        piece,
        frames,
        said,
        ..Utterance::file(cut.id, source.source.as_str().into())
    })
}

/// Whether the recording is resampled to 16 kHz, which is done here anyway; it may be changed in no other way.
fn resampled(transforms: &[Json]) -> Result<bool, String> {
    let name = |transform: &Json| {
        transform
            .get("name")
            .and_then(Json::as_str)
            .unwrap_or("?")
            .to_owned()
    };
    let rate = |transform: &Json| {
        transform
            .pointer("/kwargs/target_sampling_rate")
            .and_then(Json::as_u64)
    };
    let is_ours =
        |transform: &Json| name(transform) == "Resample" && rate(transform) == Some(RATE as u64);
    match transforms.iter().find(|transform| !is_ours(transform)) {
        Some(other) => Err(format!(
            "has the transform {}, of which only Resample to {RATE} is read",
            name(other)
        )),
        None => Ok(!transforms.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Scratch, row};
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    const CUT: &str = r#"{"id": "c", "start": 0, "duration": 2.0, "channel": 0, "recording": {"id": "r", "sources": [{"type": "file", "channels": [0, 1], "source": "a.wav"}], "sampling_rate": 8000, "num_samples": 16000, "duration": 2.0}, "type": "MonoCut"}"#;

    /// The cut with pieces of its text replaced.
    fn cut(changes: &[(&str, &str)]) -> String {
        changes.iter().fold(CUT.to_owned(), |text, (old, new)| {
            assert!(text.contains(old), "{old}");
            text.replacen(old, new, 1)
        })
    }

    #[test]
    fn cuts() {
        let scratch = Scratch::new("cuts");
        let later = cut(&[
            ("\"start\": 0,", "\"start\": 0.50004,"),
            ("\"duration\": 2.0", "\"duration\": 1.00006"),
            ("\"channel\": 0", "\"channel\": 1"),
        ]);
        let resampled = cut(&[
            (
                "\"num_samples\": 16000",
                "\"num_samples\": 32000, \"transforms\": [{\"name\": \"Resample\", \"kwargs\": {\"source_sampling_rate\": 8000, \"target_sampling_rate\": 16000}}]",
            ),
            ("8000", "16000"),
        ]);
        let rows =
            read(&scratch.file("x.jsonl", [CUT, &later, "", &resampled].join("\n"))).unwrap();
        // Frame 4000 (4000.32), 8000 frames (8000.48)
        let expected = [
            ("c", "a.wav", 0.0, None),
            ("c", "a.wav", 0.5, Some(1.5)),
            ("c", "a.wav", 0.0, None),
        ];
        assert_eq!(rows.iter().map(row).collect::<Vec<_>>(), expected);
        assert_eq!(
            rows.iter().map(|u| u.piece.channel).collect::<Vec<_>>(),
            [Some(0), Some(1), Some(0)]
        );
        assert_eq!(
            rows.iter().map(|u| u.frames).collect::<Vec<_>>(),
            [Some(16_000), Some(16_000), None]
        );
        assert_eq!(
            rows.iter().map(|u| u.said).collect::<Vec<_>>(),
            [Some(32_000), Some(16_000), Some(32_000)]
        );
    }

    #[test]
    fn wrong_lines() {
        let scratch = Scratch::new("cuts-wrong");
        let lines = [
            cut(&[("MonoCut", "MixedCut")]),
            cut(&[("\"type\": \"MonoCut\"", "\"text\": 1")]),
            cut(&[("\"type\": \"file\"", "\"type\": \"command\"")]),
            cut(&[("\"channel\": 0", "\"channel\": 2")]),
            cut(&[("\"start\": 0", "\"start\": -1")]),
            cut(&[("\"recording\"", "\"features\"")]),
            cut(&[(
                "\"num_samples\"",
                "\"transforms\": [{\"name\": \"Speed\"}], \"num_samples\"",
            )]),
            cut(&[("\"duration\": 2.0", "\"end\": 2.0")]),
            "{".into(),
        ];
        let expected = [
            "x.jsonl: line 1: a MixedCut is not read, only MonoCut is",
            "x.jsonl: line 2: is no cut: it has no `type`; `lhotse cut simple` makes cuts of recordings",
            "x.jsonl: line 3: cut `c` has its audio from a source of type `command`; only `file` is read",
            "x.jsonl: line 4: cut `c` has channel 2, its recording has not",
            "x.jsonl: line 5: cut `c` is no piece: seconds -1 to 1 at 8000 Hz",
            "x.jsonl: line 6: cut `c` has no recording",
            "x.jsonl: line 7: cut `c` has the transform Speed, of which only Resample to 16000 is read",
            "x.jsonl: line 8: missing field `duration`",
            "x.jsonl: line 9: EOF while parsing an object at line 1 column 1",
        ];
        assert_eq!(
            scratch.wrong(&scratch.file("x.jsonl", lines.join("\n"))),
            expected.join("\n")
        );
    }

    #[test]
    fn packed_and_cut_off() {
        let scratch = Scratch::new("cuts-packed");
        let mut packed = GzEncoder::new(vec![], Compression::default());
        packed.write_all([CUT; 50].join("\n").as_bytes()).unwrap();
        let packed = packed.finish().unwrap();
        assert_eq!(
            read(&scratch.file("x.jsonl.gz", &packed)).unwrap().len(),
            50
        );
        let wrong = scratch.wrong(&scratch.file("x.jsonl.gz", &packed[..packed.len() - 4]));
        assert!(
            wrong.starts_with("x.jsonl.gz: is cut off or damaged in line "),
            "{wrong}"
        );
        assert!(
            scratch
                .wrong(&scratch.file("x.jsonl.gz", CUT))
                .contains("damaged in line 1: invalid gzip header")
        );
    }
}
