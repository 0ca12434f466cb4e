//! fairseq's `.km`: a line an utterance, in the order of a manifest, numbers with spaces between. An utterance without
//! labels has an empty line.
use super::Labels;
use crate::Result;
use crate::data::file;
use std::path::Path;

pub fn read(path: &Path, ids: Vec<String>) -> Result<Labels> {
    let text = std::fs::read_to_string(path)?;
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() != ids.len() {
        return Err(format!(
            "{} lines for the {} utterances of its manifest",
            lines.len(),
            ids.len()
        )
        .into());
    }
    let row = |(at, line): (usize, &&str)| {
        let numbers = line
            .split_ascii_whitespace()
            .map(|word| word.parse::<u16>().map(u32::from));
        numbers
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| format!("line {} is not numbers of clusters: {e}", at + 1))
    };
    let rows = lines
        .iter()
        .enumerate()
        .map(row)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(ids.into_iter().zip(rows).collect())
}

pub fn write(path: &Path, labels: &Labels, ids: &[String]) -> Result<()> {
    let line = |id| {
        labels
            .get(id)
            .into_iter()
            .flatten()
            .map(u32::to_string)
            .collect::<Vec<_>>()
            .join(" ")
            + "\n"
    };
    file::whole(path, ids.iter().map(line).collect::<String>().as_bytes())
}
