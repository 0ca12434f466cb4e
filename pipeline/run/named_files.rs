//! The files and folders that a resolved graph names, and hashes of their contents: by them a run
//! that goes on knows its data and models again, wherever they are.
use nodes::KINDS;
use nodes::data::store;
use nodes::node::contents::Contents;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// BLAKE3 of contents by path as written; `None` where they cannot be read.
pub type Hashes = BTreeMap<String, Option<String>>;

/// An option of a node that names a file or folder which no phase of the run writes.
pub struct NamedFile {
    /// The option as `--set` names it.
    pub option: String,
    /// The option's place in the graph, a JSON pointer.
    pub pointer: String,
    pub contents: Contents,
    pub path: String,
}

/// Lists the files and folders that a resolved graph names.
pub fn named_files(graph: &Value) -> Vec<NamedFile> {
    let mut files = nodes_files(&graph["nodes"], "", "/nodes");
    for (i, phase) in graph["phases"].as_array().into_iter().flatten().enumerate() {
        let prefix = format!("{}.", phase["name"].as_str().unwrap_or_default());
        let pointer = format!("/phases/{i}/nodes");
        files.extend(nodes_files(&phase["nodes"], &prefix, &pointer));
    }
    files
}

fn nodes_files(nodes: &Value, prefix: &str, pointer: &str) -> Vec<NamedFile> {
    let mut files = vec![];
    for (name, node) in nodes.as_object().into_iter().flatten() {
        let kind = KINDS.iter().find(|kind| node["kind"] == kind.name);
        let options = kind.map_or(&[][..], |kind| kind.files).iter();
        let named = options.map(|option| (vec![option.name], option.contents));
        let codebooks = (vec!["codec", "file"], Contents::Files);
        for (keys, contents) in named.chain([codebooks]) {
            let path = keys.iter().try_fold(node, |value, key| value.get(key));
            let path = path.and_then(Value::as_str);
            let Some(path) = path.filter(|path| !path.starts_with("$OUT/")) else {
                continue;
            };
            files.push(NamedFile {
                option: format!("{prefix}{name}.{}", keys.join(".")),
                pointer: format!("{pointer}/{name}/{}", keys.join("/")),
                contents,
                path: path.to_owned(),
            });
        }
    }
    files
}

/// Hashes the contents of these kind that a resolved graph names. Words that stand in place of a
/// path, such as the `init` "identity" of `project`, are left out.
pub fn hashes(graph: &Value, contents: Contents) -> Hashes {
    let mut hashes = Hashes::new();
    for file in named_files(graph) {
        let path = Path::new(&file.path);
        let is_there = store::try_exists(path).unwrap_or(false);
        let may_be_word = contents == Contents::Files && !is_there;
        if file.contents == contents && !may_be_word {
            let hash_of_path = || contents.hash(path).ok();
            hashes.entry(file.path.clone()).or_insert_with(hash_of_path);
        }
    }
    hashes
}

#[cfg(test)]
mod tests {
    use super::named_files;
    use serde_json::json;

    #[test]
    fn options_that_name_files_are_found() {
        let speech = json!({ "kind": "decode", "manifest": "a.tsv", "dev": null });
        let student = json!({ "kind": "student", "init": "$OUT/prune/student" });
        let nodes = json!({ "speech": speech, "student": student });
        let found = |graph| {
            let files = named_files(&graph).into_iter();
            files
                .map(|file| {
                    assert_eq!(
                        graph.pointer(&file.pointer),
                        Some(&file.path.clone().into())
                    );
                    (file.option, file.path)
                })
                .collect::<Vec<_>>()
        };
        let expected = |option: &str| [(option.to_owned(), "a.tsv".to_owned())];
        assert_eq!(
            found(json!({ "nodes": nodes })),
            expected("speech.manifest")
        );
        let phase = json!({ "name": "distill", "nodes": nodes });
        assert_eq!(
            found(json!({ "phases": [{ "name": "prune" }, phase] })),
            expected("distill.speech.manifest")
        );
    }
}
