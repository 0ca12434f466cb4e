//! The files of PyTorch before 1.6: five pickles (a magic number, a version, the writing machine, the
//! value, the storages' keys), then of each storage its length as an i64 and its numbers.
use super::Fault;
use super::bytes::Bytes;
use super::pickle;
use super::tensor::TorchTensor;
use super::values::{Node, Pickle};
use std::collections::BTreeMap;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;

/// 0x1950a86a20f9469cfc6c as a pickle keeps it, behind its opcode and length.
const MAGIC: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
const VERSION: i64 = 1001;

/// Whether a file begins with PyTorch's magic number.
pub(super) fn begins(start: &[u8]) -> bool {
    // The opcode PROTO and its protocol come first.
    start.first() == Some(&0x80) && start.get(2..).is_some_and(|rest| rest.starts_with(MAGIC))
}

/// Where each storage begins, and its bytes.
pub(super) struct Legacy(BTreeMap<Arc<str>, (u64, u64)>);

impl Legacy {
    /// Reads all but the numbers of a file of `size` bytes.
    pub(super) fn read(
        file: &mut (impl Read + Seek),
        size: u64,
    ) -> Result<(Pickle, Legacy), Fault> {
        let mut reader = BufReader::new(&mut *file);
        let mut taken = 0;
        let mut next = || {
            let mut bytes = Bytes::new(&mut reader, size.saturating_sub(taken));
            let ended = pickle::run(&mut bytes)?;
            taken += bytes.taken();
            Ok::<_, Fault>((ended, taken))
        };
        let (magic, _) = next()?;
        if !matches!(magic.pickle.root().node(), Node::Bytes(bytes) if *bytes == MAGIC[2..]) {
            return Err("is no file of torch.save".into());
        }
        let (version, _) = next()?;
        if version.pickle.root().int() != Some(VERSION) {
            return Err("is a file of torch.save of a version that is not known".into());
        }
        let (machine, _) = next()?;
        let little = machine.pickle.root().get("little_endian");
        if little.and_then(|little| little.bool()) == Some(false) {
            return Err("holds big-endian numbers; save it on a little-endian machine".into());
        }
        let (value, _) = next()?;
        let (keys, end) = next()?;
        let mut storages = BTreeMap::new();
        let mut place = end;
        for key in keys.pickle.root().elements().unwrap_or_default() {
            let key: Arc<str> = key.text().ok_or("is damaged: a storage has no key")?.into();
            let storage = value.storages.get(&key);
            let storage = storage.ok_or("is damaged: it holds a storage that no tensor has")?;
            let element = storage
                .element
                .ok_or("holds a tensor of a type that is not known")?;
            let bytes = storage.len.checked_mul(element.size());
            let start = place + 8;
            let end = bytes.and_then(|bytes| start.checked_add(bytes));
            let end = end.filter(|end| *end <= size);
            let end = end.ok_or("is cut off: it ends within the numbers of a tensor")?;
            // Each storage has its length in front of its numbers.
            if read_length(file, place)? != storage.len {
                return Err("is damaged: a storage has another length than its tensors say".into());
            }
            storages.insert(key, (start, end - start));
            place = end;
        }
        Ok((value.pickle, Legacy(storages)))
    }

    /// Reads a tensor.
    pub(super) fn read_tensor(
        &self,
        file: &mut (impl Read + Seek),
        tensor: &TorchTensor,
    ) -> Result<Vec<f32>, Fault> {
        let storage = self.0.get(&tensor.key);
        let (place, bytes) = *storage.ok_or("is damaged: it lacks a storage of a tensor")?;
        tensor.read(file, place, bytes)
    }
}

fn read_length(file: &mut (impl Read + Seek), place: u64) -> Result<u64, Fault> {
    let mut length = [0; 8];
    file.seek(SeekFrom::Start(place))
        .and_then(|_| file.read_exact(&mut length))
        .map_err(|error| error.to_string())?;
    Ok(u64::from_le_bytes(length))
}
