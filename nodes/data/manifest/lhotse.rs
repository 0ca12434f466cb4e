//! lhotse's cuts, `*.jsonl` or `*.jsonl.gz`: one MonoCut per line, whose recording is in a file. An
//! utterance's id is its cut's. Features and supervisions are ignored.
mod cut;

use super::{RowErrors, Utterances};
use crate::Result;
use crate::data::error::{PathContext, error_at};
use crate::data::text::{self, Blocks, not_utf8};
use cut::Cut;
use flate2::read::MultiGzDecoder;
use rayon::prelude::*;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many times longer a packed list may be than its file. Cuts become 10 to 50 times as long.
const MAX_EXPANSION: u64 = 100;

/// How long a packed list may be in any case, in bytes.
const MIN_EXPANDED: u64 = 64 << 20;

/// About how many bytes of lines one thread parses at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// Reads the utterances of a file of cuts: the next lines while those before are kept.
pub(super) fn read(path: &Path) -> Result<Utterances> {
    let bytes_read = Arc::new(AtomicU64::new(0));
    let file = CountedRead {
        source: text::open_list(path).at(path)?,
        bytes: bytes_read.clone(),
    };
    let is_packed = path.extension().is_some_and(|extension| extension == "gz");
    let text: Box<dyn Read + Send> = match is_packed {
        true => Box::new(MultiGzDecoder::new(file)),
        false => Box::new(file),
    };
    let mut blocks = Blocks::new(text);
    let mut cuts = Cuts {
        path,
        utterances: Utterances::of_paths(),
        errors: RowErrors::default(),
        lines: 0,
    };
    let mut block = vec![];
    let mut next_block = vec![];
    let mut filled = blocks.fill(&mut block);
    loop {
        let line = cuts.lines + 1;
        match filled {
            Ok(true) if !cuts.errors.are_too_many() => (),
            Ok(_) => break,
            Err(error) => {
                let error = match error.is::<io::Error>() {
                    true => format!("is cut off or damaged in line {line}: {error}").into(),
                    false => error,
                };
                cuts.errors.valid::<()>(path, Err(error));
                break;
            }
        }
        let longest = MIN_EXPANDED + MAX_EXPANSION * bytes_read.load(Ordering::Relaxed);
        if is_packed && blocks.bytes() > longest {
            let message = format!(
                "line {line}: it unpacks to more than {MAX_EXPANSION} times its size, as no list of \
                 cuts does"
            );
            return Err(error_at(path, message));
        }
        let chunks: Vec<Chunk> = chunks(&block).into_par_iter().map(parse).collect();
        let keep = || chunks.into_iter().for_each(|chunk| cuts.add(chunk));
        filled = rayon::join(|| blocks.fill(&mut next_block), keep).0;
        std::mem::swap(&mut block, &mut next_block);
    }
    cuts.errors.finish(path)?;
    Ok(cuts.utterances)
}

/// Cuts whole lines into pieces of whole lines.
fn chunks(mut lines: &[u8]) -> Vec<&[u8]> {
    let mut chunks = vec![];
    while !lines.is_empty() {
        let least = CHUNK_BYTES.min(lines.len());
        let rest = lines[least..].iter().position(|byte| *byte == b'\n');
        let (chunk, later) = lines.split_at(rest.map_or(lines.len(), |rest| least + rest + 1));
        chunks.push(chunk);
        lines = later;
    }
    chunks
}

/// What some lines say.
struct Chunk<'a> {
    lines: usize,
    /// By the number of the line in the chunk, from 0; `None` if it is not UTF-8.
    cuts: Vec<(usize, Option<Result<Cut<'a>>>)>,
}

fn parse(text: &[u8]) -> Chunk<'_> {
    let mut chunk = Chunk {
        lines: 0,
        cuts: vec![],
    };
    match std::str::from_utf8(text) {
        Ok(text) => text
            .split_inclusive('\n')
            .for_each(|line| chunk.add(Some(line))),
        Err(_) => text
            .split_inclusive(|byte| *byte == b'\n')
            .for_each(|line| chunk.add(std::str::from_utf8(line).ok())),
    }
    chunk
}

impl<'a> Chunk<'a> {
    /// Adds a line; `None` if it is not UTF-8.
    fn add(&mut self, line: Option<&'a str>) {
        if line.is_none_or(|line| !line.trim().is_empty()) {
            let cut = line.map(|line| cut::parse(line.trim_end_matches(['\r', '\n'])));
            self.cuts.push((self.lines, cut));
        }
        self.lines += 1;
    }
}

/// The cuts so far.
struct Cuts<'a> {
    path: &'a Path,
    utterances: Utterances,
    errors: RowErrors,
    lines: usize,
}

impl Cuts<'_> {
    fn add(&mut self, chunk: Chunk) {
        for (line, cut) in chunk.cuts {
            let number = self.lines + line + 1;
            let cut = match cut {
                Some(cut) => cut.map_err(|error| format!("line {number}: {error}").into()),
                None => Err(not_utf8(number).into()),
            };
            if let Some(cut) = self.errors.valid(self.path, cut) {
                self.utterances
                    .push_path(&cut.id, &cut.path, cut.piece, cut.declared);
            }
        }
        self.lines += chunk.lines;
    }
}

/// Counts the bytes that are read.
struct CountedRead {
    source: Box<dyn Read + Send>,
    bytes: Arc<AtomicU64>,
}

