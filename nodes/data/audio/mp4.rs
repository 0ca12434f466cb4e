//! Where the audio of an MP4 (M4A) begins and ends: its edit list (ISO/IEC 14496-12, 8.6.6), which cuts an AAC encoder's
//! delay and padding. symphonia plays tracks whole.
use crate::Result;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

/// The first edit of a track that is not a pause.
#[derive(Debug, PartialEq)]
pub struct Edit {
    pub track: u32,
    /// In the track's time scale.
    start: u64,
    track_scale: u32,
    /// In the movie's time scale; 0: to the end.
    length: u64,
    movie_scale: u32,
}

impl Edit {
    /// Which frames of the track are heard.
    pub fn frames(&self, rate: u32) -> Range<u64> {
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

pub fn is_mp4(head: &[u8]) -> bool {
    head.get(4..8) == Some(b"ftyp")
}

/// Of all tracks that have one. What cannot be understood has none: the reader of the tracks will say so.
pub fn edits(source: &mut (impl Read + Seek + ?Sized)) -> Result<Vec<Edit>> {
    let movie = movie(source)?;
    let movie_scale = find(&movie, &[b"mvhd"]).and_then(number).unwrap_or(0);
    let of_track = |(_, track)| {
        let (length, start) = first(find(track, &[b"edts", b"elst"])?)?;
        let track_scale = number(find(track, &[b"mdia", b"mdhd"])?)?;
        Some(Edit {
            track: number(find(track, &[b"tkhd"])?)?,
            start,
            track_scale,
            length,
            movie_scale,
        })
    };
    Ok(boxes(&movie)
        .filter(|(kind, _)| *kind == b"trak")
        .filter_map(of_track)
        .collect())
}

/// The content of the box `moov`, empty if there is none.
fn movie(source: &mut (impl Read + Seek + ?Sized)) -> Result<Vec<u8>> {
    source.rewind()?;
    let (mut at, mut head, mut content) = (0u64, vec![], vec![]);
    loop {
        head.clear();
        source.take(16).read_to_end(&mut head)?;
        let Some((kind, size, begin)) = header(&head) else {
            return Ok(content);
        };
        if kind == b"moov" {
            source.seek(SeekFrom::Start(at + begin as u64))?;
            source
                .take(size.saturating_sub(begin as u64))
                .read_to_end(&mut content)?;
            return Ok(content);
        }
        let Some(next) = at.checked_add(size) else {
            return Ok(content);
        };
        at = source.seek(SeekFrom::Start(next))?;
    }
}

/// Kind, size (`u64::MAX`: to the end), and where the content begins.
fn header(bytes: &[u8]) -> Option<(&[u8; 4], u64, usize)> {
    let (size, kind) = (
        bytes.first_chunk().copied().map(u32::from_be_bytes)?,
        bytes.get(4..8)?.first_chunk()?,
    );
    let (size, begin) = match size {
        0 => (u64::MAX, 8),
        1 => (
            bytes
                .get(8..16)?
                .first_chunk()
                .copied()
                .map(u64::from_be_bytes)?,
            16,
        ),
        size => (size as u64, 8),
    };
    (size >= begin as u64).then_some((kind, size, begin))
}

/// The boxes that stand one behind the other, up to one that is damaged.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (kind, size, begin) = header(bytes)?;
        let end = usize::try_from(size).unwrap_or(usize::MAX).min(bytes.len());
        let content = bytes.get(begin..end)?;
        bytes = &bytes[end..];
        Some((kind, content))
    })
}

/// The box at the end of a way of kinds.
fn find<'a>(bytes: &'a [u8], way: &[&[u8; 4]]) -> Option<&'a [u8]> {
    way.iter().try_fold(bytes, |bytes, kind| {
        boxes(bytes)
            .find(|(k, _)| k == kind)
            .map(|(_, content)| content)
    })
}

/// Of `mvhd` and `mdhd` the time scale, of `tkhd` the track: all stand behind two times of 4 or (version 1) 8 bytes.
fn number(content: &[u8]) -> Option<u32> {
    let at = if *content.first()? == 1 { 20 } else { 12 };
    content
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u32::from_be_bytes)
}

/// Length and start of the first edit of `elst` that is not a pause.
fn first(content: &[u8]) -> Option<(u64, u64)> {
    let long = *content.first()? == 1;
    let edit = |entry: &[u8]| {
        let (length, start) = if long {
            (
                u64::from_be_bytes(*entry.first_chunk()?),
                i64::from_be_bytes(*entry.get(8..)?.first_chunk()?),
            )
        } else {
            (
                u32::from_be_bytes(*entry.first_chunk()?) as u64,
                i32::from_be_bytes(*entry.get(4..)?.first_chunk()?) as i64,
            )
        };
        Some((length, u64::try_from(start).ok()?))
    };
    content
        .get(8..)?
        .chunks_exact(if long { 20 } else { 12 })
        .find_map(edit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn boxed(kind: &[u8], content: &[&[u8]]) -> Vec<u8> {
        let content = content.concat();
        [&(content.len() as u32 + 8).to_be_bytes(), kind, &content].concat()
    }
    fn numbers(numbers: &[u32]) -> Vec<u8> {
        numbers.iter().flat_map(|n| n.to_be_bytes()).collect()
    }
    /// A track 7 at 16 kHz, times in milliseconds: a pause, then 2 seconds from sample 1024.
    fn file() -> Vec<u8> {
        let elst = boxed(
            b"elst",
            &[&numbers(&[
                0,
                2,
                500,
                u32::MAX,
                1 << 16,
                2000,
                1024,
                1 << 16,
            ])],
        );
        let mdia = boxed(b"mdia", &[&boxed(b"mdhd", &[&numbers(&[0, 0, 0, 16_000])])]);
        let track = boxed(
            b"trak",
            &[
                &boxed(b"tkhd", &[&numbers(&[0, 0, 0, 7])]),
                &boxed(b"edts", &[&elst]),
                &mdia,
            ],
        );
        let movie = boxed(
            b"moov",
            &[&boxed(b"mvhd", &[&numbers(&[0, 0, 0, 1000])]), &track],
        );
        [
            boxed(b"ftyp", &[b"M4A "]),
            boxed(b"mdat", &[&[0; 99]]),
            movie,
        ]
        .concat()
    }

    #[test]
    fn the_first_edit_that_is_heard() {
        let edits = edits(&mut Cursor::new(file())).unwrap();
        assert_eq!(
            edits,
            [Edit {
                track: 7,
                start: 1024,
                track_scale: 16_000,
                length: 2000,
                movie_scale: 1000
            }]
        );
        assert_eq!(edits[0].frames(16_000), 1024..33_024);
        assert_eq!(
            Edit {
                length: 0,
                track: 7,
                ..edits[0]
            }
            .frames(8_000),
            512..u64::MAX
        );
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
