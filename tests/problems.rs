//! What is said of a bad graph, word for word: `bad/*.json` beside the text expected of it. With `UPDATE_EXPECT` set, the
//! texts are written instead.
use crate::program::{Folder, output, pipeline, root, stderr};
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn bad_graphs_say_all_that_is_wrong() {
    let files = fs::read_dir(root().join("tests/bad"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut graphs: Vec<PathBuf> = files
        .filter(|f| f.ends_with(".json"))
        .map(|f| Path::new("tests/bad").join(f))
        .collect();
    graphs.sort();
    assert!(!graphs.is_empty());
    for graph in graphs {
        let said = output(&mut pipeline(root(), &["check", graph.to_str().unwrap()]));
        let expected = root().join(graph.with_extension("txt"));
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&expected, &said.stderr).unwrap();
        }
        assert_eq!(
            stderr(&said),
            fs::read_to_string(&expected).unwrap(),
            "{}",
            graph.display()
        );
        assert_eq!(
            (said.status.code(), said.stdout.is_empty()),
            (Some(78), true),
            "{}",
            graph.display()
        );
    }
}

#[test]
fn set_says_where_it_is_wrong() {
    let folder = Folder::new("set");
    let node = r#"{ "kind": "decode", "manifest": "train.tsv", "seconds_per_batch": 20 }"#;
    fs::write(
        folder.0.join("g.json"),
        format!(r#"{{ "name": "g", "nodes": {{ "speech": {node} }} }}"#),
    )
    .unwrap();
    let cases = [
        ("views", "write it as node.option=value"),
        (
            "speach.views=1",
            "there is no node `speach`; did you mean `speech`?",
        ),
        ("speech=1", "`speech` is a node; name one of its options"),
        (
            "speech.kind=log",
            "`kind` is no option: nodes and edges stand in the file",
        ),
        (
            "speech.views=x",
            "node `speech`: option `views`: invalid type: string \"x\", expected a whole number from 0",
        ),
        (
            "speech.viws=1",
            "node `speech`: unknown option `viws`; did you mean `views`?",
        ),
        ("speech.manifest.0=1", "nothing stands at `0`"),
        (
            "seed={\"a\":1,\"a\":2}",
            "`a` stands here for the second time",
        ),
    ];
    for (argument, says) in cases {
        let said = output(&mut pipeline(
            &folder.0,
            &["check", "g.json", "--set", argument],
        ));
        let first = stderr(&said).lines().next().unwrap_or_default().to_owned();
        assert_eq!(
            (first, said.status.code()),
            (format!("--set {argument}: {says}"), Some(78))
        );
    }
}

#[test]
fn usage_is_told_apart() {
    for words in [
        &["check"][..],
        &["frobnicate"],
        &["check", "no-such-graph.json"],
        &["run", "--steps", "0", "g.json"],
    ] {
        let said = output(&mut pipeline(root(), words));
        assert_eq!(
            (said.status.code(), said.stdout.is_empty()),
            (Some(2), true),
            "{words:?}"
        );
    }
}
