//! The edit list of an MP4 (M4A; ISO/IEC 14496-12, 8.6.6), which cuts an AAC encoder's delay and
//! padding. symphonia does not apply it.
use crate::Result;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

/// The first edit of a track that is not a pause.
#[derive(Debug, PartialEq)]
pub(super) struct Edit {
    /// The track's number.
    pub(super) track: u32,
    /// Where the audio begins, in units of `track_scale`.
    start: u64,
    /// Units per second of `start`.
    track_scale: u32,
    /// How long the audio is, in units of `movie_scale`; 0 for all that follows `start`.
    length: u64,
    /// Units per second of `length`.
    movie_scale: u32,
}

impl Edit {
    /// Returns the frames of the track that are audio, at `rate`.
    pub(super) fn frames(&self, rate: u32) -> Range<u64> {
        let frames = |time: u64, scale: u32| {
            let frames = (time as u128 * rate as u128).div_ceil(scale.max(1) as u128);
            u64::try_from(frames).unwrap_or(u64::MAX)
        };
        let start = frames(self.start, self.track_scale);
        match self.length {
            0 => start..u64::MAX,
            length => start..start.saturating_add(frames(length, self.movie_scale)),
        }
    }
}

/// Returns whether a file that begins with `head` is an MP4.
pub(super) fn is_mp4(head: &[u8]) -> bool {
    head.get(4..8) == Some(b"ftyp")
}

/// Reads the edits of all tracks that have one. A track whose boxes are damaged has none here; the
/// reader of the audio reports the damage.
pub(super) fn edits(source: &mut (impl Read + Seek + ?Sized)) -> Result<Vec<Edit>> {
    let movie = read_movie(source)?;
    let movie_scale = find(&movie, &[b"mvhd"]).and_then(number).unwrap_or(0);
    let edits = boxes(&movie)
        .filter(|(kind, _)| *kind == b"trak")
        .filter_map(|(_, track)| track_edit(track, movie_scale));
    Ok(edits.collect())
}

fn track_edit(track: &[u8], movie_scale: u32) -> Option<Edit> {
    let (length, start) = first_edit(find(track, &[b"edts", b"elst"])?)?;
    Some(Edit {
        track: number(find(track, &[b"tkhd"])?)?,
        start,
        track_scale: number(find(track, &[b"mdia", b"mdhd"])?)?,
        length,
        movie_scale,
    })
}

/// Returns the content of the box `moov`, empty if the file has none.
fn read_movie(source: &mut (impl Read + Seek + ?Sized)) -> Result<Vec<u8>> {
    source.rewind()?;
    let mut offset = 0u64;
    let mut head = vec![];
    let mut content = vec![];
    loop {
        head.clear();
        source.take(16).read_to_end(&mut head)?;
        let Some(header) = BoxHeader::parse(&head) else {
            return Ok(content);
        };
        let content_start = header.content_start as u64;
        if header.kind == b"moov" {
            source.seek(SeekFrom::Start(offset + content_start))?;
            source
                .take(header.size.saturating_sub(content_start))
                .read_to_end(&mut content)?;
            return Ok(content);
        }
        let Some(next) = offset.checked_add(header.size) else {
            return Ok(content);
        };
        offset = source.seek(SeekFrom::Start(next))?;
    }
}

/// The header of a box.
struct BoxHeader<'a> {
    kind: &'a [u8; 4],
    /// The size of the box with its header, in bytes; `u64::MAX` if it extends to the end.
    size: u64,
    /// The offset of the content in the box, in bytes.
    content_start: usize,
}

impl BoxHeader<'_> {
    fn parse(bytes: &[u8]) -> Option<BoxHeader<'_>> {
        let short_size = be_u32(bytes)?;
        let kind = bytes.get(4..8)?.first_chunk()?;
        let (size, content_start) = match short_size {
            0 => (u64::MAX, 8),
            1 => (be_u64(bytes.get(8..16)?)?, 16),
            size => (size as u64, 8),
        };
        (size >= content_start as u64).then_some(BoxHeader {
            kind,
            size,
            content_start,
        })
    }
}

