//! Errors for audio files of other formats and codecs, which name the format and how to convert it.
use crate::data::placeholder::placeholder;
use crate::{Error, Result};
use std::path::Path;
use symphonia::core::codecs::audio::{AudioCodecId, well_known::CODEC_ID_OPUS};
use symphonia::core::errors::Error as AudioError;

/// The first bytes and the names of known formats that cannot be read.
const SIGNATURES: &[(&[u8], &str)] = &[
    (b"NIST_1A", "NIST SPHERE"),
    (b"\x1aE\xdf\xa3", "Matroska or WebM"),
    (b"#!AMR", "AMR"),
    (b"#!SILK", "SILK"),
    (b"\x30\x26\xb2\x75", "ASF (WMA)"),
    (b".snd", "Sun AU"),
    (b"ajkg", "Shorten"),
    (b"RIFX", "RIFX, a WAV file with big-endian numbers"),
    (b"riff\x2e\x91\xcf\x11", "Wave64"),
    (b"wvpk", "WavPack"),
    (b"MAC ", "Monkey's Audio"),
    (b"TTA1", "True Audio"),
    (b"DSD ", "DSD"),
    (b"FRM8", "DSD"),
    (b"FLV\x01", "Flash video"),
    (b"MThd", "MIDI"),
];

/// Returns the error that a file is of `format`, and how to convert it.
pub(super) fn convert(format: &str) -> Error {
    let command = "ffmpeg -i IN -ar 16000 OUT.flac";
    format!("it is {format}, which is not read; convert it, for instance with `{command}`").into()
}

/// Checks that a file does not begin as one of a format that is not read, or that is no audio: in
/// some of them a reader would find what looks like a frame of its own.
pub(super) fn check_signature(head: &[u8]) -> Result<()> {
    for (signature, format) in SIGNATURES {
        if head.starts_with(signature) {
            return Err(convert(format));
        }
    }
    if let Some(message) = placeholder(head) {
        return Err(message.into());
    }
    if head.starts_with(b"RIFF") && head.get(8..12).is_some_and(|form| form != b"WAVE") {
        return Err(convert("a RIFF file, but no WAV"));
    }
    if head.starts_with(b"OggS") && head.get(28..36) == Some(b"Speex   ") {
        return Err(convert("Speex"));
    }
    Ok(())
}

/// Returns the error for a file that no reader accepts. Raw G.722 has no signature and is recognised
/// by `name`.
pub(super) fn format_error(name: &Path, error: AudioError) -> Error {
    if name
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("g722"))
    {
        return convert("G.722");
    }
    match error {
        AudioError::Unsupported(_) => {
            "it is none of FLAC, WAV, AIFF, CAF, MP3, Ogg Vorbis and M4A".into()
        }
        error => error.into(),
    }
}

/// Returns the error for Ogg streams that follow each other.
pub(super) fn chained_error() -> Error {
    convert("an Ogg file of several streams, one after the other")
}

/// Returns the error for what a container's reader cannot go on with.
pub(super) fn packet_error(error: AudioError) -> Error {
    match error {
        AudioError::ResetRequired => chained_error(),
        error => error.into(),
    }
}

/// Returns the error for a codec that no decoder accepts.
pub(super) fn codec_error(codec: AudioCodecId, error: AudioError) -> Error {
    match codec {
        CODEC_ID_OPUS => convert("Opus"),
        _ => convert(&format!("of a codec ({error})")),
    }
}
