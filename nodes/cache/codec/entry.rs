//! Encodes and decodes the values of one layer of one row.
//!
//! ```text
//! f32, f16, bf16      the values, little-endian
//! int8, a frame       a scale f32 for each frame, then a byte q for each value: x ≈ q · scale
//! int8, a channel     a scale f32 for each channel, then the same
//! multi-codebook      a byte for each frame and book
//! top-k               the largest logits of each frame, see [`top_k`]
//! ```
//!
//! A scale is the greatest |x| that it is for, divided by 127.
mod int8;
mod top_k;

use super::Scale;
use crate::Result;
use crate::data::entry::Entry;
use crate::kmeans::residual::Codebooks;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use std::sync::Arc;

/// What is wrong with an entry that no codec stores.
pub(in crate::cache) const NOT_FINITE: &str =
    "a value is not finite; look at the audio and the model's weights";

/// The codec of one layer.
#[derive(Clone, Debug)]
pub(in crate::cache) enum EntryCodec {
    F32,
    F16,
    Bf16,
    Int8(Scale),
    MultiCodebook(Arc<Codebooks>),
    /// So many of a frame's logits.
    TopK(u32),
}

/// The bytes of an entry as they are stored.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::cache) struct Encoded {
    pub(in crate::cache) frames: u32,
    pub(in crate::cache) width: u32,
    pub(in crate::cache) bytes: Vec<u8>,
}

impl EntryCodec {
    /// Returns the number of bytes of an entry; `None` if it has more than can be counted.
    pub(in crate::cache) fn bytes(&self, frames: u32, width: u32) -> Option<u64> {
        let sections = self.sections(frames, width)?;
        sections.into_iter().try_fold(0u64, u64::checked_add)
    }

    /// Returns the number of columns in which a part stores entries.
    pub(in crate::cache) fn columns(&self) -> usize {
        match self {
            EntryCodec::TopK(_) => 3,
            _ => 1,
        }
    }

    /// Returns the bytes of an entry in each column of a part, 0 for columns that there are not;
    /// `None` if they are more than can be counted.
    pub(in crate::cache) fn sections(&self, frames: u32, width: u32) -> Option<[u64; 3]> {
        let values = u64::from(frames).checked_mul(width.into())?;
        let bytes = match self {
            EntryCodec::F32 => values.checked_mul(4),
            EntryCodec::F16 | EntryCodec::Bf16 => values.checked_mul(2),
            EntryCodec::Int8(Scale::Frame) => values.checked_add(4 * u64::from(frames)),
            EntryCodec::Int8(Scale::Channel) if frames == 0 => Some(0),
            EntryCodec::Int8(Scale::Channel) => values.checked_add(4 * u64::from(width)),
            EntryCodec::MultiCodebook(books) => u64::from(frames).checked_mul(books.count() as u64),
            EntryCodec::TopK(k) => return top_k::sections(frames, width, *k),
        };
        Some([bytes?, 0, 0])
    }

    /// Whether values come back as they were.
    pub(in crate::cache) fn is_exact(&self) -> bool {
        matches!(self, EntryCodec::F32)
    }

    /// Encodes an entry.
    ///
    /// # Errors
    /// It is not frames x width finite values, or has one that the codec cannot store: the message
    /// names the codec to take.
    pub(in crate::cache) fn encode(&self, entry: &Entry) -> Result<Encoded> {
        let width = entry
            .width()
            .ok_or("a row of hidden states is not frames x width floats")?;
        let values = &entry.values;
        if !entry.is_finite() {
            return Err(NOT_FINITE.into());
        }
        let bytes = match self {
            EntryCodec::F32 => little_endian(values, |x| x.to_le_bytes()),
            EntryCodec::F16 => encode_f16(values)?,
            EntryCodec::Bf16 => {
                let mut halves = vec![bf16::ZERO; values.len()];
                halves.convert_from_f32_slice(values);
                little_endian(&halves, |x| x.to_le_bytes())
            }
            EntryCodec::Int8(scale) => int8::encode(entry, width as usize, *scale),
            EntryCodec::MultiCodebook(books) if values.is_empty() => {
                vec![0; entry.frames as usize * books.count()]
            }
            EntryCodec::MultiCodebook(books) if books.width() != width as usize => {
                let found = books.width();
                return Err(format!("its codebooks are {found} wide, the row {width}").into());
            }
            EntryCodec::MultiCodebook(books) => books.encode(values)?,
            EntryCodec::TopK(k) => top_k::encode(entry, width, *k),
        };
        Ok(Encoded {
            frames: entry.frames,
            width,
            bytes,
        })
    }

    /// Returns an entry as it is read back; as it is if it has a value that is not finite, which is
    /// never stored.
    ///
    /// # Errors
    /// Those of [`EntryCodec::encode`].
    pub(in crate::cache) fn round(&self, entry: Entry) -> Result<Entry> {
        if self.is_exact() || !entry.is_finite() {
            return Ok(entry);
        }
        let row = self.encode(&entry)?;
        Ok(self.decode(row.frames, row.width, &row.bytes))
    }

