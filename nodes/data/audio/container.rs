//! Corrects what headers say of sizes before a reader relies on it.
//!
//! Programs that write to a pipe cannot go back to fill in sizes, others are off by a chunk's
//! header, and some append tags that belong to no format. The samples are all there; the sizes are
//! replaced by those of the file, and bytes after the audio are cut off.
mod aiff;
mod caf;
mod flac;
mod ogg;
mod patched;
mod riff;
mod wav;

use crate::Result;
use patched::{Patch, Patched};
use std::io::{Read, Seek, SeekFrom};
use symphonia::core::io::MediaSource;

/// What a file is opened for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Purpose {
    /// Its length, for which the end of the file need not be read.
    Length,
    Samples,
}

/// A source whose sizes are right.
pub(super) struct Container {
    pub(super) source: Box<dyn MediaSource>,
    /// The frames of its audio, if the header's size field is too small to say it.
    pub(super) frames: Option<u64>,
}

/// What is to be read in place of a file's own bytes.
#[derive(Default)]
struct Correction {
    patches: Vec<Patch>,
    /// Where the file ends for its reader; `None` where it really ends.
    end: Option<u64>,
    frames: Option<u64>,
}

/// Corrects the sizes in `source`, which begins with `head`, as far as `purpose` needs it. The source
/// is rewound.
///
/// # Errors
/// The source cannot be read, or its header tells that no reader can read it.
pub(super) fn correct(
    mut source: Box<dyn MediaSource>,
    head: &[u8],
    purpose: Purpose,
) -> Result<Container> {
    let correction = match source.byte_len() {
        Some(length) => correction(&mut *source, head, length, purpose)?,
        None => Correction::default(),
    };
    source.rewind()?;
    let frames = correction.frames;
    if correction.patches.is_empty() && correction.end.is_none() {
        return Ok(Container { source, frames });
    }
    let patched = Patched::new(source, correction.patches, correction.end);
    Ok(Container {
        source: Box::new(patched),
        frames,
    })
}

fn correction(
    source: &mut dyn MediaSource,
    head: &[u8],
    length: u64,
    purpose: Purpose,
) -> Result<Correction> {
    if wav::is_wav(head) {
        wav::correction(source, length)
    } else if aiff::is_aiff(head) {
        aiff::correction(source, length)
    } else if caf::is_caf(head) {
        caf::correction(source, length)
    } else if ogg::is_ogg(head) {
        ogg::check(source, length)?;
        Ok(Correction::default())
    } else if purpose == Purpose::Samples {
        let end = flac::end(source, head, length)?;
        Ok(Correction {
            end,
            ..Correction::default()
        })
    } else {
        Ok(Correction::default())
    }
}

/// Reads up to `length` bytes from `offset` on; fewer at the end of the source.
fn read_at(source: &mut dyn MediaSource, offset: u64, length: u64) -> Result<Vec<u8>> {
    source.seek(SeekFrom::Start(offset))?;
    let mut bytes = vec![];
    source.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::data::audio::piece::Piece;
    use crate::data::audio::{lengths, read};
    use std::io::Cursor;
    use std::path::Path;

    /// Reads a file, whose header and packets must tell one length, and returns its samples.
    pub(in crate::data::audio) fn samples(bytes: &[u8]) -> Result<Vec<f32>, String> {
        let name = Path::new("x");
        let source = || Box::new(Cursor::new(bytes.to_vec()));
        let piece = Piece::default();
        let samples = read(name, source(), &piece).map_err(|e| e.to_string())?;
        let length = lengths(name, source(), &piece).map_err(|e| e.to_string())?;
        assert_eq!(length.row, samples.len() as u64);
        Ok(samples)
    }
}
