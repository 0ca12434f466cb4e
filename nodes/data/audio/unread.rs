//! What a file is that cannot be read, and what to do with it.
use crate::Error;
use std::path::Path;
use symphonia::core::codecs::audio::{AudioCodecId, well_known::CODEC_ID_OPUS};
use symphonia::core::errors::Error as AudioError;

/// How files of other formats begin.
const OTHERS: &[(&[u8], &str)] = &[
    (b"NIST_1A", "NIST SPHERE"),
    (b"\x1aE\xdf\xa3", "Matroska or WebM"),
    (b"#!AMR", "AMR"),
    (b"\x30\x26\xb2\x75", "ASF (WMA)"),
    (b".snd", "Sun AU"),
    (b"ajkg", "Shorten"),
];

fn convert(what: &str) -> Error {
    format!("it is {what}, which is not read; convert it, for instance with `ffmpeg -i IN -ar 16000 OUT.flac`").into()
}

/// Where no reader takes the file; `head` is its beginning. Raw G.722 has none, only the name tells.
pub fn format(name: &Path, head: &[u8], error: AudioError) -> Error {
    let other = OTHERS
        .iter()
        .find(|(begins, _)| head.starts_with(begins))
        .map(|(_, what)| *what);
    let by_name = || {
        name.extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("g722"))
            .then_some("G.722")
    };
    match other.or_else(by_name) {
        Some(what) => convert(what),
        None if matches!(error, AudioError::Unsupported(_)) => {
            "it is none of FLAC, WAV, AIFF, CAF, MP3, Ogg Vorbis and M4A".into()
        }
        None => error.into(),
    }
}

/// Where no decoder takes the codec.
pub fn codec(codec: AudioCodecId, error: AudioError) -> Error {
    match codec {
        CODEC_ID_OPUS => convert("Opus"),
        _ => convert(&format!("of a codec ({error})")),
    }
}
