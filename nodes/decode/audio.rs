//! Audio files: FLAC and WAV to f32, mean of the channels, 16 kHz. Integers are divided by 2^(bits - 1).
//!
//! What a file does not hold whole is an error, never a shorter row: frames must follow each other, be as many as the
//! header says, and give FLAC's MD5 where there is one.
use super::resample;
use crate::{Error, Result};
use std::{fs::File, io::ErrorKind, path::Path};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoderOptions};
use symphonia::core::errors::Error as AudioError;
use symphonia::core::formats::{FormatReader, Track, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::packet::Packet;
use symphonia::default::{get_codecs, get_probe};

/// The whole file at 16 kHz. Errors name the file.
pub fn read_audio(path: &Path) -> Result<Vec<f32>> {
    named(path, decode(path).and_then(|(samples, rate)| resample::resample(samples, rate)))
}

/// Samples of one channel at the file's rate, and at 16 kHz: by the header, or by decoding a stream whose header does
/// not know. Errors name the file.
pub fn lengths(path: &Path) -> Result<(u64, u64)> {
    let count = || {
        let format = open(path)?;
        let (track, parameters) = audio(format.as_ref())?;
        let (frames, rate) = match track.num_frames {
            Some(frames) => (frames, rate(parameters)?),
            None => decode(path).map(|(samples, rate)| (samples.len() as u64, rate))?,
        };
        Ok((frames, resample::length(frames, rate)?))
    };
    named(path, count())
}

fn named<T>(path: &Path, result: Result<T>) -> Result<T> {
    result.map_err(|e| format!("{} cannot be read: {e}", path.display()).into())
}

fn open(path: &Path) -> Result<Box<dyn FormatReader>> {
    let file = MediaSourceStream::new(Box::new(File::open(path)?), Default::default());
    Ok(get_probe().probe(&Default::default(), file, Default::default(), Default::default())?)
}

fn audio(format: &dyn FormatReader) -> Result<(&Track, &AudioCodecParameters)> {
    let track = format.default_track(TrackType::Audio).ok_or("no audio in it")?;
    let parameters = track.codec_params.as_ref().and_then(|p| p.audio()).ok_or("no audio in it")?;
    Ok((track, parameters))
}

fn rate(parameters: &AudioCodecParameters) -> Result<u32> {
    Ok(parameters.sample_rate.ok_or("it has no sample rate")?)
}

/// Mean of the channels, and the rate.
fn decode(path: &Path) -> Result<(Vec<f32>, u32)> {
    let mut format = open(path)?;
    let (track, parameters) = audio(format.as_ref())?;
    let (frames, rate) = (track.num_frames, rate(parameters)?);
    let mut decoder = get_codecs().make_audio_decoder(parameters, &AudioDecoderOptions::default().verify(true))?;
    let (mut samples, mut interleaved) = (vec![], vec![]);
    while let Some(packet) = next(format.as_mut())? {
        if packet.pts.get() != samples.len() as i64 {
            return Err(format!("it is damaged after {} samples", samples.len()).into());
        }
        let decoded = decoder.decode(&packet)?;
        decoded.copy_to_vec_interleaved(&mut interleaved);
        let channels = decoded.num_planes().max(1);
        samples.extend(interleaved.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() / channels as f32));
    }
    match frames {
        Some(frames) if frames != samples.len() as u64 => {
            Err(format!("it ends after {} of {frames} samples", samples.len()).into())
        }
        _ if decoder.finalize().verify_ok == Some(false) => Err("its MD5 differs from its header's".into()),
        _ => Ok((samples, rate)),
    }
}

