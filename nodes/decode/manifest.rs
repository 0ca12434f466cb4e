//! Which utterances there are: a fairseq TSV (first line the root folder, then `path<TAB>samples` a line), or a folder
//! as LibriSpeech unpacks, all `.flac` and `.wav` files below it in order of their paths.
use super::audio;
use crate::Result;
use std::path::{Path, PathBuf};

pub struct Utterance {
    /// Its path as the manifest writes it, or relative to the folder.
    pub id: String,
    pub path: PathBuf,
    /// Samples of one channel at the file's rate, where the manifest says.
    pub frames: Option<u64>,
}

impl Utterance {
    /// Samples at 16 kHz by the file's header. Errors name the file.
    pub fn length(&self) -> Result<u64> {
        let (frames, length) = audio::lengths(&self.path)?;
        match self.frames {
            Some(said) if said != frames => {
                Err(format!("{} has {frames} samples, its manifest says {said}", self.path.display()).into())
            }
            _ => Ok(length),
        }
    }
}

/// Whether `manifest` can be read at all, by its name and by what lies there.
pub fn is_known(manifest: &str) -> bool {
    let path = Path::new(manifest);
    is_tsv(path) || path.is_dir() || !manifest.is_empty() && path.extension().is_none()
}

pub fn read(manifest: &Path) -> Result<Vec<Utterance>> {
    let named = |e: crate::Error| format!("{}: {e}", manifest.display()).into();
    let rows = if is_tsv(manifest) { tsv(manifest) } else { folder(manifest) };
    rows.map_err(named)
}

fn is_tsv(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "tsv")
}

fn tsv(path: &Path) -> Result<Vec<Utterance>> {
    let text = std::fs::read_to_string(path)?;
    let mut lines = text.lines().enumerate();
    let root = Path::new(lines.next().ok_or("is empty; the first line names the root folder")?.1.trim());
    let row = |(at, line): (usize, &str)| {
        let (id, frames) = line
            .split_once('\t')
            .and_then(|(id, frames)| Some((id, frames.trim().parse().ok()?)))
            .ok_or_else(|| format!("line {} is not `path<TAB>samples`: {line}", at + 1))?;
        Ok(Utterance { id: id.into(), path: root.join(id), frames: Some(frames) })
    };
    lines.filter(|(_, line)| !line.trim().is_empty()).map(row).collect()
}

fn folder(root: &Path) -> Result<Vec<Utterance>> {
    let mut paths = vec![];
    walk(root, &mut paths)?;
    let utterance = |path: PathBuf| {
        let id = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        Utterance { id, path, frames: None }
    };
    let mut utterances: Vec<_> = paths.into_iter().map(utterance).collect();
    utterances.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(utterances)
}

/// Links to folders are not followed: they could lead in a circle.
fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            walk(&path, found)?;
        } else if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("flac") || e.eq_ignore_ascii_case("wav")) {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("manifest-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn fairseq() {
        let folder = scratch("tsv");
        let path = folder.join("train.tsv");
        let read_text = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&path).map_err(|e| e.to_string())
        };
        let rows = read_text("some/speech\r\na b/1.flac\t16000\r\n2.wav\t5\r\n\r\n").unwrap();
        let rows: Vec<_> = rows.iter().map(|u| (u.id.as_str(), u.path.to_str().unwrap(), u.frames)).collect();
        assert_eq!(
            rows,
            [("a b/1.flac", "some/speech/a b/1.flac", Some(16_000)), ("2.wav", "some/speech/2.wav", Some(5))]
        );
        let wrong = |text| read_text(text).err().unwrap().replace(path.to_str().unwrap(), "x.tsv");
        assert_eq!(wrong("root\na.flac\t5\nb.flac"), "x.tsv: line 3 is not `path<TAB>samples`: b.flac");
        assert_eq!(wrong("root\na.flac\t-5"), "x.tsv: line 2 is not `path<TAB>samples`: a.flac\t-5");
        assert_eq!(wrong(""), "x.tsv: is empty; the first line names the root folder");
        assert!(read_text("root\n").unwrap().is_empty());
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(read(&path).is_err());
    }

    #[test]
    fn librispeech() {
        let folder = scratch("folder");
        for name in ["19/198/19-198-0001.flac", "19/198/19-198-0000.flac", "103/1.WAV", "103/1.trans.txt", "a.flac"] {
            std::fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
            std::fs::write(folder.join(name), "").unwrap();
        }
        let ids: Vec<_> = read(&folder).unwrap().into_iter().map(|u| (u.id, u.frames)).collect();
        let expected = ["103/1.WAV", "19/198/19-198-0000.flac", "19/198/19-198-0001.flac", "a.flac"];
        assert_eq!(ids, expected.map(|id| (id.to_owned(), None)));
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(read(&folder).is_err());
    }

    #[test]
    fn names() {
        assert!(["a/b.tsv", "not/there", "src/..", "."].iter().all(|m| is_known(m)));
        assert!(["wav.scp", "cuts.jsonl", "cuts.jsonl.gz", "x.parquet", ""].iter().all(|m| !is_known(m)));
    }
}
