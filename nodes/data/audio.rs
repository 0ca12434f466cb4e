//! Audio files to f32 at 16 kHz: one channel, or the mean of all. Integers are divided by 2^(bits - 1).
pub mod mp4;
pub mod piece;
pub mod resample;
pub mod stream;
pub mod unread;
use crate::data::audio::piece::Piece;
use crate::data::audio::stream::Stream;
use crate::{Error, Result};
use std::{fs::File, path::Path};
use symphonia::core::io::MediaSource;

/// The whole file at 16 kHz, mean of the channels. Errors name the file.
pub fn read_audio(path: &Path) -> Result<Vec<f32>> {
    read(path, open_file(path)?, &Piece::default())
}

/// Errors name the file.
pub fn open_file(path: &Path) -> Result<Box<dyn MediaSource>> {
    named(
        path,
        File::open(path)
            .map(|file| Box::new(file) as _)
            .map_err(Error::from),
    )
}

/// A piece at 16 kHz. Errors name `name`.
pub fn read(name: &Path, source: Box<dyn MediaSource>, piece: &Piece) -> Result<Vec<f32>> {
    let samples = Stream::open(name, source).and_then(|stream| stream.decode(piece));
    named(
        name,
        samples
            .and_then(finite)
            .and_then(|(samples, rate)| resample::resample(samples, rate)),
    )
}

fn finite((samples, rate): (Vec<f32>, u32)) -> Result<(Vec<f32>, u32)> {
    match samples.iter().position(|x| !x.is_finite()) {
        Some(at) => Err(format!("sample {at} is {}", samples[at]).into()),
        None => Ok((samples, rate)),
    }
}

/// How long a file is.
pub struct Lengths {
    /// Samples of one channel at the file's rate.
    pub frames: u64,
    /// By how many of them another program may be wrong that guesses where the header does not know: 25 ms, as in lhotse.
    pub slack: u64,
    /// Of the piece, at 16 kHz.
    pub row: u64,
}

/// By the header, or by going through a stream whose header does not know. Errors name `name`.
pub fn lengths(name: &Path, source: Box<dyn MediaSource>, piece: &Piece) -> Result<Lengths> {
    let count = || {
        let stream = Stream::open(name, source)?;
        let rate = stream.rate;
        let slack = if stream.guessed { rate as u64 / 40 } else { 0 };
        let frames = stream.count()?;
        let within = piece.within(frames, rate)?;
        Ok(Lengths {
            frames,
            slack,
            row: resample::length(within.end - within.start, rate)?,
        })
    };
    named(name, count())
}

