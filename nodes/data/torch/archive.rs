//! The zip archives of PyTorch 1.6 and later: `data.pkl`, and a record `data/KEY` of each storage.
//! Records lie uncompressed, so that a tensor is read by its place in the file.
use super::Fault;
use super::bytes::{Bytes, LONGEST};
use super::pickle;
use super::tensor::TorchTensor;
use super::values::Pickle;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek, SeekFrom};

const LOCAL: &[u8] = b"PK\x03\x04";
const ENTRY: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";
const END_64: &[u8] = b"PK\x06\x06";
const LOCATOR_64: &[u8] = b"PK\x06\x07";
/// An end without its comment.
const END_SIZE: usize = 22;
/// The longest directory; PyTorch writes some 100 bytes a record.
const LONGEST_DIRECTORY: u64 = 64 << 20;

/// How many bytes of a record are read at once to compare its checksum.
const PIECE: u64 = 1 << 20;

/// Whether a file begins as a zip archive.
pub(super) fn begins(start: &[u8]) -> bool {
    start.starts_with(LOCAL)
}

/// The records of an archive by name, without the folder that holds all of them.
pub(super) struct Archive {
    records: BTreeMap<String, Record>,
    size: u64,
    /// Records that are read in parts and whose checksums were compared.
    checked: BTreeSet<String>,
}

#[derive(Clone, Copy)]
struct Record {
    /// Where its local header begins.
    header: u64,
    bytes: u64,
    checksum: u32,
    is_stored: bool,
}

impl Record {
    fn compare(&self, name: &str, checksum: &flate2::Crc) -> Result<(), Fault> {
        if checksum.sum() == self.checksum {
            return Ok(());
        }
        Err(format!(
            "is damaged: the bytes of its record `{name}` are not those that were written (their \
             checksum differs)"
        ))
    }
}

impl Archive {
    /// Reads the directory of a file of `size` bytes.
    pub(super) fn read(file: &mut (impl Read + Seek), size: u64) -> Result<Archive, Fault> {
        let (start, length) = directory(file, size)?;
        if length > LONGEST_DIRECTORY || start.checked_add(length).is_none_or(|end| end > size) {
            return Err(cut_off());
        }
        let bytes = read_at(file, start, length)?;
        let mut records = BTreeMap::new();
        let mut rest = bytes.as_slice();
        while rest.starts_with(ENTRY) {
            let (name, record, after) = entry(rest).ok_or_else(cut_off)?;
            // All records are below one folder, which is called as the file was.
            if let Some((_, name)) = name.split_once('/') {
                records.insert(name.to_owned(), record);
            }
            rest = after;
        }
        let archive = Archive {
            records,
            size,
            checked: BTreeSet::new(),
        };
        if archive.records.keys().any(|name| name.starts_with("code/")) {
            return Err(
                "is a TorchScript archive, whose tensors are part of a program; save \
                        `model.state_dict()` with torch.save"
                    .into(),
            );
        }
        Ok(archive)
    }

    /// Runs `data.pkl`.
    pub(super) fn pickle(&self, file: &mut (impl Read + Seek)) -> Result<Pickle, Fault> {
        if let Some(record) = self
            .records
            .get("byteorder")
            .filter(|record| record.bytes < 16)
            && self.whole(file, "byteorder", *record)? != b"little"
        {
            return Err("holds big-endian numbers; save it on a little-endian machine".into());
        }
        let record = self.records.get("data.pkl");
        let record = *record.ok_or("is a zip archive, but not one of torch.save: no data.pkl")?;
        if record.bytes > LONGEST {
            return Err("holds too many values besides tensors".into());
        }
        let bytes = self.whole(file, "data.pkl", record)?;
        let ended = pickle::run(&mut Bytes::new(bytes.as_slice(), record.bytes))?;
        Ok(ended.pickle)
    }

    /// Reads a tensor.
    pub(super) fn read_tensor(
        &mut self,
        file: &mut (impl Read + Seek),
        tensor: &TorchTensor,
    ) -> Result<Vec<f32>, Fault> {
        let name = format!("data/{}", tensor.key);
        let record = self.records.get(&name);
        let record = *record.ok_or_else(|| format!("is damaged: it has no record `{name}`"))?;
        let place = self.place(file, &name, record)?;
        let range = tensor.bytes(record.bytes)?;
        if range == (0..record.bytes) {
            return tensor.decode(self.whole(file, &name, record)?);
        }
        self.check(file, &name, record)?;
        tensor.read(file, place, record.bytes)
    }

    /// Compares the checksum of a record of which tensors are parts, once.
    fn check(
        &mut self,
        file: &mut (impl Read + Seek),
        name: &str,
        record: Record,
    ) -> Result<(), Fault> {
        if self.checked.contains(name) {
            return Ok(());
        }
        let place = self.place(file, name, record)?;
        let mut checksum = flate2::Crc::new();
        for start in (0..record.bytes).step_by(PIECE as usize) {
            let bytes = read_at(file, place + start, PIECE.min(record.bytes - start))?;
            checksum.update(&bytes);
        }
        record.compare(name, &checksum)?;
        self.checked.insert(name.to_owned());
        Ok(())
    }

