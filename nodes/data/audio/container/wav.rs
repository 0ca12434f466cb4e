//! WAV and its 64-bit kin RF64 and BW64 (EBU Tech 3306).
use super::riff::{ByteOrder, CHUNK_HEADER, Chunk, HEADER, audio_bytes, chunks};
use super::{Correction, Patch, read_at};
use crate::Result;
use crate::data::audio::unsupported::convert;
use symphonia::core::io::MediaSource;

const ORDER: ByteOrder = ByteOrder::Little;

/// Format tags that the reader decodes: integers, floats, A-law and mu-law.
const DECODED: [u16; 4] = [1, 3, 6, 7];
/// The tag that says: the format is in the extension.
const EXTENSIBLE: u16 = 0xfffe;

/// Formats that are known and not decoded.
const FORMATS: &[(u16, &str)] = &[
    (0x0002, "Microsoft ADPCM"),
    (0x0011, "IMA ADPCM"),
    (0x0022, "TrueSpeech"),
    (0x0031, "GSM 6.10"),
    (0x0042, "G.723.1"),
    (0x0045, "G.726"),
    (0x0050, "MPEG"),
    (0x0055, "MP3"),
    (0x0064, "G.726"),
    (0x0065, "G.722"),
    (0x00ff, "AAC"),
    (0x0160, "WMA"),
    (0x0161, "WMA"),
    (0x0162, "WMA"),
    (0x028f, "G.722"),
    (0x1610, "AAC"),
    (0xf1ac, "FLAC"),
];

pub(super) fn is_wav(head: &[u8]) -> bool {
    let is_riff = [b"RIFF", b"RF64", b"BW64"].map(|name| head.starts_with(name));
    is_riff.contains(&true) && head.get(8..12) == Some(b"WAVE")
}

/// Sets the sizes of the file and of its data by the length of the file.
pub(super) fn correction(source: &mut dyn MediaSource, length: u64) -> Result<Correction> {
    let head = read_at(source, 0, HEADER)?;
    let mut outer = ORDER.number(&head, 4) as u64;
    let chunks = chunks(source, HEADER, ORDER, Some(b"data"))?;
    let block = match chunks.iter().find(|chunk| &chunk.name == b"fmt ") {
        Some(chunk) => check_format(source, chunk)?,
        None => 0,
    };
    let Some(data) = chunks.last().filter(|chunk| &chunk.name == b"data") else {
        return Err("it is cut off or damaged: it has no data chunk".into());
    };
    let mut declared = data.size as u64;
    if let Some(chunk) = chunks.iter().find(|chunk| &chunk.name == b"ds64") {
        let sizes = read_at(source, chunk.start, 16)?;
        let number = |at: usize| match sizes.get(at..).and_then(|bytes| bytes.first_chunk()) {
            Some(bytes) => u64::from_le_bytes(*bytes),
            None => 0,
        };
        outer = number(0);
        declared = number(8);
    }
    let bytes = if declared == 0 && holds_chunks(source, data.start, length)? {
        0
    } else {
        audio_bytes(declared, outer, data.start, length)
    };
    let size = u32::try_from(bytes).unwrap_or(u32::MAX);
    let is_short = bytes <= length - data.start.min(length);
    let mut patches = vec![
        Patch {
            offset: 0,
            // Without a size of its own the file lasts to its end.
            bytes: [&b"RIFF"[..], &u32::MAX.to_le_bytes()].concat(),
        },
        Patch {
            offset: data.start - 4,
            bytes: size.to_le_bytes().into(),
        },
    ];
    // Titles and notes, over whose errors the reader would stop.
    for list in chunks.iter().filter(|chunk| &chunk.name == b"LIST") {
        patches.push(Patch {
            offset: list.start - CHUNK_HEADER,
            bytes: b"JUNK".into(),
        });
    }
    Ok(Correction {
        patches,
        end: is_short.then_some(data.start + bytes),
        frames: (block > 0).then(|| bytes / block),
    })
}

/// Checks that the format is one that is decoded. Returns the bytes of a frame.
fn check_format(source: &mut dyn MediaSource, chunk: &Chunk) -> Result<u64> {
    let format = read_at(source, chunk.start, chunk.size.min(40) as u64)?;
    let number = |at: usize| match format.get(at..).and_then(|bytes| bytes.first_chunk()) {
        Some(bytes) => u16::from_le_bytes(*bytes),
        None => 0,
    };
    let tag = match number(0) {
        EXTENSIBLE => number(24),
        tag => tag,
    };
    if DECODED.contains(&tag) {
        return Ok(number(12) as u64);
    }
    Err(match FORMATS.iter().find(|(known, _)| *known == tag) {
        Some((_, name)) => convert(&format!("a WAV file of {name}")),
        None => convert(&format!("a WAV file of the format 0x{tag:04x}")),
    })
}

