//! Decodes an opened file packet by packet, at its own rate.
//!
//! What encoders put before and after the audio is cut: LAME's tag (MP3), granule positions (Ogg),
//! the edit list (M4A). An incomplete file is an error, never a shorter row: packets must follow
//! each other, hold as many frames as the header declares, and match FLAC's MD5 where there is one.
use super::container::{self, Purpose};
use super::piece::Piece;
use super::{limits, mp4, unsupported};
use crate::Result;
use std::io::{ErrorKind, Read};
use std::path::Path;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as AudioError;
use symphonia::core::formats::{FormatReader, SeekMode, SeekTo, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::packet::Packet;
use symphonia::core::units::{TimeBase, Timestamp};
use symphonia::default::{get_codecs, get_probe};

/// How many bytes tell what a file is.
const HEAD_BYTES: u64 = 64;

/// The audio track of an opened file.
pub(super) struct Stream {
    format: Box<dyn FormatReader>,
    parameters: AudioCodecParameters,
    track: u32,
    /// Frames per second.
    pub(super) rate: u32,
    /// The number of frames without what encoders add, if the header declares it.
    frames: Option<u64>,
    /// Whether the length in the header is a guess. The trims of packets follow the guess and are
    /// then ignored.
    pub(super) length_is_guessed: bool,
    /// For MP4, the number of frames that the decoder gives before the audio; it also gives those
    /// after it.
    edit_start: Option<u64>,
    /// Whether the timestamps of packets count frames.
    timestamps_are_frames: bool,
}

impl Stream {
    /// Reads the header of `source`. `name` is used to recognise a format that has no signature.
    pub(super) fn open(
        name: &Path,
        mut source: Box<dyn MediaSource>,
        purpose: Purpose,
    ) -> Result<Stream> {
        let mut head = vec![];
        source.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
        if head.is_empty() {
            return Err("it is empty".into());
        }
        unsupported::check_signature(&head)?;
        let edits = if mp4::is_mp4(&head) {
            mp4::edits(&mut source)?
        } else {
            vec![]
        };
        let container = container::correct(source, &head, purpose)?;
        let stream = MediaSourceStream::new(container.source, Default::default());
        let format = get_probe()
            .probe(
                &Default::default(),
                stream,
                Default::default(),
                Default::default(),
            )
            .map_err(|e| unsupported::format_error(name, e))?;

        let track = format
            .default_track(TrackType::Audio)
            .ok_or("no audio in it")?;
        let parameters = track
            .codec_params
            .as_ref()
            .and_then(|parameters| parameters.audio())
            .ok_or("no audio in it")?
            .clone();
        let rate = parameters
            .sample_rate
            .filter(|&rate| rate > 0)
            .ok_or("it has no sample rate")?;
        limits::check(&parameters)?;

        let format_name = format.format_info().short_name;
        // An MP3's frames are guessed from its size unless it has LAME's tag; an ADTS stream's
        // always are.
        let length_is_guessed = ["mp3", "aac"].contains(&format_name) && track.delay.is_none();
        let edit = edits
            .iter()
            .find(|edit| edit.track == track.id)
            .map(|edit| edit.frames(rate));
        let edit_start =
            (format_name == "isomp4").then(|| edit.as_ref().map_or(0, |edit| edit.start));
        // A fragmented MP4 declares 0 frames.
        let declared = track.num_frames.filter(|&n| n > 0 && !length_is_guessed);
        let frames = match edit {
            Some(edit) => declared.map(|n| edit.end.min(n).saturating_sub(edit.start)),
            None => declared.or(container.frames),
        };
        let timestamps_are_frames = track.time_base == TimeBase::try_from_recip(rate);
        Ok(Stream {
            track: track.id,
            rate,
            frames,
            length_is_guessed,
            edit_start,
            timestamps_are_frames,
            parameters,
            format,
        })
    }

    /// Returns the number of frames, by reading the packets if the header does not declare it.
    pub(super) fn count_frames(mut self) -> Result<u64> {
        if let Some(frames) = self.frames {
            return Ok(frames);
        }
        if !self.length_is_guessed {
            let (samples, _) = self.decode(&Piece::default())?;
            return Ok(samples.len() as u64);
        }
        let mut frames = 0u64;
        while let Some(packet) = self.next_packet()? {
            frames = frames.saturating_add(packet.block_dur().get());
        }
        Ok(frames)
    }

    /// Decodes a piece into one channel. Returns the samples and their rate.
    pub(super) fn decode(mut self, piece: &Piece) -> Result<(Vec<f32>, u32)> {
        let mut decoder = self.decoder(piece)?;
        let begin = piece.begin(self.rate);
        let mut end = piece.end(self.rate).unwrap_or(u64::MAX);
        if self.edit_start.is_some()
            && let Some(frames) = self.frames
        {
            end = end.min(frames);
        }
        let end = end.max(begin);

        // Positions count the frames that the decoder gives; `skip` of them precede the audio.
        let skip = self.edit_start.unwrap_or(0);
        let mut position = self.seek(begin)?;
        let mut samples = vec![];
        let mut interleaved = vec![];
        while position < end.saturating_add(skip) {
            let Some(packet) = self.next_packet()? else {
                break;
            };
            let decoded = decoder.decode(&packet)?;
            let frames = decoded.frames() as u64;
            if self.timestamps_are_frames && frames > 0 && first_frame(&packet) != position as i64 {
                return Err(format!("it is damaged after {position} samples").into());
            }
            decoded.copy_to_vec_interleaved(&mut interleaved);
            let channels = decoded.num_planes().max(1);
            let packet_end = position + frames;
            let kept_from = begin.saturating_add(skip).clamp(position, packet_end) - position;
            let kept_to = end.saturating_add(skip).clamp(position, packet_end) - position;
            let kept = kept_from as usize * channels..kept_to as usize * channels;
            append_channel(&interleaved[kept], channels, piece.channel, &mut samples)?;
            position = packet_end;
        }

        let read = position.saturating_sub(skip);
        if let Some(frames) = self.frames {
            if read < end.min(frames) {
                return Err(format!("it ends after {read} of {frames} samples").into());
            }
            if read > frames && self.edit_start.is_none() {
                let message = format!("it goes on after the {frames} samples of its header");
                return Err(message.into());
            }
        }
        if decoder.finalize().verify_ok == Some(false) {
            return Err("its MD5 differs from its header's".into());
        }
        let range = piece.within(self.frames.unwrap_or(read), self.rate)?;
        samples.truncate((range.end - range.start) as usize);
        Ok((samples, self.rate))
    }

    /// Returns a decoder. It verifies FLAC's MD5, which is of the whole file, if `piece` is the
    /// whole file.
    fn decoder(&self, piece: &Piece) -> Result<Box<dyn AudioDecoder>> {
        let options = AudioDecoderOptions::default()
            .verify(piece.is_whole())
            .gapless(!self.length_is_guessed);
        get_codecs()
            .make_audio_decoder(&self.parameters, &options)
            .map_err(|e| unsupported::codec_error(self.parameters.codec, e))
    }

    /// Seeks to the packet that holds `frame`, if packets of the format can be decoded alone.
    /// Returns the position of the next frame.
    fn seek(&mut self, frame: u64) -> Result<u64> {
        let format_name = self.format.format_info().short_name;
        let can_seek = ["flac", "wave", "aiff"].contains(&format_name);
        if frame == 0 || !can_seek || self.frames.is_none_or(|frames| frame >= frames) {
            return Ok(0);
        }
        let to = SeekTo::Timestamp {
            ts: Timestamp::new(frame as i64),
            track_id: self.track,
        };
        let reached = self.format.seek(SeekMode::Accurate, to)?;
        Ok(reached.actual_ts.get().max(0) as u64)
    }

    /// Returns the track's next packet, or `None` after the last one. A file that ends inside a
    /// packet has no next packet either: `decode` notices by the number of frames.
    fn next_packet(&mut self) -> Result<Option<Packet>> {
        loop {
            match self.format.next_packet() {
                Ok(Some(packet)) if packet.track_id != self.track => (),
                Err(AudioError::IoError(e)) if e.kind() == ErrorKind::UnexpectedEof => {
                    return Ok(None);
                }
                packet => return packet.map_err(unsupported::packet_error),
            }
        }
    }
}

/// Returns the timestamp of the first frame that the decoder gives of a packet.
fn first_frame(packet: &Packet) -> i64 {
    packet
        .pts
        .get()
        .saturating_add_unsigned(packet.trim_start.get())
}

/// Appends one channel of `interleaved`, or the mean of all channels, to `samples`.
fn append_channel(
    interleaved: &[f32],
    channels: usize,
    channel: Option<usize>,
    samples: &mut Vec<f32>,
) -> Result<()> {
    match channel {
        Some(channel) if channel >= channels => {
            let message =
                format!("there is no channel {channel}: it has {channels}, counted from 0");
            return Err(message.into());
        }
        Some(channel) => samples.extend(interleaved.iter().skip(channel).step_by(channels)),
        None if channels == 1 => samples.extend_from_slice(interleaved),
        None => {
            for frame in interleaved.chunks_exact(channels) {
                samples.push(frame.iter().sum::<f32>() / channels as f32);
            }
        }
    }
    Ok(())
}
