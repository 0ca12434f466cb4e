//! The messages for bad graphs, word for word: each `bad/*.json` has a text file with the expected
//! output. With the environment variable `UPDATE_EXPECT`, the test writes these files.
use crate::program::{Folder, call, root, stderr};
use crate::sample::sample;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn all_problems_of_bad_graphs_are_reported() {
    let files = fs::read_dir(root().join("tests/bad"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut graphs: Vec<PathBuf> = files
        .filter(|f| f.ends_with(".json"))
        .map(|f| Path::new("tests/bad").join(f))
        .collect();
    graphs.sort();
    assert!(!graphs.is_empty());
    for graph in graphs {
        let output = call(root(), &["check", graph.to_str().unwrap()]);
        let expected = root().join(graph.with_extension("txt"));
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&expected, &output.stderr).unwrap();
        }
        assert_eq!(
            stderr(&output),
            fs::read_to_string(&expected).unwrap(),
            "{}",
            graph.display()
        );
        assert_eq!(
            (output.status.code(), output.stdout.is_empty()),
            (Some(78), true),
            "{}",
            graph.display()
        );
    }
}

/// The file alone is right; what is wrong with the whole object is wrong with the setting.
#[test]
fn problems_of_an_object_name_the_setting_that_changed_it() {
    let folder = sample("set-object");
    let setting = "prune.student.architecture.num_attention_heads=5";
    let output = call(folder.path(), &["check", "g.json", "--set", setting]);
    let said = stderr(&output);
    let start = format!("--set {setting}: node `student`: option `architecture`");
    assert!(said.lines().any(|line| line.starts_with(&start)), "{said}");
    assert!(
        said.lines().all(|line| line.starts_with("--set ")),
        "{said}"
    );
}

#[test]
fn problems_of_settings_name_the_setting() {
    let folder = Folder::new("set");
    let node = r#"{ "kind": "decode", "manifest": "train.tsv", "seconds_per_batch": 20 }"#;
    fs::write(
        folder.path().join("g.json"),
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
            "node `speech`: option `views`: invalid type: string \"x\", expected a whole number \
             from 0",
        ),
        (
            "speech.viws=1",
            "node `speech`: unknown option `viws`; did you mean `views`?",
        ),
        (
            "speech.manifest.0=1",
            "nothing stands at `0`: items of a list go by their numbers from 0, and none is added",
        ),
        (
            "seed={\"a\":1,\"a\":2}",
            "`a` stands here for the second time",
        ),
    ];
    for (argument, message) in cases {
        let output = call(folder.path(), &["check", "g.json", "--set", argument]);
        let first = stderr(&output)
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned();
        assert_eq!(
            (first, output.status.code()),
            (format!("--set {argument}: {message}"), Some(78))
        );
    }
}

#[test]
fn usage_errors_have_their_own_exit_code() {
    for arguments in [
        &["check"][..],
        &["frobnicate"],
        &["check", "no-such-graph.json"],
        &["run", "--steps", "0", "g.json"],
    ] {
        let output = call(root(), arguments);
        assert_eq!(
            (output.status.code(), output.stdout.is_empty()),
            (Some(2), true),
            "{arguments:?}"
        );
    }
}

/// Addresses are problems where the build or the option cannot read them.
#[test]
fn addresses_of_object_stores() {
    let options = [
        "speech.manifest=s3://bucket/train.tsv",
        "teacher.model=s3://bucket/teacher",
        "teacher.cache=gs://bucket/cache",
    ];
    let mut arguments = vec!["check", "graphs/targets.json"];
    arguments.extend(options.iter().flat_map(|option| ["--set", option]));
    let output = call(root(), &arguments);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{said}");
    let of_model = "node `teacher`: `model` is in an object store, where manifests, audio and caches \
                    are read; copy it to a disk";
    assert!(said.contains(of_model), "{said}");
    for option in ["node `speech`: `manifest`", "node `teacher`: `cache`"] {
        let refused = "object stores are not read by this build; build it with `--features store`";
        let is_refused = said.contains(&format!("{option}: {refused}"));
        assert_eq!(is_refused, cfg!(not(feature = "store")), "{said}");
    }
}
