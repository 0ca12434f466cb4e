//! FLAC (RFC 9639): where its last frame ends. Some programs append tags of other formats, and the
//! reader then takes them for a part of that frame.
use super::read_at;
use crate::Result;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::codecs::audio::well_known::CODEC_ID_FLAC;
use symphonia::core::io::MediaSource;
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};
use symphonia::default::get_codecs;

/// The stream's description follows the marker and a block's header.
const DESCRIPTION: u64 = 8;
const DESCRIPTION_BYTES: usize = 34;

/// How far from the end of the file the last frame is looked for, first and at most.
const FIRST_WINDOW: u64 = 16 << 10;
const LAST_WINDOW: u64 = 64 << 20;

/// Returns where the last frame that the header counts ends, if bytes follow it; `None` also for
/// files that are no FLAC, do not declare their samples, or lack the last frame.
pub(super) fn end(source: &mut dyn MediaSource, head: &[u8], length: u64) -> Result<Option<u64>> {
    let start = skip_id3(head);
    let marker = read_at(source, start, DESCRIPTION + DESCRIPTION_BYTES as u64)?;
    let Some(stream) = StreamInfo::parse(&marker) else {
        return Ok(None);
    };
    let mut window = FIRST_WINDOW;
    loop {
        let from = length.saturating_sub(window);
        let bytes = read_at(source, from, window)?;
        if let Some(frame) = stream.last_frame(&bytes) {
            let size = stream.frame_size(&bytes[frame..]);
            let end = size.map(|size| from + (frame + size) as u64);
            return Ok(end.filter(|end| *end < length));
        }
        if from == 0 || window >= LAST_WINDOW {
            return Ok(None);
        }
        window *= 8;
    }
}

/// Returns the length of an ID3v2 tag that the file begins with.
fn skip_id3(head: &[u8]) -> u64 {
    match head {
        [b'I', b'D', b'3', _, _, flags, a, b, c, d, ..] => {
            let size = [a, b, c, d]
                .iter()
                .fold(0, |size, byte| size << 7 | (**byte as u64 & 0x7f));
            let footer = if flags & 0x10 != 0 { 10 } else { 0 };
            10 + size + footer
        }
        _ => 0,
    }
}

/// What frames are held against.
struct StreamInfo {
    description: Vec<u8>,
    /// Samples of each frame but the last; `None` where they differ.
    block: Option<u64>,
    /// Samples of one channel.
    samples: u64,
}

impl StreamInfo {
    fn parse(marker: &[u8]) -> Option<StreamInfo> {
        let description = marker.get(DESCRIPTION as usize..)?;
        // The first block of metadata, type 0, of 34 bytes.
        let is_flac = marker.starts_with(b"fLaC")
            && marker[4] & 0x7f == 0
            && marker[5..8] == [0, 0, DESCRIPTION_BYTES as u8];
        if !is_flac || description.len() < DESCRIPTION_BYTES {
            return None;
        }
        let block = |at: usize| u16::from_be_bytes([description[at], description[at + 1]]) as u64;
        let numbers = u64::from_be_bytes(*description[10..].first_chunk()?);
        let samples = numbers & ((1 << 36) - 1);
        (samples > 0).then(|| StreamInfo {
            description: description.to_vec(),
            block: (block(0) == block(2)).then(|| block(0)),
            samples,
        })
    }

    /// Returns where the frame with the stream's last sample begins.
    fn last_frame(&self, bytes: &[u8]) -> Option<usize> {
        let starts = (0..bytes.len().saturating_sub(1)).rev();
        starts
            .filter(|i| bytes[*i] == 0xff && bytes[i + 1] & 0xfe == 0xf8)
            .find(|i| self.is_last(&bytes[*i..]) == Some(true))
    }

