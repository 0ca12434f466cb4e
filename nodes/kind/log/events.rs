//! TensorBoard's event file. A record is [length u64][crc of the length u32][bytes][crc of the bytes u32], little-endian;
//! its bytes are an `Event` in protobuf (tensorboard/compat/proto: event, summary, tensor). A crc is CRC-32C, masked:
//! ((c >> 15) | (c << 17)) + 0xa282ead8.
use crate::Result;
use crate::data::error::PathContext;
use crate::data::file;
use crate::data::metrics::{MetricLine, now};
use serde_json::Value as Json;
use std::fs::{DirEntry, File};
use std::io::Write;
use std::path::{Path, PathBuf};

const NAME: &str = "events.out.tfevents.";
/// Records before the first value.
const HEAD: usize = 3;
/// `SessionLog.START`, `DataType.DT_STRING`.
const START: u64 = 1;
const STRING: u64 = 7;

pub struct Events(File);

impl Events {
    /// The run's file, to go on after these lines. It is the one that is there if that holds as many: it got them in
    /// their order. Else it is a new one in place of what is there, whose first event tells who has read that to forget
    /// it: so no value of a run that goes on is there twice.
    pub fn after(lines: &[MetricLine], run: &Path, graph: &Json) -> Result<Events> {
        let ours = |entry: &DirEntry| entry.file_name().to_string_lossy().starts_with(NAME);
        let there: Vec<PathBuf> = std::fs::read_dir(run)?
            .flatten()
            .filter(ours)
            .map(|entry| entry.path())
            .collect();
        if let [path] = &there[..]
            && std::fs::read(path).is_ok_and(|bytes| count(&bytes) == Some(HEAD + lines.len()))
        {
            return Events::append(path);
        }
        let now = now();
        let version = Message::default().double(1, now).text(3, "brain.Event:2");
        let session = Message::default()
            .double(1, now)
            .message(7, Message::default().int(1, START));
        let head: [Message; HEAD] = [version, session, text(now, "graph", &code(graph))];
        let records = head
            .into_iter()
            .chain(lines.iter().map(scalar))
            .flat_map(|message| record(&message.0));
        let path = run.join(format!("{NAME}{now:.6}"));
        file::write_atomic(&path, &records.collect::<Vec<u8>>())?;
        for old in there.iter().filter(|old| **old != path) {
            let _ = std::fs::remove_file(old); // who reads both forgets it all the same
        }
        Events::append(&path)
    }

    fn append(path: &Path) -> Result<Events> {
        Ok(Events(File::options().append(true).open(path).at(path)?))
    }

    /// There at once for who watches.
    pub fn write(&mut self, lines: &[MetricLine]) -> Result<()> {
        let bytes: Vec<u8> = lines
            .iter()
            .flat_map(|line| record(&scalar(line).0))
            .collect();
        Ok(self.0.write_all(&bytes)?)
    }

    pub fn sync(&self) -> Result<()> {
        Ok(self.0.sync_data()?)
    }
}

/// As Markdown shows it word for word.
fn code(graph: &Json) -> String {
    format!("{graph:#}")
        .lines()
        .map(|line| format!("    {line}\n"))
        .collect()
}

fn scalar(line: &MetricLine) -> Message {
    let tag = format!("{}/{}", line.phase, line.name);
    let value = Message::default()
        .text(1, &tag)
        .float(2, line.value.map_or(f32::NAN, |v| v as f32));
    Message::default()
        .double(1, line.wall_time)
        .int(2, line.step)
        .message(5, Message::default().message(1, value))
}

/// Markdown for the `text` plugin: a tensor of one string.
fn text(now: f64, tag: &str, markdown: &str) -> Message {
    let shape = Message::default().message(2, Message::default().int(1, 1));
    let tensor = Message::default()
        .int(1, STRING)
        .message(2, shape)
        .text(8, markdown);
    let plugin = Message::default().message(1, Message::default().text(1, "text"));
    let value = Message::default()
        .text(1, tag)
        .message(8, tensor)
        .message(9, plugin);
    Message::default()
        .double(1, now)
        .message(5, Message::default().message(1, value))
}