/// None after the last packet, also where a file ends in the middle: the samples are counted.
fn next(format: &mut dyn FormatReader) -> Result<Option<Packet>> {
    match format.next_packet() {
        Err(AudioError::IoError(e)) if e.kind() == ErrorKind::UnexpectedEof => Ok(None),
        packet => packet.map_err(Error::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hound::{SampleFormat, WavSpec, WavWriter};
    use std::path::PathBuf;

    fn file(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("decode-{}-{name}.wav", std::process::id()))
    }
    fn spec(channels: u16, sample_rate: u32, bits: u16) -> WavSpec {
        let sample_format = if bits == 0 { SampleFormat::Float } else { SampleFormat::Int };
        WavSpec { channels, sample_rate, bits_per_sample: if bits == 0 { 32 } else { bits }, sample_format }
    }
    fn write<S: hound::Sample + Copy>(name: &str, spec: WavSpec, samples: &[S]) -> PathBuf {
        let path = file(name);
        let mut wav = WavWriter::create(&path, spec).unwrap();
        samples.iter().for_each(|s| wav.write_sample(*s).unwrap());
        wav.finalize().unwrap();
        path
    }
    fn read_and_remove(path: &Path) -> Vec<f32> {
        let samples = read_audio(path);
        assert_eq!(lengths(path).unwrap().1, samples.as_ref().unwrap().len() as u64);
        std::fs::remove_file(path).unwrap();
        samples.unwrap()
    }

    #[test]
    fn integers_are_divided_by_their_range() {
        for bits in [8, 16, 24, 32] {
            let full = 1i64 << (bits - 1);
            let values = [-full, -full / 2, -1, 0, 1, full / 2, full - 1].map(|v| v as i32);
            let read = read_and_remove(&write(&format!("int{bits}"), spec(1, 16_000, bits), &values));
            let expected = values.map(|v| (v as f64 / full as f64) as f32);
            assert_eq!(read, expected, "{bits} bits");
        }
    }

    #[test]
    fn floats_are_as_they_are() {
        let values = [-1.5f32, -1.0, 1e-9, 0.25, 3.0];
        assert_eq!(read_and_remove(&write("float", spec(1, 16_000, 0), &values)), values);
    }

    #[test]
    fn channels_are_averaged() {
        assert_eq!(
            read_and_remove(&write("stereo", spec(2, 16_000, 16), &[16384i16, 0, -16384, -16384])),
            [0.25, -0.5]
        );
        // hound writes more than two channels as WAVE_FORMAT_EXTENSIBLE
        assert_eq!(read_and_remove(&write("four", spec(4, 16_000, 16), &[16384i16, 0, 0, 0])), [0.125]);
    }

    #[test]
    fn other_rates_become_16_khz() {
        for (rate, frames, length) in [(8_000, 4_001, 8_002), (44_100, 44_100, 16_000), (44_100, 1_000, 363)] {
            let path = write(&format!("{rate}-{frames}"), spec(1, rate, 16), &vec![1000i16; frames]);
            assert_eq!(lengths(&path).unwrap(), (frames as u64, length));
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
                error.starts_with(&format!("{} cannot be read: ", path.display())) && error.contains(says),
                "{error}"
            );
        }
        std::fs::remove_file(&path).unwrap();
        assert!(read_audio(&path).is_err() && lengths(&path).is_err());
    }

    #[test]
    fn a_stream_of_unknown_length_is_read_to_its_end() {
        let path = write("endless", spec(1, 16_000, 16), &[7i16; 5000]);
        let mut bytes = std::fs::read(&path).unwrap();
        for place in [4, 40] {
            bytes[place..place + 4].copy_from_slice(&[0xff; 4]); // length of the file, length of the data
        }
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(lengths(&path).unwrap(), (5000, 5000));
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
                sum = if sum >> (bits - 1) & 1 == 1 { sum << 1 ^ polynomial } else { sum << 1 };
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
        assert!(read(unknown).unwrap_err().contains("damaged after 16 samples"));
        let mut summed = three(false);
        summed[30] = 1; // in the MD5
        assert!(read(summed).unwrap_err().contains("MD5"));
        std::fs::remove_file(&path).unwrap();
    }
}
