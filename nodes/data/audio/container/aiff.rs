//! AIFF and AIFF-C.
use super::riff::{ByteOrder, CHUNK_HEADER, HEADER, audio_bytes, chunks};
use super::{Correction, Patch, read_at};
use crate::Result;
use symphonia::core::io::MediaSource;

const ORDER: ByteOrder = ByteOrder::Big;

/// The numbers `offset` and `block size` that precede the samples in their chunk.
const SOUND_HEADER: u64 = 8;

pub(super) fn is_aiff(head: &[u8]) -> bool {
    head.starts_with(b"FORM") && matches!(head.get(8..12), Some(b"AIFF" | b"AIFC"))
}

/// Sets the sizes of the file and of its samples by the length of the file.
pub(super) fn correction(source: &mut dyn MediaSource, length: u64) -> Result<Correction> {
    let head = read_at(source, 0, HEADER)?;
    let outer = ORDER.number(&head, 4) as u64;
    let mut patches = vec![];
    let mut end = HEADER;
    for chunk in chunks(source, HEADER, ORDER, None)? {
        let mut size = chunk.size as u64;
        if &chunk.name == b"SSND" {
            // A size that only counts the two numbers is one that was not filled in.
            let declared = if size <= SOUND_HEADER { 0 } else { size };
            size = audio_bytes(declared, outer, chunk.start, length);
            patches.push(Patch {
                offset: chunk.start - 4,
                bytes: u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes().into(),
            });
        }
        if chunk.start + size > length {
            // The rest of an incomplete file, or bytes that are no chunk.
            if &chunk.name == b"SSND" {
                let found = length - chunk.start.min(length);
                return Err(format!("it ends after {found} of {size} bytes of samples").into());
            }
            break;
        }
        end = chunk.start + size;
        if &chunk.name == b"SSND" && size != chunk.size as u64 {
            break; // what follows is samples
        }
    }
    patches.push(Patch {
        offset: 4,
        bytes: u32::try_from(end - CHUNK_HEADER)
            .unwrap_or(u32::MAX)
            .to_be_bytes()
            .into(),
    });
    Ok(Correction {
        patches,
        end: Some(end),
        frames: None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::samples;

    /// Returns a file of 16-bit samples 1 to `count` with these sizes of file and samples.
    fn aiff(count: u16, outer: u32, sound: u32) -> Vec<u8> {
        let mut bytes = b"FORM....AIFFCOMM\0\0\0\x12\0\x01\0\0\0\0\0\x10".to_vec();
        bytes.extend(b"\x40\x0c\xfa\0\0\0\0\0\0\0SSND....\0\0\0\0\0\0\0\0"); // 16 kHz
        bytes[4..8].copy_from_slice(&outer.to_be_bytes());
        bytes[42..46].copy_from_slice(&sound.to_be_bytes());
        bytes[22..26].copy_from_slice(&(count as u32).to_be_bytes());
        bytes.extend((1..=count).flat_map(u16::to_be_bytes));
        bytes
    }

    #[test]
    fn sizes_that_were_not_filled_in() {
        let expected: Vec<f32> = (1..=1000).map(|x| x as f32 / 32_768.0).collect();
        let cases = [
            (2046, 2008), // right
            (0, 0),
            (0, 8),
            (0, 2008),
            (2038, 2008),
            (2054, 2008),
            (2046, 0),
            (46, 8),
            (u32::MAX, u32::MAX),
            (0x7fff_f02e, 0x7fff_f008),
        ];
        for (outer, sound) in cases {
            let found = samples(&aiff(1000, outer, sound));
            assert_eq!(found.as_ref(), Ok(&expected), "{outer} {sound}");
        }
        let tail = [aiff(1000, 2056, 2008), b"ANNO\0\0\0\x02ab".to_vec()].concat();
        assert_eq!(samples(&tail), Ok(expected.clone()));
        let garbage = [aiff(1000, 2046, 2008), vec![0x5a; 77]].concat();
        assert_eq!(samples(&garbage), Ok(expected));
        let error = samples(&aiff(1000, 4046, 4008)).unwrap_err();
        assert!(
            error.contains("it ends after 2008 of 4008 bytes"),
            "{error}"
        );
    }
}