    /// Returns whether `bytes` begin with the header of the stream's last frame.
    fn is_last(&self, bytes: &[u8]) -> Option<bool> {
        let (number, number_bytes) = coded_number(bytes.get(4..)?)?;
        let mut length = 4 + number_bytes;
        let samples = match bytes[2] >> 4 {
            1 => 192,
            code @ 2..=5 => 144 << code,
            6 => {
                length += 1;
                *bytes.get(length - 1)? as u64 + 1
            }
            7 => {
                length += 2;
                u16::from_be_bytes(*bytes.get(length - 2..)?.first_chunk()?) as u64 + 1
            }
            code @ 8..=15 => 1 << code,
            _ => return None,
        };
        length += match bytes[2] & 15 {
            12 => 1,
            13 | 14 => 2,
            _ => 0,
        };
        let first = match self.block {
            Some(block) => number.checked_mul(block)?,
            None => number,
        };
        let is_intact = crc8(bytes.get(..length)?) == *bytes.get(length)?;
        Some(is_intact && first.checked_add(samples)? == self.samples)
    }

    /// Returns the length of the frame that `bytes` begin with: its checksum is right, and it can be
    /// decoded.
    fn frame_size(&self, bytes: &[u8]) -> Option<usize> {
        let mut sum = 0;
        for (i, byte) in bytes.iter().enumerate() {
            sum = crc16(sum, *byte);
            // The checksum of a frame with its own checksum is 0. One of 65,536 other lengths has
            // this too.
            if sum == 0 && i > 4 && (i + 1 == bytes.len() || self.can_decode(&bytes[..=i])) {
                return Some(i + 1);
            }
        }
        None
    }

    fn can_decode(&self, frame: &[u8]) -> bool {
        let mut parameters = AudioCodecParameters::new();
        parameters
            .for_codec(CODEC_ID_FLAC)
            .with_extra_data(self.description.clone().into());
        let options = AudioDecoderOptions::default();
        let packet = Packet::new(0, Timestamp::new(0), Duration::new(0), frame);
        match get_codecs().make_audio_decoder(&parameters, &options) {
            Ok(mut decoder) => decoder.decode(&packet).is_ok(),
            Err(_) => false,
        }
    }
}

/// Reads a number of up to 36 bits that is coded as UTF-8 codes letters. Returns it and its length.
fn coded_number(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = match first.leading_ones() {
        0 => return Some((first as u64, 1)),
        1 | 8 => return None,
        length => length as usize,
    };
    let mut number = first as u64 & (0x7f >> length);
    for byte in bytes.get(1..length)? {
        if byte >> 6 != 0b10 {
            return None;
        }
        number = number << 6 | (byte & 0x3f) as u64;
    }
    Some((number, length))
}

fn crc8(bytes: &[u8]) -> u8 {
    let mut sum = 0u8;
    for byte in bytes {
        sum ^= byte;
        for _ in 0..8 {
            sum = sum << 1 ^ (0x07 * (sum >> 7));
        }
    }
    sum
}

/// Adds a byte to a checksum of the polynomial 0x8005.
fn crc16(sum: u16, byte: u8) -> u16 {
    CRC16[((sum >> 8) as u8 ^ byte) as usize] ^ sum << 8
}

const CRC16: [u16; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut sum = (i as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            sum = sum << 1 ^ (0x8005 * (sum >> 15));
            bit += 1;
        }
        table[i] = sum;
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::super::tests::samples;
    use crate::data::audio::tests::shipped;

    #[test]
    fn bytes_after_the_last_frame_are_ignored() {
        for name in ["61-70968-0000.flac", "sb_24bit.flac", "sb_4ch.flac"] {
            let whole = std::fs::read(shipped(name)).unwrap();
            let expected = samples(&whole).unwrap();
            let id3 = [&b"TAG"[..], &[0; 125]].concat();
            let frame_like = b"\xff\xf8\xc9\x18\0\xff\xf8".repeat(30);
            let tails = [
                &id3[..],
                b"x",
                &[0; 5000],
                &frame_like,
                &[0xff; 70_000],
                &whole[..99],
            ];
            for tail in tails {
                let found = samples(&[&whole, tail].concat());
                assert!(
                    found.as_ref() == Ok(&expected),
                    "{name}, {} bytes",
                    tail.len()
                );
            }
            let error = samples(&whole[..whole.len() - 1]).unwrap_err();
            assert!(error.contains("it ends after"), "{name}: {error}");
        }
    }
}
