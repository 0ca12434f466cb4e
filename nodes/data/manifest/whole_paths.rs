//! Copies lists with whole paths of their audio: relative ones hold in one working directory.
use super::READ_BYTES;
use crate::Result;
use crate::data::error::PathContext;
use crate::data::file::write_atomic_with;
use crate::data::store;
use crate::data::text::{self, Lines};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::ops::Range;
use std::path::Path;

/// Returns the first relative path in a list of text; `None` if it has none, or is no such list.
///
/// # Errors
/// The list cannot be read.
pub fn first_relative_path(list: &Path) -> Result<Option<String>> {
    let Some(form) = Form::of(list) else {
        return Ok(None);
    };
    let mut lines = form.open(list)?;
    while let Some(line) = lines.next().at(list)? {
        if let Some(found) = form
            .relative_paths(line.number, line.text)
            .into_iter()
            .next()
        {
            return Ok(Some(found.path));
        }
        if form == Form::Tsv {
            return Ok(None);
        }
    }
    Ok(None)
}

/// Writes a list to `target` with `folder` before its relative paths. A packed list is unpacked.
///
/// # Errors
/// The list cannot be read, or `target` not be written.
pub fn write_with_whole_paths(list: &Path, folder: &Path, target: &Path) -> Result<()> {
    let form = Form::of(list).ok_or("it is no list of text")?;
    let mut lines = form.open(list)?;
    let mut unread = Ok(());
    write_atomic_with(target, |file| {
        let mut file = BufWriter::new(file);
        loop {
            let line = match lines.next() {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error) => {
                    unread = Err(error).at(list);
                    return Err(std::io::Error::other("the list cannot be read"));
                }
            };
            let mut text = line.text.to_owned();
            for found in form.relative_paths(line.number, line.text).iter().rev() {
                let whole = folder.join(&found.path);
                text.replace_range(found.place.clone(), &form.written(&whole.to_string_lossy()));
            }
            writeln!(file, "{text}")?;
        }
        file.flush()
    })
    .or_else(|error| {
        unread?;
        Err(error)
    })
}

/// How a list of text names its audio.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Tsv,
    Kaldi,
    Lhotse,
}

/// A relative path and its place in a line.
struct Found {
    place: Range<usize>,
    path: String,
}

#[derive(Deserialize)]
struct Cut<'a> {
    #[serde(borrow)]
    recording: Option<Recording<'a>>,
}

#[derive(Deserialize)]
struct Recording<'a> {
    #[serde(borrow)]
    sources: Vec<Source<'a>>,
}

#[derive(Deserialize)]
struct Source<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    source: &'a RawValue,
}

impl Form {
    /// Tells the form by the name of a list on a disk.
    fn of(list: &Path) -> Option<Form> {
        let name = list.file_name()?.to_str()?;
        if store::is_address(list) || !list.is_file() {
            None
        } else if name == "wav.scp" {
            Some(Form::Kaldi)
        } else if name.ends_with(".tsv") {
            Some(Form::Tsv)
        } else if name.ends_with(".jsonl") || name.ends_with(".jsonl.gz") {
            Some(Form::Lhotse)
        } else {
            None
        }
    }

    fn open(self, list: &Path) -> Result<Lines<Box<dyn BufRead>>> {
        let file = text::open_list(list).at(list)?;
        let is_packed = list.extension().is_some_and(|extension| extension == "gz");
        let text: Box<dyn BufRead> = match is_packed {
            true => Box::new(BufReader::new(MultiGzDecoder::new(file))),
            false => Box::new(BufReader::with_capacity(READ_BYTES, file)),
        };
        Ok(Lines::new(text))
    }

    /// Returns the relative paths of a line in its order. A line that is not understood has none:
    /// whoever reads the list says what is wrong with it.
    fn relative_paths(self, number: usize, line: &str) -> Vec<Found> {
        let mut found = vec![];
        match self {
            Form::Tsv if number == 1 => found.push(Found::of_word(line, line.trim())),
            Form::Tsv => {}
            Form::Kaldi => {
                let file = line.trim().split_once(char::is_whitespace);
                let file = file.map_or("", |(_, file)| file.trim());
                let is_command = file.starts_with('|') || file.ends_with('|');
                if !file.is_empty() && !is_command && file != "-" {
                    found.push(Found::of_word(line, file));
                }
            }
            Form::Lhotse => {
                let cut = serde_json::from_str(line).unwrap_or(Cut { recording: None });
                for source in cut.recording.into_iter().flat_map(|it| it.sources) {
                    let path = serde_json::from_str(source.source.get());
                    if let (Ok(path), "file") = (path, &*source.kind) {
                        let place = Found::of_word(line, source.source.get()).place;
                        found.push(Found { place, path });
                    }
                }
            }
        }
        found.retain(|found| {
            let path = Path::new(&found.path);
            path.is_relative() && !store::is_address(path)
        });
        found
    }