/// Returns whether the rest of the file, from `offset` on, is nothing or whole chunks: a data chunk
/// of 0 bytes before them is really empty.
fn holds_chunks(source: &mut dyn MediaSource, offset: u64, length: u64) -> Result<bool> {
    let chunks = chunks(source, offset, ORDER, None)?;
    let are_named = chunks
        .iter()
        .all(|chunk| chunk.name.iter().all(|c| (b' '..=b'~').contains(c)));
    let end = chunks
        .last()
        .map_or(offset, |chunk| chunk.start + chunk.size as u64);
    let is_at_end = end == length || end + 1 == length;
    Ok(are_named && is_at_end)
}

#[cfg(test)]
mod tests {
    use super::super::tests::samples;

    /// Returns a file of 16-bit samples 1 to `count` with these sizes of file and data.
    fn wav(count: u16, outer: u32, data: u32) -> Vec<u8> {
        let mut bytes =
            b"RIFF....WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data...."
                .to_vec();
        bytes[4..8].copy_from_slice(&outer.to_le_bytes());
        bytes[40..44].copy_from_slice(&data.to_le_bytes());
        bytes.extend((1..=count).flat_map(u16::to_le_bytes));
        bytes
    }

    fn expected(count: u16) -> Vec<f32> {
        (1..=count).map(|x| x as f32 / 32_768.0).collect()
    }

    #[test]
    fn sizes_that_were_not_filled_in() {
        let cases = [
            (2036, 2000), // right
            (0, 0),
            (2036, 0),
            (0x7fff_f024, 0x7fff_f000),
            (0xffff_ffff, 0xffff_ffff),
            (0x7fff_ffff, 0x7fff_ffdb),
            (36, 0),
            (0, 2000),
            (2028, 2000), // without the header of the data
            (2044, 2000),
            (2036, 2008), // with the header
            (2036, 9999),
            (0xffff_ffff, 2000),
        ];
        for (outer, data) in cases {
            let found = samples(&wav(1000, outer, data));
            assert_eq!(found, Ok(expected(1000)), "{outer} {data}");
        }
    }

    #[test]
    fn what_follows_the_data_is_no_audio() {
        let tail = b"LIST\x04\0\0\0INFO";
        let whole = [wav(1000, 2048, 2000), tail.to_vec()].concat();
        assert_eq!(samples(&whole), Ok(expected(1000)));
        let empty = [wav(0, 48, 0), tail.to_vec()].concat();
        assert_eq!(samples(&empty), Ok(vec![]));
        assert_eq!(samples(&wav(0, 36, 0)), Ok(vec![]));
    }

    #[test]
    fn wrong_titles_before_the_data_hide_no_audio() {
        for list in [
            &b"LIST\x11\0\0\0INFOISFT\x05\0\0\0Lavf5\0"[..],
            b"LIST\x0e\0\0\0INFOISFT\xff\0\0\0ab",
            b"LIST\x03\0\0\0abc\0",
            b"LIST\0\0\0\0",
        ] {
            let mut bytes = wav(1000, 2036 + list.len() as u32, 2000);
            bytes.splice(36..36, list.iter().copied());
            assert_eq!(samples(&bytes), Ok(expected(1000)), "{list:?}");
        }
    }

    #[test]
    fn a_file_that_lost_its_end_is_an_error() {
        let error = samples(&wav(1000, 4036, 4000)).unwrap_err();
        assert!(
            error.contains("it ends after 1000 of 2000 samples"),
            "{error}"
        );
        let error = samples(&wav(1, 38, 2)[..30]).unwrap_err();
        assert!(error.contains("it has no data chunk"), "{error}");
    }

    #[test]
    fn rf64() {
        for (name, riff, data) in [
            (b"RF64", 2072u64, 2000u64),
            (b"BW64", 2072, 2000),
            (b"RF64", 0, 0),
        ] {
            let mut bytes = wav(1000, u32::MAX, u32::MAX);
            bytes[..4].copy_from_slice(name);
            let sizes = [&riff.to_le_bytes()[..], &data.to_le_bytes(), &[0; 12]].concat();
            let chunk = [b"ds64", &28u32.to_le_bytes()[..], &sizes].concat();
            bytes.splice(12..12, chunk);
            assert_eq!(samples(&bytes), Ok(expected(1000)));
        }
    }

    #[test]
    fn other_formats_are_named() {
        let mut bytes = wav(1000, 2036, 2000);
        for (tag, name) in [
            (0x31u16, "GSM 6.10"),
            (0x11, "IMA ADPCM"),
            (0x1234, "the format 0x1234"),
        ] {
            bytes[20..22].copy_from_slice(&tag.to_le_bytes());
            let error = samples(&bytes).unwrap_err();
            let says = format!("it is a WAV file of {name}, which is not read; convert it");
            assert!(error.contains(&says), "{error}");
        }
    }
}
