//! TensorBoard's event file.
//!
//! A record is [length u64][CRC of the length u32][bytes][CRC of the bytes u32], little-endian; its
//! bytes are an event ([`super::protobuf`]). A CRC is CRC-32C, masked:
//! ((c >> 15) | (c << 17)) + 0xa282ead8.
use super::protobuf::{markdown, scalar, session_start, version};
use crate::Result;
use crate::data::error::PathContext;
use crate::data::file;
use crate::data::metrics::{MetricLine, now};
use crate::data::protobuf::Message;
use serde_json::Value as Json;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

const NAME: &str = "events.out.tfevents.";
/// The number of records before those of metrics.
const HEADER_RECORDS: usize = 3;

/// The event file of a run, open to append.
pub(super) struct EventFile {
    file: File,
    path: PathBuf,
}

impl EventFile {
    /// Opens the run's event file such that it contains these lines and no others.
    ///
    /// The existing file is used if it has as many records, since every run writes the same lines
    /// in the same order. Otherwise a new file replaces it. The session start in the new file makes
    /// readers discard the old one, so no value appears twice.
    pub(super) fn open_after(lines: &[MetricLine], run: &Path, graph: &Json) -> Result<EventFile> {
        let existing = event_files(run)?;
        if let [path] = &existing[..]
            && has_records(path, HEADER_RECORDS + lines.len())
        {
            return EventFile::append(path);
        }
        let now = now();
        let header: [Message; HEADER_RECORDS] = [
            version(now),
            session_start(now),
            markdown(now, "graph", &code_block(graph)),
        ];
        let mut bytes = vec![];
        for message in header.into_iter().chain(lines.iter().map(scalar)) {
            bytes.extend(record(&message.0));
        }
        let path = run.join(format!("{NAME}{now:.6}"));
        file::write_atomic(&path, &bytes)?;
        for old in existing.iter().filter(|old| **old != path) {
            // Readers discard an old file at the session start even if it cannot be removed.
            let _ = std::fs::remove_file(old);
        }
        EventFile::append(&path)
    }

    fn append(path: &Path) -> Result<EventFile> {
        let path = path.to_owned();
        let file = File::options().append(true).open(&path).at(&path)?;
        Ok(EventFile { file, path })
    }

    /// Appends lines, in one write, so that TensorBoard shows them at once. Errors name the
    /// file.
    pub(super) fn write(&mut self, lines: &[MetricLine]) -> Result<()> {
        let mut bytes = vec![];
        for line in lines {
            bytes.extend(record(&scalar(line).0));
        }
        self.file.write_all(&bytes).at(&self.path)
    }

    /// Waits until all lines are on the disk. Errors name the file.
    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync_data().at(&self.path)
    }
}

/// Returns the event files that runs have written into their folder.
fn event_files(run: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = vec![];
    for entry in std::fs::read_dir(run).at(run)?.flatten() {
        let name = entry.file_name();
        let time = name.to_str().and_then(|name| name.strip_prefix(NAME));
        // TensorBoard's own writers have more in their names.
        if time.is_some_and(|time| time.bytes().all(|b| b.is_ascii_digit() || b == b'.')) {
            paths.push(entry.path());
        }
    }
    Ok(paths)
}

fn has_records(path: &Path, count: usize) -> bool {
    std::fs::read(path).is_ok_and(|bytes| record_count(&bytes) == Some(count))
}

/// Returns the graph as a code block of Markdown.
fn code_block(graph: &Json) -> String {
    let text = format!("{graph:#}");
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// Frames an event as a record.
fn record(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    let length_crc = masked_crc(&length).to_le_bytes();
    let crc = masked_crc(bytes).to_le_bytes();
    [&length[..], &length_crc, bytes, &crc].concat()
}

/// Returns the number of records in a file, or `None` if the last one is incomplete.
fn record_count(mut bytes: &[u8]) -> Option<usize> {
    let mut records = 0;
    while !bytes.is_empty() {
        let length = usize::try_from(u64::from_le_bytes(*bytes.first_chunk()?)).ok()?;
        bytes = bytes.get(length.checked_add(16)?..)?;
        records += 1;
    }
    Some(records)
}

fn masked_crc(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= *byte as u32;
        for _ in 0..8 {
            let carry = crc & 1;
            crc >>= 1;
            if carry == 1 {
                crc ^= 0x82f6_3b78;
            }
        }
    }
    (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the bytes of each record, if all lengths and CRCs are right.
    fn records(mut file: &[u8]) -> Option<Vec<&[u8]>> {
        let mut records = vec![];
        while !file.is_empty() {
            let (length, rest) = file.split_first_chunk::<8>()?;
            let (length_crc, rest) = rest.split_first_chunk::<4>()?;
            let (bytes, rest) = rest.split_at_checked(u64::from_le_bytes(*length) as usize)?;
            let (crc, rest) = rest.split_first_chunk::<4>()?;
            let length_right = masked_crc(length).to_le_bytes() == *length_crc;
            let bytes_right = masked_crc(bytes).to_le_bytes() == *crc;
            records.push((length_right && bytes_right).then_some(bytes)?);
            file = rest;
        }
        Some(records)
    }

    fn lines(steps: std::ops::Range<u64>) -> Vec<MetricLine> {
        let line = |step| MetricLine {
            phase: "p".into(),
            step,
            wall_time: 0.0,
            name: "loss".into(),
            value: None,
        };
        steps.map(line).collect()
    }

    /// RFC 3720, B.4: 32 zeros have the CRC-32C 8a9136aa.
    #[test]
    fn crc() {
        assert_eq!(
            masked_crc(&[0; 32]),
            0x8a91_36aa_u32.rotate_right(15).wrapping_add(0xa282_ead8)
        );
    }

    #[test]
    fn a_file_is_continued_if_it_has_the_same_lines() {
        let folder = std::env::temp_dir().join(format!("events-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let only_file = || {
            let paths = event_files(&folder).expect("a folder");
            assert_eq!(paths.len(), 1);
            let bytes = std::fs::read(&paths[0]).expect("a file");
            (paths[0].clone(), bytes)
        };
        let open = |steps| {
            EventFile::open_after(&lines(steps), &folder, &Json::Null).expect("an event file")
        };
        open(0..0).write(&lines(1..4)).expect("written");
        let first = only_file();
        open(1..4);
        assert!(only_file() == first, "a phase begins");
        open(1..3).write(&lines(3..6)).expect("written");
        let (path, bytes) = only_file();
        std::fs::remove_dir_all(&folder).expect("a folder");
        let records = records(&bytes).expect("whole records");
        assert_ne!(path, first.0, "a run resumes");
        assert_eq!(records.len(), HEADER_RECORDS + 5);
        assert_eq!(
            records[1][9..],
            [7 << 3 | 2, 2, 1 << 3, 1],
            "a session starts at step 0"
        );
        assert_eq!(record_count(&bytes), Some(HEADER_RECORDS + 5));
        assert_eq!(record_count(&bytes[1..]), None);
        assert_eq!(record_count(&[]), Some(0));
    }
}
