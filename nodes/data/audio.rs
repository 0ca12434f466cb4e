//! Reads audio files as f32 samples at 16 kHz: one channel, or the mean of all. Integers are
//! divided by 2^(bits - 1).
mod container;
#[cfg(test)]
mod damage;
mod limits;
mod mp4;
pub(crate) mod piece;
#[cfg(test)]
mod reference;
pub mod resample;
mod stream;
mod unsupported;

use crate::data::audio::container::Purpose;
use crate::data::audio::piece::Piece;
use crate::data::audio::stream::Stream;
use crate::data::panic::catch_panic;
use crate::data::printable::printable_path;
use crate::data::{store, unicode};
use crate::{Error, Result};
use std::path::Path;
use symphonia::core::io::MediaSource;

/// Reads a whole file at 16 kHz, as the mean of its channels. Errors name the file.
pub fn read_audio(path: &Path) -> Result<Vec<f32>> {
    read(path, open_file(path)?, &Piece::default())
}

/// Opens a file for [`read`] or [`lengths`], also by another Unicode form of its name. Errors name
/// the file.
pub(crate) fn open_file(path: &Path) -> Result<Box<dyn MediaSource>> {
    let opened = match store::is_address(path) {
        true => store::open(path),
        false => store::open(&unicode::existing(path)),
    };
    match opened {
        Ok(file) => Ok(Box::new(file)),
        Err(e) => Err(unreadable(path, e)),
    }
}

/// Reads a piece of an opened file at 16 kHz. Errors begin with `name`.
pub(crate) fn read(name: &Path, source: Box<dyn MediaSource>, piece: &Piece) -> Result<Vec<f32>> {
    catch_panic(|| decode(name, source, piece)).map_err(|e| unreadable(name, e))
}

fn decode(name: &Path, source: Box<dyn MediaSource>, piece: &Piece) -> Result<Vec<f32>> {
    let (samples, rate) = Stream::open(name, source, Purpose::Samples)?.decode(piece)?;
    check_finite(&samples)?;
    resample::resample(samples, rate)
}

fn check_finite(samples: &[f32]) -> Result<()> {
    match samples.iter().position(|x| !x.is_finite()) {
        Some(index) => Err(format!("sample {index} is {}", samples[index]).into()),
        None => Ok(()),
    }
}

/// The length of a file and of a piece of it.
pub(crate) struct AudioLengths {
    /// Samples of one channel of the whole file, at the file's rate.
    pub(crate) frames: u64,
    /// By how much a manifest's `frames` may differ: 25 ms, as in lhotse, if the header's length is
    /// a guess, else 0.
    pub(crate) slack: u64,
    /// Samples of the piece at 16 kHz.
    pub(crate) row: u64,
}

/// Reads lengths from the header of an opened file, or from its packets if the header does not
/// declare one. Errors begin with `name`.
pub(crate) fn lengths(
    name: &Path,
    source: Box<dyn MediaSource>,
    piece: &Piece,
) -> Result<AudioLengths> {
    catch_panic(|| measure(name, source, piece)).map_err(|e| unreadable(name, e))
}

fn measure(name: &Path, source: Box<dyn MediaSource>, piece: &Piece) -> Result<AudioLengths> {
    let stream = Stream::open(name, source, Purpose::Length)?;
    let rate = stream.rate;
    let slack = if stream.length_is_guessed {
        rate as u64 / 40
    } else {
        0
    };
    let frames = stream.count_frames()?;
    let range = piece.within(frames, rate)?;
    Ok(AudioLengths {
        frames,
        slack,
        row: resample::length(range.end - range.start, rate)?,
    })
}

fn unreadable(name: &Path, error: impl Into<Error>) -> Error {
    let name = printable_path(name);
    format!("{name} cannot be read: {}", error.into()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hound::{SampleFormat, WavSpec, WavWriter};
    use std::path::PathBuf;

    /// Returns the path of a temporary WAV file.
    pub(super) fn temporary(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("decode-{}-{name}.wav", std::process::id()))
    }

    /// Returns the path of a file in tests/data/audio.
    pub(super) fn shipped(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../tests/data/audio")
            .join(name)
    }

    /// Returns the format of integers of `bits` bits, or of floats for 0.
    pub(super) fn spec(channels: u16, sample_rate: u32, bits: u16) -> WavSpec {
        let (bits_per_sample, sample_format) = match bits {
            0 => (32, SampleFormat::Float),
            bits => (bits, SampleFormat::Int),
        };
        WavSpec {
            channels,
            sample_rate,
            bits_per_sample,
            sample_format,
        }
    }

    /// Writes a temporary WAV file and returns its path.
    pub(super) fn write<S: hound::Sample + Copy>(
        name: &str,
        spec: WavSpec,
        samples: &[S],
    ) -> PathBuf {
        let path = temporary(name);
        let mut wav = WavWriter::create(&path, spec).unwrap();
        for sample in samples {
            wav.write_sample(*sample).unwrap();
        }
        wav.finalize().unwrap();
        path
    }

    /// Returns the file's samples at its rate and at 16 kHz, by its header.
    pub(super) fn header(path: &Path) -> Result<(u64, u64)> {
        let lengths = lengths(path, open_file(path)?, &Piece::default())?;
        Ok((lengths.frames, lengths.row))
    }

    /// Reads a file whose header declares its length, and removes it.
    pub(super) fn read_and_remove(path: &Path) -> Vec<f32> {
        let samples = read_audio(path).unwrap();
        assert_eq!(header(path).unwrap().1, samples.len() as u64);
        std::fs::remove_file(path).unwrap();
        samples
    }

    #[test]
    fn integers_are_divided_by_their_range() {
        for bits in [8, 16, 24, 32] {
            let full = 1i64 << (bits - 1);
            let values = [-full, -full / 2, -1, 0, 1, full / 2, full - 1].map(|v| v as i32);
            let path = write(&format!("int{bits}"), spec(1, 16_000, bits), &values);
            let expected = values.map(|v| (v as f64 / full as f64) as f32);
            assert_eq!(read_and_remove(&path), expected, "{bits} bits");
        }
    }

    #[test]
    fn floats_are_as_they_are() {
        let values = [-1.5f32, -1.0, 1e-9, 0.25, 3.0];
        let path = write("float", spec(1, 16_000, 0), &values);
        assert_eq!(read_and_remove(&path), values);
    }

    #[test]
    fn channels_are_averaged() {
        let values = [16384i16, 0, -16384, -16384];
        let path = write("stereo", spec(2, 16_000, 16), &values);
        assert_eq!(read_and_remove(&path), [0.25, -0.5]);
        // hound writes more than two channels as WAVE_FORMAT_EXTENSIBLE
        let path = write("four", spec(4, 16_000, 16), &[16384i16, 0, 0, 0]);
        assert_eq!(read_and_remove(&path), [0.125]);
    }

    #[test]
    fn other_rates_become_16_khz() {
        let cases = [
            (8_000, 4_001, 8_002),
            (44_100, 44_100, 16_000),
            (44_100, 1_000, 363),
        ];
        for (rate, frames, length) in cases {
            let name = format!("{rate}-{frames}");
            let path = write(&name, spec(1, rate, 16), &vec![1000i16; frames]);
            assert_eq!(header(&path).unwrap(), (frames as u64, length));
            assert_eq!(read_and_remove(&path).len() as u64, length);
        }
    }
}
