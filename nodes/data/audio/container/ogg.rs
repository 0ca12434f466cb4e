//! Ogg (RFC 3533): several streams, one after the other, as when files are concatenated.
use super::read_at;
use crate::Result;
use crate::data::audio::unsupported::chained_error;
use symphonia::core::io::MediaSource;

/// The length of a page's header without its table of segments.
const PAGE_HEADER: u64 = 27;

/// Flag of a page that begins a stream.
const BEGINS: u8 = 2;

/// The most streams side by side.
const MAX_STREAMS: usize = 32;

/// How far from the end of the file the last page is looked for: no page is longer.
const WINDOW: u64 = 66 << 10;

pub(super) fn is_ogg(head: &[u8]) -> bool {
    head.starts_with(b"OggS")
}

/// Checks that the last pages belong to a stream that begins at the start of the file. A stream of
/// the same number that begins earlier is only found when the file is decoded.
pub(super) fn check(source: &mut dyn MediaSource, length: u64) -> Result<()> {
    let mut serials = vec![];
    let mut offset = 0;
    while serials.len() < MAX_STREAMS {
        let page = read_at(source, offset, PAGE_HEADER + 255)?;
        let Some(serial) = serial(&page).filter(|_| page[5] & BEGINS != 0) else {
            break;
        };
        serials.push(serial);
        let segments = page[26] as usize;
        let table = page.iter().skip(PAGE_HEADER as usize).take(segments);
        let content: u64 = table.map(|length| *length as u64).sum();
        offset += PAGE_HEADER + segments as u64 + content;
    }
    let tail_start = length.saturating_sub(WINDOW);
    let tail = read_at(source, tail_start, WINDOW)?;
    let mut last = None;
    for (position, page) in (tail_start..).zip(tail.windows(PAGE_HEADER as usize)) {
        let Some(serial) = serial(page) else {
            continue;
        };
        if page[5] & BEGINS != 0 && position >= offset {
            return Err(chained_error());
        }
        last = Some(serial);
    }
    match last {
        Some(last) if !serials.is_empty() && !serials.contains(&last) => Err(chained_error()),
        _ => Ok(()),
    }
}

/// Returns the number of the stream that a page belongs to.
fn serial(page: &[u8]) -> Option<u32> {
    let is_page = page.starts_with(b"OggS\0") && page.len() >= PAGE_HEADER as usize;
    is_page.then(|| u32::from_le_bytes([page[14], page[15], page[16], page[17]]))
}

#[cfg(test)]
mod tests {
    use super::super::tests::samples;
    use crate::data::audio::lengths;
    use crate::data::audio::piece::Piece;
    use crate::data::audio::tests::shipped;
    use std::io::Cursor;
    use std::path::Path;

    #[test]
    fn chained_streams_are_named_before_anything_is_decoded() {
        let vorbis = std::fs::read(shipped("vorbis.ogg")).unwrap();
        let flac = std::fs::read(shipped("flac.ogg")).unwrap();
        assert!(samples(&vorbis).is_ok() && samples(&flac).is_ok());
        for chained in [[&vorbis[..], &flac].concat(), [&flac[..], &vorbis].concat()] {
            let source = Box::new(Cursor::new(chained));
            let error = lengths(Path::new("x"), source, &Piece::default()).err();
            let error = error.expect("an error").to_string();
            assert!(error.contains("an Ogg file of several streams"), "{error}");
        }
    }
}