impl Read for CountedRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.bytes.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{TestFolder, pieces};
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    const CUT: &str = concat!(
        r#"{"id": "c", "start": 0, "duration": 2.0, "channel": 0, "recording": {"id": "r", "#,
        r#""sources": [{"type": "file", "channels": [0, 1], "source": "a.wav"}], "#,
        r#""sampling_rate": 8000, "num_samples": 16000, "duration": 2.0}, "type": "MonoCut"}"#
    );

    /// Returns the cut with parts of its text replaced.
    fn cut(changes: &[(&str, &str)]) -> String {
        let mut text = CUT.to_owned();
        for (old, new) in changes {
            assert!(text.contains(old), "{old}");
            text = text.replacen(old, new, 1);
        }
        text
    }

    #[test]
    fn cuts() {
        let scratch = TestFolder::new("cuts");
        let later = cut(&[
            ("\"start\": 0,", "\"start\": 0.50004,"),
            ("\"duration\": 2.0", "\"duration\": 1.00006"),
            ("\"channel\": 0", "\"channel\": 1"),
        ]);
        let transforms = concat!(
            r#""transforms": [{"name": "Resample", "#,
            r#""kwargs": {"source_sampling_rate": 8000, "target_sampling_rate": 16000}}]"#
        );
        let samples = format!("\"num_samples\": 32000, {transforms}");
        let resampled = cut(&[("\"num_samples\": 16000", &samples), ("8000", "16000")]);
        let lines = [CUT, &later, "", &resampled].join("\n");
        let listed = read(&scratch.file("x.jsonl", lines)).unwrap();
        let rows: Vec<_> = listed.iter().collect();
        // Frame 4000 (4000.32), 8000 frames (8000.48)
        let expected = [
            ("c", "a.wav", 0.0, None),
            ("c", "a.wav", 0.5, Some(1.5)),
            ("c", "a.wav", 0.0, None),
        ];
        assert_eq!(pieces(&rows), expected);
        let channels: Vec<_> = rows.iter().map(|row| row.piece.channel).collect();
        assert_eq!(channels, [Some(0), Some(1), Some(0)]);
        let frames: Vec<_> = rows.iter().map(|row| row.declared.frames).collect();
        assert_eq!(frames, [Some(16_000), Some(16_000), None]);
        let samples: Vec<_> = rows.iter().map(|row| row.declared.samples).collect();
        assert_eq!(samples, [Some(32_000), Some(16_000), Some(32_000)]);
    }

    #[test]
    fn wrong_lines() {
        let scratch = TestFolder::new("cuts-wrong");
        let speed = "\"transforms\": [{\"name\": \"Speed\"}], \"num_samples\"";
        let lines = [
            cut(&[("MonoCut", "MixedCut")]),
            cut(&[("\"type\": \"MonoCut\"", "\"text\": 1")]),
            cut(&[("\"type\": \"file\"", "\"type\": \"command\"")]),
            cut(&[("\"channel\": 0", "\"channel\": 2")]),
            cut(&[("\"start\": 0", "\"start\": -1")]),
            cut(&[("\"recording\"", "\"features\"")]),
            cut(&[("\"num_samples\"", speed)]),
            cut(&[("\"duration\": 2.0", "\"end\": 2.0")]),
            "{".into(),
        ];
        let expected = [
            "x.jsonl: line 1: a MixedCut is not read, only MonoCut is",
            "x.jsonl: line 2: is no cut: it has no `type`; `lhotse cut simple` makes cuts of \
             recordings",
            "x.jsonl: line 3: cut `c` has its audio from a source of type `command`; only `file` \
             is read, and `url` of an object store",
            "x.jsonl: line 4: cut `c` has channel 2, its recording has not",
            "x.jsonl: line 5: cut `c` is no piece: seconds -1 to 1 at 8000 Hz",
            "x.jsonl: line 6: cut `c` has no recording",
            "x.jsonl: line 7: cut `c` has the transform Speed; of transforms only Resample to 16000 is \
             read",
            "x.jsonl: line 8: missing field `duration`",
            "x.jsonl: line 9: EOF while parsing an object at line 1 column 1",
        ];
        let error = scratch.error(&scratch.file("x.jsonl", lines.join("\n")));
        assert_eq!(error, expected.join("\n"));
    }

    #[test]
    fn packed_and_cut_off() {
        let scratch = TestFolder::new("cuts-packed");
        let file = |bytes: &[u8]| scratch.file("x.jsonl.gz", bytes);
        let mut packed = GzEncoder::new(vec![], Compression::default());
        packed.write_all([CUT; 50].join("\n").as_bytes()).unwrap();
        let packed = packed.finish().unwrap();
        assert_eq!(read(&file(&packed)).unwrap().len(), 50);
        let error = scratch.error(&file(&packed[..packed.len() - 4]));
        let start = "x.jsonl.gz: is cut off or damaged in line ";
        assert!(error.starts_with(start), "{error}");
        let mut bomb = GzEncoder::new(vec![], Compression::default());
        for _ in 0..100 {
            bomb.write_all(&[b'\n'; 1 << 20]).unwrap();
        }
        let error = scratch.error(&file(&bomb.finish().unwrap()));
        assert!(
            error.contains("it unpacks to more than 100 times its size"),
            "{error}"
        );
        let error = scratch.error(&file(CUT.as_bytes()));
        let end = "damaged in line 1: invalid gzip header";
        assert!(error.contains(end), "{error}");
    }
}