/// Iterates over the kinds and contents of consecutive boxes, up to one that is damaged.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let header = BoxHeader::parse(bytes)?;
        let end = usize::try_from(header.size)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let content = bytes.get(header.content_start..end)?;
        bytes = &bytes[end..];
        Some((header.kind, content))
    })
}

/// Returns the content of the box that is reached through a path of kinds.
fn find<'a>(bytes: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    let mut content = bytes;
    for kind in path {
        (_, content) = boxes(content).find(|(k, _)| k == kind)?;
    }
    Some(content)
}

/// Returns the time scale of `mvhd` or `mdhd`, or the track of `tkhd`: each follows two times of 4
/// or (version 1) 8 bytes.
fn number(content: &[u8]) -> Option<u32> {
    let offset = if *content.first()? == 1 { 20 } else { 12 };
    be_u32(content.get(offset..)?)
}

/// Returns the length and the start of the first edit in `elst` that is not a pause.
fn first_edit(content: &[u8]) -> Option<(u64, u64)> {
    let is_long = *content.first()? == 1;
    let entry_size = if is_long { 20 } else { 12 };
    let edit = |entry: &[u8]| {
        let (length, start) = if is_long {
            (be_u64(entry)?, be_u64(entry.get(8..)?)? as i64)
        } else {
            (
                be_u32(entry)? as u64,
                be_u32(entry.get(4..)?)? as i32 as i64,
            )
        };
        let start = u64::try_from(start).ok()?; // negative: a pause
        Some((length, start))
    };
    content.get(8..)?.chunks_exact(entry_size).find_map(edit)
}

fn be_u32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.first_chunk()?))
}

fn be_u64(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn boxed(kind: &[u8], content: &[&[u8]]) -> Vec<u8> {
        let content = content.concat();
        [&(content.len() as u32 + 8).to_be_bytes(), kind, &content].concat()
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// Returns an MP4 with a track 7 at 16 kHz, times in milliseconds: a pause, then 2 seconds from
    /// sample 1024.
    fn file() -> Vec<u8> {
        let edits = words(&[0, 2, 500, u32::MAX, 1 << 16, 2000, 1024, 1 << 16]);
        let elst = boxed(b"elst", &[&edits]);
        let edts = boxed(b"edts", &[&elst]);
        let tkhd = boxed(b"tkhd", &[&words(&[0, 0, 0, 7])]);
        let mdhd = boxed(b"mdhd", &[&words(&[0, 0, 0, 16_000])]);
        let mdia = boxed(b"mdia", &[&mdhd]);
        let trak = boxed(b"trak", &[&tkhd, &edts, &mdia]);
        let mvhd = boxed(b"mvhd", &[&words(&[0, 0, 0, 1000])]);
        let moov = boxed(b"moov", &[&mvhd, &trak]);
        let ftyp = boxed(b"ftyp", &[b"M4A "]);
        let mdat = boxed(b"mdat", &[&[0; 99]]);
        [ftyp, mdat, moov].concat()
    }

    #[test]
    fn the_first_edit_that_is_heard() {
        let edit = |length| Edit {
            track: 7,
            start: 1024,
            track_scale: 16_000,
            length,
            movie_scale: 1000,
        };
        let found = edits(&mut Cursor::new(file())).unwrap();
        assert_eq!(found, [edit(2000)]);
        assert_eq!(found[0].frames(16_000), 1024..33_024);
        assert_eq!(edit(0).frames(8_000), 512..u64::MAX);
    }

    #[test]
    fn every_cut_and_every_wrong_size_ends() {
        let whole = file();
        for at in 0..whole.len() {
            assert!(edits(&mut Cursor::new(&whole[..at])).unwrap().len() <= 1);
            for byte in [0, 1, 255] {
                let mut other = whole.clone();
                other[at] = byte;
                assert!(edits(&mut Cursor::new(other)).unwrap().len() <= 1);
            }
        }
    }
}
