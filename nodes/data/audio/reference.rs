//! Compares what is read of every codec with what ffmpeg decodes, and pieces with the whole.
use super::container::Purpose;
use super::piece::Piece;
use super::stream::Stream;
use super::tests::{header, shipped};
use super::{open_file, read_audio};
use crate::Result;
use std::path::Path;
use symphonia::core::checksum::Md5;
use symphonia::core::io::Monitor;

/// Decodes a piece at the file's rate.
fn decode(
    path: &Path,
    from: f64,
    to: Option<f64>,
    channel: Option<usize>,
) -> Result<(Vec<f32>, u32)> {
    let piece = Piece { from, to, channel };
    Stream::open(path, open_file(path)?, Purpose::Samples)?.decode(&piece)
}

fn md5(samples: &[f32]) -> String {
    let mut md5 = Md5::default();
    for sample in samples {
        md5.process_buf_bytes(&sample.to_le_bytes());
    }
    md5.md5().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// tests/data/audio/audio.tsv holds what ffmpeg decodes: rate, channels, frames, root mean square
/// and MD5.
#[test]
fn every_codec_is_as_ffmpeg_decodes_it() {
    let rows = std::fs::read_to_string(shipped("audio.tsv")).unwrap();
    for row in rows.lines().skip(1) {
        let fields: Vec<&str> = row.split('\t').collect();
        let [name, _, rate, channels, frames, rms, sum] = fields[..] else {
            panic!("{row}")
        };
        let path = shipped(name);
        let rate: u32 = rate.parse().unwrap();
        let channels: usize = channels.parse().unwrap();
        let frames: usize = frames.parse().unwrap();
        let rms: f64 = rms.parse().unwrap();

        let mut planes = vec![];
        for channel in 0..channels {
            let (plane, plane_rate) = decode(&path, 0.0, None, Some(channel)).unwrap();
            assert_eq!((plane.len(), plane_rate), (frames, rate), "{name}");
            planes.push(plane);
        }
        let samples: Vec<f32> = (0..frames * channels)
            .map(|i| planes[i % channels][i / channels])
            .collect();
        let energy: f64 = samples.iter().map(|x| (*x as f64).powi(2)).sum();
        let found = (energy / samples.len() as f64).sqrt();
        assert!(
            (found / rms - 1.0).abs() < 0.01,
            "{name}: {found} instead of {rms}"
        );
        assert!(sum == "-" || sum == md5(&samples), "{name}");
        let read = read_audio(&path).unwrap();
        assert_eq!(read.len() as u64, header(&path).unwrap().1, "{name}");
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
        let (whole, rate) = decode(&path, 0.0, None, None).unwrap();
        let frame = |seconds: f64| (seconds * rate as f64).round() as usize;
        let half = whole.len() as f64 / rate as f64 / 2.0;
        for (from, to) in [(0.0, 0.3), (0.1, 0.12345), (half, half + 0.1)] {
            let (piece, _) = decode(&path, from, Some(to), None).unwrap();
            assert!(piece == whole[frame(from)..frame(to)], "{name} {from}");
        }
        let end = 2.0 * half;
        for to in [None, Some(end + 0.4)] {
            let (piece, _) = decode(&path, half, to, None).unwrap();
            assert!(piece == whole[frame(half)..], "{name} to {to:?}");
        }
        for (from, to) in [(half, end + 0.6), (end + 0.1, end + 0.2)] {
            let error = decode(&path, from, Some(to), None).unwrap_err().to_string();
            assert!(error.contains("are not in it"), "{name}: {error}");
        }
    }
}

#[test]
fn one_channel_or_the_mean() {
    let path = shipped("stereo.wav");
    let decode = |channel| decode(&path, 0.0, None, channel);
    let (left, _) = decode(Some(0)).unwrap();
    let (right, _) = decode(Some(1)).unwrap();
    let (mean, _) = decode(None).unwrap();
    assert!(left != right);
    for (i, x) in mean.iter().enumerate() {
        assert_eq!(*x, (left[i] + right[i]) / 2.0);
    }
    let error = decode(Some(2)).unwrap_err().to_string();
    assert_eq!(error, "there is no channel 2: it has 2, counted from 0");
}