    /// Returns a path as a line has it.
    fn written(self, path: &str) -> String {
        match self {
            Form::Lhotse => serde_json::Value::from(path).to_string(),
            Form::Tsv | Form::Kaldi => path.to_owned(),
        }
    }
}

impl Found {
    /// Returns `word`, which is a slice of `line`.
    fn of_word(line: &str, word: &str) -> Found {
        let start = word.as_ptr() as usize - line.as_ptr() as usize;
        Found {
            place: start..start + word.len(),
            path: word.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::TestFolder;
    use super::*;
    use flate2::{Compression, write::GzEncoder};

    fn rewritten(
        scratch: &TestFolder,
        name: &str,
        text: impl AsRef<[u8]>,
    ) -> (Option<String>, String) {
        let list = scratch.file(name, text);
        let target = scratch.0.join("copy");
        write_with_whole_paths(&list, Path::new("/d\"/x"), &target).unwrap();
        (
            first_relative_path(&list).unwrap(),
            std::fs::read_to_string(target).unwrap(),
        )
    }

    #[test]
    fn relative_paths_become_whole() {
        let scratch = TestFolder::new("whole-paths");
        let (first, text) = rewritten(&scratch, "a.tsv", "audio\nb/c.wav\t5\n");
        assert_eq!(first.as_deref(), Some("audio"));
        assert_eq!(text, "/d\"/x/audio\nb/c.wav\t5\n");
        let lines = "a /w/a.wav\nb  w b.wav\r\nc sox x |\nd s3://b/d.wav\ne -\n";
        let (first, text) = rewritten(&scratch, "wav.scp", lines);
        assert_eq!(first.as_deref(), Some("w b.wav"));
        let expected = "a /w/a.wav\nb  /d\"/x/w b.wav\nc sox x |\nd s3://b/d.wav\ne -\n";
        assert_eq!(text, expected);
        // Only the source changes: numbers stay as they are written, and so do ids like paths.
        let cut = |source: &str| {
            let sources = format!(
                r#"[{{"type": "file", "source": "{source}"}}, {{"type": "url", "source": "u"}}]"#
            );
            format!(r#"{{"id": "a.wav", "recording": {{"sources": {sources}}}, "start": 0.10}}"#)
        };
        let lines = [cut("/w/a.wav"), "no cut".into(), cut("a.wav")].join("\n");
        let whole = [
            cut("/w/a.wav"),
            "no cut".into(),
            cut("/d\\\"/x/a.wav"),
            String::new(),
        ]
        .join("\n");
        let (first, text) = rewritten(&scratch, "a.jsonl", &lines);
        assert_eq!((first.as_deref(), &text), (Some("a.wav"), &whole));
        let mut packed = GzEncoder::new(vec![], Compression::default());
        packed.write_all(lines.as_bytes()).unwrap();
        let (_, text) = rewritten(&scratch, "a.jsonl.gz", packed.finish().unwrap());
        assert_eq!(text, whole);
    }

    #[test]
    fn whole_paths_and_other_files_have_none() {
        let scratch = TestFolder::new("whole-paths-none");
        let whole = scratch.file("a.tsv", "/audio\nb/c.wav\t5\n");
        assert_eq!(first_relative_path(&whole).unwrap(), None);
        assert_eq!(first_relative_path(&scratch.0).unwrap(), None);
        let damaged = scratch.file("b.jsonl", b"\xff\n");
        assert!(first_relative_path(&damaged).is_err());
        let error = write_with_whole_paths(&damaged, Path::new("/x"), &scratch.0.join("copy"));
        assert!(
            scratch
                .shorten(&error.unwrap_err().to_string())
                .starts_with("b.jsonl: line 1 is not UTF-8")
        );
        assert!(!scratch.0.join("copy").exists());
    }
}