    /// Reads a record and compares its checksum.
    fn whole(
        &self,
        file: &mut (impl Read + Seek),
        name: &str,
        record: Record,
    ) -> Result<Vec<u8>, Fault> {
        let place = self.place(file, name, record)?;
        let bytes = read_at(file, place, record.bytes)?;
        let mut checksum = flate2::Crc::new();
        checksum.update(&bytes);
        record.compare(name, &checksum)?;
        Ok(bytes)
    }

    /// Returns where the bytes of a record begin. They are within the file.
    fn place(
        &self,
        file: &mut (impl Read + Seek),
        name: &str,
        record: Record,
    ) -> Result<u64, Fault> {
        if !record.is_stored {
            return Err(format!(
                "its record `{name}` is compressed, which torch.save does not do; load it with \
                 torch.load and save it again"
            ));
        }
        let header = read_at(file, record.header, 30)?;
        if !header.starts_with(LOCAL) {
            return Err(cut_off());
        }
        let name_and_extra = u64::from(u16_at(&header, 26)) + u64::from(u16_at(&header, 28));
        let place = record.header + 30 + name_and_extra;
        let end = place.checked_add(record.bytes);
        if end.is_none_or(|end| end > self.size) {
            return Err(cut_off());
        }
        Ok(place)
    }
}

/// Returns the records' directory: where it begins, and its length.
fn directory(file: &mut (impl Read + Seek), size: u64) -> Result<(u64, u64), Fault> {
    let tail_length = size.min(u64::from(u16::MAX) + END_SIZE as u64);
    let tail = read_at(file, size - tail_length, tail_length)?;
    let end = tail
        .windows(END_SIZE)
        .rposition(|part| part.starts_with(END));
    let end = end.ok_or_else(cut_off)?;
    let record = &tail[end..];
    let small = (u64::from(u32_at(record, 16)), u64::from(u32_at(record, 12)));
    let locator = end.checked_sub(20).map(|start| &tail[start..end]);
    let Some(locator) = locator.filter(|locator| locator.starts_with(LOCATOR_64)) else {
        return Ok(small);
    };
    let place = u64_at(locator, 8);
    if place.checked_add(56).is_none_or(|end| end > size) {
        return Err(cut_off());
    }
    let record = read_at(file, place, 56)?;
    if !record.starts_with(END_64) {
        return Err(cut_off());
    }
    Ok((u64_at(&record, 48), u64_at(&record, 40)))
}

/// Returns the first entry of a directory, and what follows it.
fn entry(bytes: &[u8]) -> Option<(String, Record, &[u8])> {
    let head = bytes.get(..46)?;
    let name_end = 46 + usize::from(u16_at(head, 28));
    let extra_end = name_end + usize::from(u16_at(head, 30));
    let end = extra_end + usize::from(u16_at(head, 32));
    let name = String::from_utf8_lossy(bytes.get(46..name_end)?).into_owned();
    let extra = bytes.get(name_end..extra_end)?;
    let mut wide = wide_numbers(extra)
        .chunks_exact(8)
        .map(|word| u64_at(word, 0));
    let mut number = |short: u32| match short {
        u32::MAX => wide.next(),
        short => Some(u64::from(short)),
    };
    let bytes_whole = number(u32_at(head, 24))?;
    let bytes_packed = number(u32_at(head, 20))?;
    let header = number(u32_at(head, 42))?;
    let record = Record {
        header,
        bytes: bytes_whole,
        checksum: u32_at(head, 16),
        is_stored: u16_at(head, 10) == 0 && bytes_packed == bytes_whole,
    };
    Some((name, record, bytes.get(end..)?))
}

/// Returns the 64-bit numbers among the extra fields of an entry.
fn wide_numbers(mut extra: &[u8]) -> &[u8] {
    while let Some((head, rest)) = extra.split_at_checked(4) {
        let length = usize::from(u16_at(head, 2)).min(rest.len());
        if u16_at(head, 0) == 1 {
            return &rest[..length];
        }
        extra = &rest[length..];
    }
    &[]
}

/// Reads bytes that the caller has held against the size of the file, or that are few.
fn read_at(file: &mut (impl Read + Seek), place: u64, length: u64) -> Result<Vec<u8>, Fault> {
    let mut bytes = vec![0; length as usize];
    file.seek(SeekFrom::Start(place))
        .and_then(|_| file.read_exact(&mut bytes))
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => cut_off(),
            _ => error.to_string(),
        })?;
    Ok(bytes)
}

fn cut_off() -> Fault {
    "is cut off or damaged: it is no whole zip archive of torch.save".into()
}

fn u16_at(bytes: &[u8], place: usize) -> u16 {
    u16::from_le_bytes([bytes[place], bytes[place + 1]])
}

fn u32_at(bytes: &[u8], place: usize) -> u32 {
    u32::from(u16_at(bytes, place)) | u32::from(u16_at(bytes, place + 2)) << 16
}

fn u64_at(bytes: &[u8], place: usize) -> u64 {
    u64::from(u32_at(bytes, place)) | u64::from(u32_at(bytes, place + 4)) << 32
}
