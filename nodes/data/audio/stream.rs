//! The audio of an opened file, packet by packet, at its rate.
//!
//! What encoders put before and after the audio is cut: LAME's tag (MP3), granule positions (Ogg), the edit list (M4A).
//! What a file does not hold whole is an error, never a shorter row: frames must follow each other, be as many as the
//! header says, and give FLAC's MD5 where there is one.
use super::piece::Piece;
use super::{mp4, unread};
use crate::{Error, Result};
use std::io::{ErrorKind, Read, Seek};
use std::path::Path;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as AudioError;
use symphonia::core::formats::{FormatReader, SeekMode, SeekTo, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::packet::Packet;
use symphonia::core::units::{TimeBase, Timestamp};
use symphonia::default::{get_codecs, get_probe};

/// An opened file and what its header says of the audio in it.
pub struct Stream {
    format: Box<dyn FormatReader>,
    parameters: AudioCodecParameters,
    track: u32,
    pub rate: u32,
    /// Without what encoders add; None where the header does not know.
    frames: Option<u64>,
    /// Whether the header can only guess at its length; packets' trims then follow the guess, and are left alone.
    pub guessed: bool,
    /// An M4A's frames before the audio, which the decoder gives out, as it does those after it.
    edited: Option<u64>,
    /// Whether packets' times count samples.
    timed: bool,
}

impl Stream {
    /// `name` may tell what it is where the content does not.
    pub fn open(name: &Path, mut source: Box<dyn MediaSource>) -> Result<Stream> {
        let mut head = vec![];
        source.by_ref().take(12).read_to_end(&mut head)?;
        let edits = if mp4::is_mp4(&head) {
            mp4::edits(&mut source)?
        } else {
            vec![]
        };
        source.rewind()?;
        let stream = MediaSourceStream::new(source, Default::default());
        let format = get_probe().probe(
            &Default::default(),
            stream,
            Default::default(),
            Default::default(),
        );
        let format = format.map_err(|e| unread::format(name, &head, e))?;

        let track = format
            .default_track(TrackType::Audio)
            .ok_or("no audio in it")?;
        let parameters = track
            .codec_params
            .as_ref()
            .and_then(|p| p.audio())
            .ok_or("no audio in it")?
            .clone();
        let rate = parameters
            .sample_rate
            .filter(|&rate| rate > 0)
            .ok_or("it has no sample rate")?;
        let is = |format_name: &str| format.format_info().short_name == format_name;
        // Without LAME's tag an MP3's frames are guessed from its size, an ADTS stream's always; a fragmented MP4 says 0.
        let guessed = (is("mp3") || is("aac")) && track.delay.is_none();
        let edit = edits
            .iter()
            .find(|edit| edit.track == track.id)
            .map(|edit| edit.frames(rate));
        let edited = is("isomp4").then(|| edit.as_ref().map_or(0, |edit| edit.start));
        let valid = |n: u64| {
            edit.as_ref()
                .map_or(n, |edit| edit.end.min(n).saturating_sub(edit.start))
        };
        let frames = track.num_frames.filter(|&n| n > 0 && !guessed).map(valid);
        let timed = track.time_base == TimeBase::try_from_recip(rate);
        Ok(Stream {
            track: track.id,
            rate,
            frames,
            guessed,
            edited,
            timed,
            parameters,
            format,
        })
    }

    /// Samples of one channel.
    pub fn count(mut self) -> Result<u64> {
        match self.frames {
            Some(frames) => Ok(frames),
            None if self.guessed => {
                let mut frames = 0u64;
                while let Some(packet) = self.next()? {
                    frames = frames.saturating_add(packet.block_dur().get());
                }
                Ok(frames)
            }
            None => Ok(self.decode(&Piece::default())?.0.len() as u64),
        }
    }

    /// Samples of a piece, and the rate.
    pub fn decode(mut self, piece: &Piece) -> Result<(Vec<f32>, u32)> {
        let mut decoder = self.decoder(piece)?;
        let (from, until) = (
            piece.begin(self.rate),
            piece.end(self.rate).unwrap_or(u64::MAX),
        );
        let until = if self.edited.is_some() {
            self.frames.map_or(until, |n| until.min(n))
        } else {
            until
        }
        .max(from);
        let skip = self.edited.unwrap_or(0);
        let (mut samples, mut interleaved) = (vec![], vec![]);
        let mut at = self.seek(from)?; // of the stream, in which `skip` frames stand before the audio
        while at < until.saturating_add(skip) {
            let Some(packet) = self.next()? else { break };
            let decoded = decoder.decode(&packet)?;
            let frames = decoded.frames() as u64;
            if self.timed
                && frames > 0
                && packet
                    .pts
                    .get()
                    .saturating_add_unsigned(packet.trim_start.get())
                    != at as i64
            {
                return Err(format!("it is damaged after {at} samples").into());
            }
            decoded.copy_to_vec_interleaved(&mut interleaved);
            let kept = |bound: u64| bound.saturating_add(skip).clamp(at, at + frames) - at;
            let channels = decoded.num_planes().max(1);
            let kept = kept(from) as usize * channels..kept(until) as usize * channels;
            mix(&interleaved[kept], channels, piece.channel, &mut samples)?;
            at += frames;
        }
        let (read, frames) = (at.saturating_sub(skip), self.frames);
        match frames {
            Some(frames) if read < until.min(frames) => {
                Err(format!("it ends after {read} of {frames} samples").into())
            }
            Some(frames) if read > frames && self.edited.is_none() => {
                Err(format!("it goes on after the {frames} samples of its header").into())
            }
            _ if decoder.finalize().verify_ok == Some(false) => {
                Err("its MD5 differs from its header's".into())
            }
            _ => {
                let within = piece.within(frames.unwrap_or(read), self.rate)?;
                samples.truncate((within.end - within.start) as usize);
                Ok((samples, self.rate))
            }
        }
    }

    /// FLAC's MD5 is of the whole file.
    fn decoder(&self, piece: &Piece) -> Result<Box<dyn AudioDecoder>> {
        let options = AudioDecoderOptions::default()
            .verify(piece.is_whole())
            .gapless(!self.guessed);
        let decoder = get_codecs().make_audio_decoder(&self.parameters, &options);
        decoder.map_err(|e| unread::codec(self.parameters.codec, e))
    }

    /// To the packet that holds `frame`, where every packet can be decoded by itself; the frame that comes next.
    fn seek(&mut self, frame: u64) -> Result<u64> {
        let alone = ["flac", "wave", "aiff"].contains(&self.format.format_info().short_name);
        if frame == 0 || !alone || self.frames.is_none_or(|frames| frame >= frames) {
            return Ok(0);
        }
        let to = SeekTo::Timestamp {
            ts: Timestamp::new(frame as i64),
            track_id: self.track,
        };
        Ok(self
            .format
            .seek(SeekMode::Accurate, to)?
            .actual_ts
            .get()
            .max(0) as u64)
    }

    /// None after the last packet, also where a file ends in the middle: the samples are counted.
    fn next(&mut self) -> Result<Option<Packet>> {
        loop {
            match self.format.next_packet() {
                Ok(Some(packet)) if packet.track_id != self.track => (),
                Err(AudioError::IoError(e)) if e.kind() == ErrorKind::UnexpectedEof => {
                    return Ok(None);
                }
                packet => return packet.map_err(Error::from),
            }
        }
    }
}

/// Appends one channel, or the mean of all.
fn mix(
    interleaved: &[f32],
    channels: usize,
    channel: Option<usize>,
    to: &mut Vec<f32>,
) -> Result<()> {
    match channel {
        Some(channel) if channel >= channels => {
            return Err(format!(
                "there is no channel {channel}: it has {channels}, counted from 0"
            )
            .into());
        }
        Some(channel) => to.extend(interleaved.iter().skip(channel).step_by(channels)),
        None if channels == 1 => to.extend_from_slice(interleaved),
        None => to.extend(
            interleaved
                .chunks_exact(channels)
                .map(|frame| frame.iter().sum::<f32>() / channels as f32),
        ),
    }
    Ok(())
}