    /// Decodes the bytes of frames x width values, of which there are [`EntryCodec::bytes`].
    pub(in crate::cache) fn decode(&self, frames: u32, width: u32, bytes: &[u8]) -> Entry {
        let values = match self {
            EntryCodec::F32 => {
                let (words, _) = bytes.as_chunks::<4>();
                words.iter().map(|word| f32::from_le_bytes(*word)).collect()
            }
            EntryCodec::F16 => {
                let (words, _) = bytes.as_chunks::<2>();
                let halves: Vec<f16> = words.iter().map(|word| f16::from_le_bytes(*word)).collect();
                let mut values = vec![0.0; halves.len()];
                halves.convert_to_f32_slice(&mut values);
                values
            }
            EntryCodec::Bf16 => {
                let (words, _) = bytes.as_chunks::<2>();
                let words = words.iter();
                words
                    .map(|word| f32::from_bits(u32::from(u16::from_le_bytes(*word)) << 16))
                    .collect()
            }
            EntryCodec::Int8(scale) => int8::decode(bytes, frames as usize, width as usize, *scale),
            EntryCodec::MultiCodebook(_) if width == 0 => vec![],
            EntryCodec::MultiCodebook(books) => books.decode(bytes),
            EntryCodec::TopK(k) => top_k::decode(bytes, frames, width, *k),
        };
        Entry { frames, values }
    }
}

fn encode_f16(values: &[f32]) -> Result<Vec<u8>> {
    let mut halves = vec![f16::ZERO; values.len()];
    halves.convert_from_f32_slice(values);
    if let Some(index) = halves.iter().position(|half| half.is_infinite()) {
        let value = values[index];
        return Err(format!(
            "the value {value} is beyond f16, whose largest is 65504; take the codec \"bf16\" or \
             \"int8\""
        )
        .into());
    }
    Ok(little_endian(&halves, |half| half.to_le_bytes()))
}

/// Returns the bytes of all values.
pub(in crate::cache) fn little_endian<T: Copy, const N: usize>(
    values: &[T],
    bytes_of: fn(T) -> [u8; N],
) -> Vec<u8> {
    let mut bytes = vec![0; N * values.len()];
    let (words, _) = bytes.as_chunks_mut::<N>();
    for (word, value) in words.iter_mut().zip(values) {
        *word = bytes_of(*value);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kmeans::residual::tests::fitted;
    use compute::random::noise;

    const WIDTH: u32 = 12;

    fn entry(frames: u32) -> Entry {
        Entry {
            frames,
            values: noise("entry", (frames * WIDTH) as usize),
        }
    }

    /// Returns all codecs, each with the greatest relative error of a row of noise.
    fn codecs() -> Vec<(EntryCodec, f64)> {
        let (_, books, _) = fitted(4, WIDTH as usize);
        vec![
            (EntryCodec::F32, 0.0),
            (EntryCodec::F16, 4e-4),
            (EntryCodec::Bf16, 3e-3),
            (EntryCodec::Int8(Scale::Frame), 1e-2),
            (EntryCodec::Int8(Scale::Channel), 1e-2),
            (EntryCodec::MultiCodebook(Arc::new(books)), 0.9),
            (EntryCodec::TopK(WIDTH), 0.0),
        ]
    }

    #[test]
    fn rows_come_back_as_near_as_the_codec_is_fine() {
        for (codec, error) in codecs() {
            for frames in [0, 1, 40] {
                let entry = entry(frames);
                let encoded = codec.encode(&entry).unwrap();
                let bytes = codec.bytes(frames, encoded.width);
                assert_eq!(bytes, Some(encoded.bytes.len() as u64), "{codec:?}");
                let decoded = codec.decode(encoded.frames, encoded.width, &encoded.bytes);
                assert_eq!(decoded.frames, frames);
                assert_eq!(decoded.values.len(), entry.values.len());
                let pairs = entry.values.iter().zip(&decoded.values);
                let left: f64 = pairs.map(|(x, y)| (*x as f64 - *y as f64).powi(2)).sum();
                let whole: f64 = entry.values.iter().map(|&x| (x as f64).powi(2)).sum();
                assert!(left.sqrt() <= error * whole.sqrt(), "{codec:?}");
                if codec.is_exact() {
                    assert_eq!(decoded, entry);
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_stored_is_an_error() {
        let entry_with = |value: f32| {
            let mut entry = entry(3);
            entry.values[17] = value;
            entry
        };
        let error = |codec: &EntryCodec, value: f32| {
            let result = codec.encode(&entry_with(value));
            result.err().map(|error| error.to_string())
        };
        let too_large = error(&EntryCodec::F16, 65520.0).unwrap();
        assert!(too_large.contains("65520 is beyond f16"), "{too_large}");
        assert_eq!(error(&EntryCodec::F16, 65519.0), None);
        for (codec, _) in codecs() {
            for value in [f32::NAN, f32::INFINITY] {
                let message = error(&codec, value).unwrap();
                assert!(message.contains("not finite"), "{codec:?}: {message}");
            }
        }
        let tiny = Entry {
            frames: 1,
            values: vec![1e-45, 0.0],
        };
        let int8 = EntryCodec::Int8(Scale::Frame);
        let encoded = int8.encode(&tiny).unwrap();
        assert_eq!(int8.decode(1, 2, &encoded.bytes).values, [0.0, 0.0]);
    }
}
