//! fairseq's TSV: first line the root folder, then `path<TAB>samples` a line. An id is the path as written.
use super::{Utterance, all, lines, named, text};
use crate::Result;
use std::path::Path;

pub fn read(path: &Path) -> Result<Vec<Utterance>> {
    let text = text(path)?;
    let root = text
        .lines()
        .next()
        .ok_or_else(|| named(path, "is empty; the first line names the root folder"))?;
    let root = Path::new(root.trim());
    let row = |(at, line): (usize, &str)| {
        let (id, frames) = line
            .split_once('\t')
            .and_then(|(id, frames)| Some((id, frames.trim().parse().ok()?)))
            .ok_or_else(|| format!("line {at} is not `path<TAB>samples`: {line}"))?;
        Ok(Utterance {
            frames: Some(frames),
            said: Some(frames),
            ..Utterance::file(id.into(), root.join(id))
        })
    };
    all(path, lines(&text).filter(|(at, _)| *at > 1).map(row))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Scratch, row};
    use super::*;

    #[test]
    fn rows_and_wrong_lines() {
        let scratch = Scratch::new("tsv");
        let file = |text: &str| scratch.file("x.tsv", text);
        let rows = read(&file(
            "some/speech\r\na b/1.flac\t16000\r\n2.wav\t5\r\n\r\n",
        ))
        .unwrap();
        let expected = [
            ("a b/1.flac", "some/speech/a b/1.flac", 0.0, None),
            ("2.wav", "some/speech/2.wav", 0.0, None),
        ];
        assert_eq!(rows.iter().map(row).collect::<Vec<_>>(), expected);
        assert_eq!(
            rows.iter().map(|u| u.frames).collect::<Vec<_>>(),
            [Some(16_000), Some(5)]
        );
        assert_eq!(
            scratch.wrong(&file("root\na.flac\t5\nb.flac\n\nc.flac\t-5")),
            "x.tsv: line 3 is not `path<TAB>samples`: b.flac\nx.tsv: line 5 is not `path<TAB>samples`: c.flac\t-5"
        );
        assert_eq!(
            scratch.wrong(&file("")),
            "x.tsv: is empty; the first line names the root folder"
        );
        assert!(read(&file("root\n")).unwrap().is_empty());
        assert!(
            scratch
                .wrong(&scratch.0.join("y.tsv"))
                .starts_with("y.tsv: No such file")
        );
    }
}
