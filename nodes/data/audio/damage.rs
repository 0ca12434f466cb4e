//! Tests that incomplete and damaged files are errors, and that files of other formats are named.
use super::piece::Piece;
use super::tests::{header, read_and_remove, shipped, spec, temporary, write};
use super::{lengths, read, read_audio};
use rayon::prelude::*;
use std::io::Cursor;
use std::path::Path;

#[test]
fn half_a_file_is_an_error() {
    let path = write("cut", spec(1, 16_000, 16), &[7i16; 5000]);
    let whole = std::fs::read(&path).unwrap();
    let cases = [
        (whole.len() - 2, "ends after 4999 of 5000 samples"),
        (2000, "cannot be read"),
        (20, "cannot be read"),
        (0, "cannot be read"),
    ];
    for (length, message) in cases {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = read_audio(&path).unwrap_err().to_string();
        let start = format!("{} cannot be read: ", path.display());
        assert!(error.starts_with(&start), "{error}");
        assert!(error.contains(message), "{error}");
    }
    std::fs::remove_file(&path).unwrap();
    assert!(read_audio(&path).is_err());
    assert!(header(&path).is_err());
}

#[test]
fn a_stream_of_unknown_length_is_read_to_its_end() {
    let path = write("endless", spec(1, 16_000, 16), &[7i16; 5000]);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4..8].fill(0xff); // the length of the file
    bytes[40..44].fill(0xff); // the length of the data
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(header(&path).unwrap(), (5000, 5000));
    assert_eq!(read_and_remove(&path).len(), 5000);
}

/// Returns a FLAC file of 16 zeros at 16 kHz, 16 bits (RFC 9639), whose header claims `claimed`
/// samples.
fn flac(claimed: u8) -> Vec<u8> {
    let mut bytes = b"fLaC\x80\0\0\x22\0\x10\0\x10\0\0\0\0\0\0\x03\xe8\0\xf0\0\0\0".to_vec();
    bytes.push(claimed);
    bytes.extend([0; 16]); // no MD5
    bytes.extend(frame(0));
    bytes
}

/// Returns a FLAC frame of 16 zeros, in one constant subframe.
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
            let carry = sum >> (bits - 1) & 1;
            sum = sum << 1 ^ (carry * polynomial);
        }
    }
    sum & ((1 << bits) - 1)
}

#[test]
fn a_damaged_flac_is_an_error() {
    let path = temporary("damaged");
    let read = |bytes: Vec<u8>| {
        std::fs::write(&path, bytes).unwrap();
        read_audio(&path).map_err(|e| e.to_string())
    };
    let intact = [flac(48), frame(1), frame(2)].concat();
    assert_eq!(read(intact.clone()), Ok(vec![0.0; 48]));
    assert!(read([flac(48), frame(1)].concat()).is_err());

    let mut damaged = intact.clone();
    let second_end = damaged.len() - frame(2).len();
    damaged[second_end - 1] ^= 1; // in the CRC-16 of the second frame
    assert!(read(damaged.clone()).is_err());
    damaged[25] = 0; // the header no longer declares the number of samples
    let error = read(damaged).unwrap_err();
    assert!(error.contains("damaged after 16 samples"), "{error}");

    let mut other_sum = intact;
    other_sum[30] = 1; // in the MD5
    assert!(read(other_sum).unwrap_err().contains("MD5"));
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn the_error_names_a_format_that_cannot_be_read() {
    let raw = temporary("raw").with_extension("g722");
    std::fs::write(&raw, [0x5a; 1000]).unwrap();
    let text = temporary("text");
    std::fs::write(&text, "no audio at all").unwrap();
    let empty = temporary("empty");
    std::fs::write(&empty, "").unwrap();
    let pointer = temporary("pointer");
    std::fs::write(&pointer, "version https://git-lfs.github.com/spec/v1\n").unwrap();
    let convert =
        "which is not read; convert it, for instance with `ffmpeg -i IN -ar 16000 OUT.flac`";
    let none = "it is none of FLAC, WAV, AIFF, CAF, MP3, Ogg Vorbis and M4A";
    let cases = [
        (shipped("mono_c0.opus"), format!("it is Opus, {convert}")),
        (shipped("stereo.opus"), format!("it is Opus, {convert}")),
        (
            shipped("stereo.sph"),
            format!("it is NIST SPHERE, {convert}"),
        ),
        (raw.clone(), format!("it is G.722, {convert}")),
        (text.clone(), none.to_owned()),
        (empty.clone(), "it is empty".to_owned()),
        (
            pointer.clone(),
            "it is a Git LFS pointer, not the file; fetch the file with `git lfs pull`".to_owned(),
        ),
    ];
    for (path, message) in cases {
        let expected = format!("{} cannot be read: {message}", path.display());
        assert_eq!(read_audio(&path).unwrap_err().to_string(), expected);
    }
    for path in [raw, text, empty, pointer] {
        std::fs::remove_file(path).unwrap();
    }
}

/// The checksum of a page of Ogg (RFC 3533).
fn ogg_checksum(page: &[u8]) -> u32 {
    let mut sum = 0u32;
    for byte in page {
        sum ^= (*byte as u32) << 24;
        for _ in 0..8 {
            sum = sum << 1 ^ (0x04c1_1db7 * (sum >> 31));
        }
    }
    sum
}

/// Returns the Vorbis file with another byte in the page of its codebooks, whose checksum is right.
fn vorbis(offset: usize, byte: u8) -> Vec<u8> {
    const PAGE: std::ops::Range<usize> = 58..3404;
    let mut bytes = std::fs::read(shipped("vorbis.ogg")).unwrap();
    let page = &mut bytes[PAGE];
    assert!(page.starts_with(b"OggS"));
    page[offset] = byte;
    page[22..26].fill(0);
    let sum = ogg_checksum(page);
    page[22..26].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The decoder panics on some of these; such a file is an error as any other.
#[test]
fn damaged_codebooks_are_errors() {
    assert!(read_bytes(vorbis(5, 0)).is_ok(), "the checksum is right");
    let offsets = (30..3346).step_by(7).chain([1119, 1187, 3212]);
    let cases: Vec<usize> = offsets.collect();
    let errors: Vec<String> = cases
        .into_par_iter()
        .flat_map_iter(|offset| [vorbis(offset, 0), vorbis(offset, 0xff)])
        .filter_map(|bytes| read_bytes(bytes).err())
        .collect();
    let caught = errors
        .iter()
        .filter(|e| *e == "x cannot be read: it is damaged");
    assert!(caught.count() >= 3);
}

#[test]
fn a_header_cannot_ask_for_more_memory_than_a_packet_needs() {
    let mut bytes = std::fs::read(shipped("pcm.caf")).unwrap();
    bytes[40..44].fill(0xff); // frames of a packet
    let error = read_bytes(bytes).unwrap_err();
    assert!(error.contains("a packet of 4294967295 samples"), "{error}");
}

/// Reads the length of a file and its samples.
fn read_bytes(bytes: Vec<u8>) -> Result<Vec<f32>, String> {
    let source = || Box::new(Cursor::new(bytes.clone()));
    let piece = Piece::default();
    let _ = lengths(Path::new("x"), source(), &piece);
    read(Path::new("x"), source(), &piece).map_err(|e| e.to_string())
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_refused() {
    for (path, kind) in [("/dev/zero", "a device or socket"), ("/", "a folder")] {
        let error = read_audio(Path::new(path)).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("{path} cannot be read: it is {kind}, not a file")
        );
    }
}
