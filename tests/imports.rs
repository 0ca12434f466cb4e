//! Who may import whom. The compiler keeps `compute` below `nodes` below `pipeline`; this test keeps
//! the folders of `nodes` in order, each above those it may use.
mod circles;

use crate::program::root;
use std::fs;
use std::path::Path;

/// Folders of `nodes`, lowest first: a folder uses folders of lower ranks alone.
const RANKS: [(&str, u32); 9] = [
    ("data", 0),
    ("chart", 1),
    ("kmeans", 1),
    ("model", 1),
    ("prune", 2),
    ("node", 3),
    ("cache", 4),
    ("kind", 4),
    ("tool", 4),
];

#[test]
fn folders_import_only_what_is_below_them() {
    let mut files = vec![];
    rust_files(&root().join("nodes"), &mut files);
    assert!(files.len() > 50);
    let broken: Vec<String> = files.iter().flat_map(|file| broken_imports(file)).collect();
    assert!(
        broken.is_empty(),
        "imports against the order of folders:\n{}",
        broken.join("\n")
    );
}

/// Returns a line for each import of the file that breaks the order.
fn broken_imports(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let path = file
        .strip_prefix(root())
        .unwrap()
        .to_string_lossy()
        .into_owned();
    let mut parts = path.trim_end_matches(".rs").split('/').skip(1);
    let folder = parts.next().unwrap();
    let kind = parts.next().unwrap_or_default();
    let Some(own_rank) = rank(folder) else {
        return vec![];
    };
    let mut broken = vec![];
    for (number, line) in production_lines(&text).enumerate() {
        for (imported, rest) in imports(line) {
            let same_folder = imported == folder;
            let upward = !same_folder && rank(imported).is_some_and(|r| r >= own_rank);
            let other = rest
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .unwrap();
            let other_kind = same_folder && folder == "kind" && other != kind && !kind.is_empty();
            if upward || other_kind {
                broken.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    broken
}

fn rank(folder: &str) -> Option<u32> {
    RANKS
        .iter()
        .find(|(name, _)| *name == folder)
        .map(|(_, rank)| *rank)
}

/// Returns the lines before the file's tests; none of a file that is tests alone.
fn production_lines(text: &str) -> impl Iterator<Item = &str> {
    let tests_alone = text.contains("#[test]") && !text.contains("mod tests {");
    text.lines()
        .take_while(move |line| !tests_alone && !line.starts_with("mod tests {"))
}

/// Returns each folder named behind `crate::`, with the text behind it.
fn imports(line: &str) -> impl Iterator<Item = (&str, &str)> {
    let code = line.split("//").next().unwrap();
    code.match_indices("crate::").flat_map(|(at, found)| {
        let rest = &code[at + found.len()..];
        let names = match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap().split(", ").collect(),
            None => vec![rest],
        };
        names.into_iter().map(|path| {
            let end = path
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(path.len());
            (&path[..end], path[end..].trim_start_matches("::"))
        })
    })
}

fn rust_files(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("compute") && !path.ends_with("benches") {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("lib.rs") {
            files.push(path);
        }
    }
}