/// A protobuf message as it grows: each field is varint(number << 3 | wire type), then its value.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(mut self, mut n: u64) -> Message {
        while n >= 0x80 {
            self.0.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
        self
    }
    fn int(self, field: u64, value: u64) -> Message {
        self.varint(field << 3).varint(value)
    }
    fn double(self, field: u64, value: f64) -> Message {
        self.varint(field << 3 | 1).bytes(&value.to_le_bytes())
    }
    fn float(self, field: u64, value: f32) -> Message {
        self.varint(field << 3 | 5).bytes(&value.to_le_bytes())
    }
    fn text(self, field: u64, value: &str) -> Message {
        self.varint(field << 3 | 2)
            .varint(value.len() as u64)
            .bytes(value.as_bytes())
    }
    fn message(self, field: u64, value: Message) -> Message {
        self.varint(field << 3 | 2)
            .varint(value.0.len() as u64)
            .bytes(&value.0)
    }
    fn bytes(mut self, bytes: &[u8]) -> Message {
        self.0.extend_from_slice(bytes);
        self
    }
}

fn record(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    let crc = |of: &[u8]| masked_crc(of).to_le_bytes();
    [&length[..], &crc(&length), bytes, &crc(bytes)].concat()
}

/// How many records these are, if the last one is whole.
fn count(mut bytes: &[u8]) -> Option<usize> {
    let mut records = 0;
    while !bytes.is_empty() {
        let length = usize::try_from(u64::from_le_bytes(*bytes.first_chunk()?)).ok()?;
        bytes = bytes.get(length.checked_add(16)?..)?;
        records += 1;
    }
    Some(records)
}

fn masked_crc(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| {
        if crc & 1 == 1 {
            crc >> 1 ^ 0x82f6_3b78
        } else {
            crc >> 1
        }
    };
    let crc = !bytes
        .iter()
        .fold(!0, |crc, byte| (0..8).fold(crc ^ *byte as u32, bit));
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of each record, if lengths and crcs are right.
    fn records(mut file: &[u8]) -> Option<Vec<&[u8]>> {
        let mut all = vec![];
        while !file.is_empty() {
            let (length, rest) = file.split_first_chunk::<8>()?;
            let (crc, rest) = rest.split_first_chunk::<4>()?;
            let (bytes, rest) = rest.split_at_checked(u64::from_le_bytes(*length) as usize)?;
            let (end, rest) = rest.split_first_chunk::<4>()?;
            let right = [(&length[..], crc), (bytes, end)]
                .iter()
                .all(|(of, crc)| masked_crc(of).to_le_bytes() == **crc);
            all.push(right.then_some(bytes)?);
            file = rest;
        }
        Some(all)
    }

    /// RFC 3720, B.4: 32 zeros have the CRC-32C 8a9136aa.
    #[test]
    fn crc() {
        assert_eq!(
            masked_crc(&[0; 32]),
            0x8a91_36aa_u32.rotate_right(15).wrapping_add(0xa282_ead8)
        );
    }

    /// As tensorboard's own `Event(wall_time=1.5, step=300, summary=…).SerializeToString()` gives it.
    #[test]
    fn an_event_is_what_protobuf_writes() {
        let line = MetricLine {
            phase: "p".into(),
            step: 300,
            wall_time: 1.5,
            name: "loss".into(),
            value: Some(0.5),
        };
        let bytes =
            b"\x09\0\0\0\0\0\0\xf8\x3f\x10\xac\x02\x2a\x0f\x0a\x0d\x0a\x06p/loss\x15\0\0\0\x3f";
        assert_eq!(scalar(&line).0, bytes);
    }

    #[test]
    fn a_file_goes_on_where_it_can() {
        let folder = std::env::temp_dir().join(format!("events-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let lines = |steps: std::ops::Range<u64>| {
            let line = |step| MetricLine {
                phase: "p".into(),
                step,
                wall_time: 0.0,
                name: "loss".into(),
                value: None,
            };
            steps.map(line).collect::<Vec<_>>()
        };
        let file = || {
            let mut files = std::fs::read_dir(&folder)
                .expect("a folder")
                .flatten()
                .map(|e| e.path());
            let (only, none) = (files.next().expect("a file"), files.next());
            assert_eq!(none, None);
            (only.clone(), std::fs::read(only).expect("a file"))
        };
        let after = |steps| Events::after(&lines(steps), &folder, &Json::Null).expect("a file");
        after(0..0).write(&lines(1..4)).expect("written");
        let first = file();
        after(1..4);
        assert!(file() == first, "a phase begins");
        after(1..3).write(&lines(3..6)).expect("written");
        let again = file();
        std::fs::remove_dir_all(&folder).expect("a folder");
        let records = records(&again.1).expect("whole records");
        assert!(
            again.0 != first.0 && records.len() == HEAD + 5,
            "a run goes on"
        );
        assert_eq!(
            records[1][9..],
            [7 << 3 | 2, 2, 1 << 3, 1],
            "a session starts at step 0"
        );
        assert_eq!(
            (count(&again.1), count(&again.1[1..]), count(&[])),
            (Some(HEAD + 5), None, Some(0))
        );
    }
}