fn named<T>(name: &Path, result: Result<T>) -> Result<T> {
    result.map_err(|e| format!("{} cannot be read: {e}", name.display()).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hound::{SampleFormat, WavSpec, WavWriter};
    use std::path::PathBuf;
    use symphonia::core::checksum::Md5;
    use symphonia::core::io::Monitor;

    fn file(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("decode-{}-{name}.wav", std::process::id()))
    }
    fn spec(channels: u16, sample_rate: u32, bits: u16) -> WavSpec {
        let sample_format = if bits == 0 {
            SampleFormat::Float
        } else {
            SampleFormat::Int
        };
        WavSpec {
            channels,
            sample_rate,
            bits_per_sample: if bits == 0 { 32 } else { bits },
            sample_format,
        }
    }
    fn write<S: hound::Sample + Copy>(name: &str, spec: WavSpec, samples: &[S]) -> PathBuf {
        let path = file(name);
        let mut wav = WavWriter::create(&path, spec).unwrap();
        samples.iter().for_each(|s| wav.write_sample(*s).unwrap());
        wav.finalize().unwrap();
        path
    }
    fn header(path: &Path) -> Result<(u64, u64)> {
        lengths(path, open_file(path)?, &Piece::default())
            .map(|lengths| (lengths.frames, lengths.row))
    }
    fn read_and_remove(path: &Path) -> Vec<f32> {
        let samples = read_audio(path);
        assert_eq!(
            header(path).unwrap().1,
            samples.as_ref().unwrap().len() as u64
        );
        std::fs::remove_file(path).unwrap();
        samples.unwrap()
    }

    #[test]
    fn integers_are_divided_by_their_range() {
        for bits in [8, 16, 24, 32] {
            let full = 1i64 << (bits - 1);
            let values = [-full, -full / 2, -1, 0, 1, full / 2, full - 1].map(|v| v as i32);
            let read = read_and_remove(&write(
                &format!("int{bits}"),
                spec(1, 16_000, bits),
                &values,
            ));
            let expected = values.map(|v| (v as f64 / full as f64) as f32);
            assert_eq!(read, expected, "{bits} bits");
        }
    }

    #[test]
    fn floats_are_as_they_are() {
        let values = [-1.5f32, -1.0, 1e-9, 0.25, 3.0];
        assert_eq!(
            read_and_remove(&write("float", spec(1, 16_000, 0), &values)),
            values
        );
    }

    #[test]
    fn channels_are_averaged() {
        assert_eq!(
            read_and_remove(&write(
                "stereo",
                spec(2, 16_000, 16),
                &[16384i16, 0, -16384, -16384]
            )),
            [0.25, -0.5]
        );
        // hound writes more than two channels as WAVE_FORMAT_EXTENSIBLE
        assert_eq!(
            read_and_remove(&write("four", spec(4, 16_000, 16), &[16384i16, 0, 0, 0])),
            [0.125]
        );
    }

    #[test]
    fn other_rates_become_16_khz() {
        for (rate, frames, length) in [
            (8_000, 4_001, 8_002),
            (44_100, 44_100, 16_000),
            (44_100, 1_000, 363),
        ] {
            let path = write(
                &format!("{rate}-{frames}"),
                spec(1, rate, 16),
                &vec![1000i16; frames],
            );
            assert_eq!(header(&path).unwrap(), (frames as u64, length));
            assert_eq!(read_and_remove(&path).len() as u64, length);
        }
    }

    #[test]
    fn half_a_file_is_an_error() {
        let path = write("cut", spec(1, 16_000, 16), &[7i16; 5000]);
        let whole = std::fs::read(&path).unwrap();
        for (length, says) in [
            (whole.len() - 2, "ends after 4999 of 5000 samples"),
            (2000, "cannot be read"),
            (20, "cannot be read"),
            (0, "cannot be read"),
        ] {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = read_audio(&path).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{} cannot be read: ", path.display()))
                    && error.contains(says),
                "{error}"
            );
        }
        std::fs::remove_file(&path).unwrap();
        assert!(read_audio(&path).is_err() && header(&path).is_err());
    }

    #[test]
    fn a_stream_of_unknown_length_is_read_to_its_end() {
        let path = write("endless", spec(1, 16_000, 16), &[7i16; 5000]);
        let mut bytes = std::fs::read(&path).unwrap();
        for place in [4, 40] {
            bytes[place..place + 4].copy_from_slice(&[0xff; 4]); // length of the file, length of the data
        }
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(header(&path).unwrap(), (5000, 5000));
        assert_eq!(read_and_remove(&path).len(), 5000);
    }

    /// A FLAC file of 16 zeros at 16 kHz, 16 bits (RFC 9639), and the samples that its header claims.
    fn flac(claimed: u8) -> Vec<u8> {
        let mut bytes = b"fLaC\x80\0\0\x22\0\x10\0\x10\0\0\0\0\0\0\x03\xe8\0\xf0\0\0\0".to_vec();
        bytes.push(claimed);
        bytes.extend([0; 16]); // no MD5
        bytes.extend(frame(0));
        bytes
    }
    /// A frame of 16 zeros, one constant subframe.
    fn frame(number: u8) -> Vec<u8> {
        let mut frame = vec![0xff, 0xf8, 0x65, 0x08, number, 15];
        frame.push(crc(&frame, 8, 0x07) as u8);
        frame.extend([0, 0, 0]);
        let sum = crc(&frame, 16, 0x8005);
        frame.extend([(sum >> 8) as u8, sum as u8]);
        frame
    }
    fn crc(bytes: &[u8], bits: u32, polynomial: u32) -> u32 {
        let mut sum = 0;
        for byte in bytes {
            sum ^= (*byte as u32) << (bits - 8);
            for _ in 0..8 {
                sum = if sum >> (bits - 1) & 1 == 1 {
                    sum << 1 ^ polynomial
                } else {
                    sum << 1
                };
            }
        }
        sum & ((1 << bits) - 1)
    }

    #[test]
    fn a_damaged_flac_is_an_error() {
        let path = file("damaged");
        let read = |bytes: Vec<u8>| {
            std::fs::write(&path, bytes).unwrap();
            read_audio(&path).map_err(|e| e.to_string())
        };
        let three = |damaged: bool| {
            let mut bytes = [flac(48), frame(1), frame(2)].concat();
            let end = bytes.len() - 12; // the last byte of the second frame's CRC-16 is before it
            bytes[end - 1] ^= damaged as u8;
            bytes
        };
        assert_eq!(read(three(false)), Ok(vec![0.0; 48]));
        assert!(read(three(true)).is_err());
        assert!(read([flac(48), frame(1)].concat()).is_err());
        let mut unknown = three(true);
        unknown[25] = 0; // samples in all: not known
        assert!(
            read(unknown)
                .unwrap_err()
                .contains("damaged after 16 samples")
        );
        let mut summed = three(false);
        summed[30] = 1; // in the MD5
        assert!(read(summed).unwrap_err().contains("MD5"));
        std::fs::remove_file(&path).unwrap();
    }

    fn shipped(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../tests/data/audio")
            .join(name)
    }
    fn piece(
        path: &Path,
        from: f64,
        to: Option<f64>,
        channel: Option<usize>,
    ) -> Result<(Vec<f32>, u32)> {
        Stream::open(path, open_file(path)?)?.decode(&Piece { from, to, channel })
    }
    fn md5(samples: &[f32]) -> String {
        let mut md5 = Md5::default();
        samples
            .iter()
            .for_each(|x| md5.process_buf_bytes(&x.to_le_bytes()));
        md5.md5().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// tests/data/audio/audio.tsv: what ffmpeg decodes.
    #[test]
    fn every_codec_is_as_ffmpeg_decodes_it() {
        let rows = std::fs::read_to_string(shipped("audio.tsv")).unwrap();
        for row in rows.lines().skip(1) {
            let [name, _, rate, channels, frames, rms, sum] =
                row.split('\t').collect::<Vec<_>>()[..]
            else {
                panic!("{row}")
            };
            let (path, rate, channels): (_, u32, usize) = (
                shipped(name),
                rate.parse().unwrap(),
                channels.parse().unwrap(),
            );
            let planes: Vec<_> = (0..channels)
                .map(|c| piece(&path, 0.0, None, Some(c)).unwrap())
                .collect();
            let frames: usize = frames.parse().unwrap();
            assert!(
                planes
                    .iter()
                    .all(|(plane, r)| (plane.len(), *r) == (frames, rate)),
                "{name}: {}",
                planes[0].0.len()
            );
            let samples: Vec<f32> = (0..frames * channels)
                .map(|i| planes[i % channels].0[i / channels])
                .collect();
            let power =
                samples.iter().map(|x| (*x as f64).powi(2)).sum::<f64>() / samples.len() as f64;
            let rms: f64 = rms.parse().unwrap();
            assert!(
                (power.sqrt() / rms - 1.0).abs() < 0.01,
                "{name}: {} instead of {rms}",
                power.sqrt()
            );
            assert!(sum == "-" || sum == md5(&samples), "{name}");
            assert_eq!(
                read_audio(&path).unwrap().len() as u64,
                header(&path).unwrap().1,
                "{name}"
            );
        }
    }

    #[test]
    fn pieces_are_cut_from_the_whole() {
        for name in [
            "61-70968-0000.flac",
            "mono_c0.wav",
            "pcm.aiff",
            "vbr-no-tag.mp3",
            "vorbis.ogg",
            "aac.m4a",
            "stereo.wav",
        ] {
            let path = shipped(name);
            let (whole, rate) = piece(&path, 0.0, None, None).unwrap();
            let at = |seconds: f64| (seconds * rate as f64).round() as usize;
            let half = whole.len() as f64 / rate as f64 / 2.0;
            for (from, to) in [(0.0, 0.3), (0.1, 0.12345), (half, half + 0.1)] {
                assert!(
                    piece(&path, from, Some(to), None).unwrap().0 == whole[at(from)..at(to)],
                    "{name} {from}"
                );
            }
            assert!(
                piece(&path, half, None, None).unwrap().0 == whole[at(half)..],
                "{name}"
            );
            let end = 2.0 * half;
            assert!(
                piece(&path, half, Some(end + 0.4), None).unwrap().0 == whole[at(half)..],
                "{name}"
            );
            for (from, to) in [(half, end + 0.6), (end + 0.1, end + 0.2)] {
                assert!(
                    piece(&path, from, Some(to), None)
                        .unwrap_err()
                        .to_string()
                        .contains("are not in it"),
                    "{name}"
                );
            }
        }
        let [left, right, mean] = [Some(0), Some(1), None]
            .map(|c| piece(&shipped("stereo.wav"), 0.0, None, c).unwrap().0);
        assert!((0..mean.len()).all(|i| mean[i] == (left[i] + right[i]) / 2.0) && left != right);
        let error = piece(&shipped("stereo.wav"), 0.0, None, Some(2))
            .unwrap_err()
            .to_string();
        assert_eq!(error, "there is no channel 2: it has 2, counted from 0");
    }

    #[test]
    fn what_is_not_read_says_what_it_is() {
        let raw = file("raw").with_extension("g722");
        std::fs::write(&raw, [0x5a; 1000]).unwrap();
        let text = file("text");
        std::fs::write(&text, "no audio at all").unwrap();
        let known =
            "which is not read; convert it, for instance with `ffmpeg -i IN -ar 16000 OUT.flac`";
        for (path, says) in [
            (shipped("mono_c0.opus"), format!("it is Opus, {known}")),
            (shipped("stereo.opus"), format!("it is Opus, {known}")),
            (shipped("stereo.sph"), format!("it is NIST SPHERE, {known}")),
            (raw.clone(), format!("it is G.722, {known}")),
            (
                text.clone(),
                "it is none of FLAC, WAV, AIFF, CAF, MP3, Ogg Vorbis and M4A".into(),
            ),
        ] {
            let expected = format!("{} cannot be read: {says}", path.display());
            assert_eq!(read_audio(&path).unwrap_err().to_string(), expected);
        }
        [raw, text]
            .iter()
            .for_each(|path| std::fs::remove_file(path).unwrap());
    }
}
