//! `pipeline new`: folders to work in. And `pipeline --version`.
use crate::program::{Folder, call, read_json, root, stderr, stdout, stdout_json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Returns all files below a folder with their bytes, by their paths in it.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            let inner_files = self::files(&entry.path());
            files.extend(
                inner_files
                    .into_iter()
                    .map(|(path, bytes)| (format!("{name}/{path}"), bytes)),
            );
        } else {
            files.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    files
}

#[test]
fn a_new_folder_with_the_sample_is_ready_to_run() {
    let folder = Folder::new("new-sample");
    let output = call(folder.path(), &["new", "work", "--sample"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let next = "next: cd work && pipeline run graphs/dphubert.json";
    assert!(stderr(&output).contains(next), "{}", stderr(&output));
    let spaced = call(folder.path(), &["new", "my work"]);
    let next = "with these: cd 'my work' && pipeline run graphs/dphubert.json";
    assert!(stderr(&spaced).contains(next), "{}", stderr(&spaced));
    let work = folder.path().join("work");
    assert!(files(&work.join("data/sample")) == files(&root().join("data/sample")));
    let checked = stdout_json(
        &work,
        &["check", "graphs/dphubert.json", "--format", "json"],
    );
    for phase in checked["phases"].as_array().unwrap() {
        assert_eq!(phase["warnings"].as_array().unwrap().len(), 0, "{phase}");
    }
    let graph = read_json(&work.join("graphs/dphubert.json"));
    assert_eq!(graph["$schema"], "../graph.schema.json");
    let schema = fs::read_to_string(work.join("graph.schema.json")).unwrap();
    assert_eq!(schema, stdout(root(), &["schema"]));
    assert!(stdout(&work, &["doctor"]).contains("whole, "));
    let readme = fs::read_to_string(work.join("README.md")).unwrap();
    assert!(readme.contains("pipeline run graphs/dphubert.json") && readme.lines().count() <= 12);
    assert!(work.join(".gitignore").is_file());

    let before = files(&work);
    for arguments in [
        &["new", "work"][..],
        &["new", "work", "--method", "armhubert", "--sample"],
    ] {
        let output = call(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("is there already; nothing was written"));
        assert!(files(&work) == before, "{arguments:?}");
    }
}

#[test]
fn a_second_graph_leaves_the_other_files_alone() {
    let folder = Folder::new("new-second");
    fs::write(folder.path().join("README.md"), "mine").unwrap();
    stdout(folder.path(), &["new", "."]);
    let name = "librispeech/armhubert";
    let output = call(folder.path(), &["new", ".", "--method", name]);
    assert!(output.status.success(), "{}", stderr(&output));
    let graph = read_json(&folder.path().join(format!("graphs/{name}.json")));
    assert_eq!(graph["$schema"], "../../graph.schema.json");
    assert!(folder.path().join("graphs/dphubert.json").is_file());
    let readme = fs::read_to_string(folder.path().join("README.md")).unwrap();
    assert_eq!(readme, "mine");
    assert!(!folder.path().join("data").exists());
}

#[test]
fn paths_hold_in_the_new_folder() {
    let folder = Folder::new("new-paths");
    let sample = root().join("data/sample");
    let work = folder.path().join("work");
    fs::create_dir_all(work.join("speech")).unwrap();
    for name in ["train.tsv", "dev.tsv"] {
        fs::copy(sample.join(name), work.join("speech").join(name)).unwrap();
    }
    let teacher = sample.join("teacher");
    let output = call(
        folder.path(),
        &[
            "new",
            "work",
            "--method",
            "distilhubert",
            "--manifest",
            "work/speech/train.tsv",
            "--dev",
            "work/speech/dev.tsv",
            "--teacher",
            teacher.to_str().unwrap(),
        ],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        !stderr(&output).contains("not in work"),
        "{}",
        stderr(&output)
    );
    let graph = read_json(&work.join("graphs/distilhubert.json"));
    let nodes = &graph["nodes"];
    assert_eq!(nodes["speech"]["manifest"], "speech/train.tsv");
    assert_eq!(nodes["speech"]["dev"], "speech/dev.tsv");
    assert_eq!(nodes["teacher"]["model"], teacher.to_str().unwrap());
    assert_eq!(nodes["student"]["init"], teacher.to_str().unwrap());
    let arguments = ["check", "graphs/distilhubert.json", "--format", "json"];
    let checked = stdout_json(&work, &arguments);
    assert_eq!(
        checked["warnings"].as_array().unwrap().len(),
        0,
        "{checked}"
    );

    assert!(!stderr(&output).contains("does not fit"));
    let small = root().join("tests/golden/base");
    let output = call(
        folder.path(),
        &["new", "small", "--teacher", small.to_str().unwrap()],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stderr(&output);
    let place = said.lines().find(|line| line.contains(": node `teacher`"));
    assert!(
        place.unwrap().starts_with("graphs/dphubert.json:"),
        "{said}"
    );
    assert!(
        said.contains("the graph does not fit this teacher yet"),
        "{said}"
    );

    let later = ["new", "later", "--teacher", "models/later"];
    let said = stderr(&call(folder.path(), &later));
    assert!(said.contains("there is no models/later yet"), "{said}");
    assert!(!said.contains("does not fit"), "{said}");

    let outside = ["new", "other", "--manifest", "work/speech/train.tsv"];
    let output = call(folder.path(), &outside);
    assert!(
        stderr(&output).contains("its `dev` is null"),
        "{}",
        stderr(&output)
    );
    let graph = read_json(&folder.path().join("other/graphs/dphubert.json"));
    let manifest = graph["phases"][0]["nodes"]["speech"]["manifest"].as_str();
    assert_eq!(manifest, work.join("speech/train.tsv").to_str());
}

#[test]
fn audio_of_relative_paths_is_found_from_the_new_folder() {
    let folder = Folder::new("new-relative");
    fs::create_dir_all(folder.path().join("lists")).unwrap();
    fs::create_dir_all(folder.path().join("wav")).unwrap();
    let sample = root().join("data/sample");
    let audio = sample.join("audio/103-1240-0000.flac");
    fs::copy(audio, folder.path().join("wav/a.flac")).unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let cut = concat!(
        r#"{"id": "wav/a.flac", "start": 0, "duration": 2.50, "channel": 0, "recording": {"id": "r", "#,
        r#""sources": [{"type": "file", "channels": [0], "source": "wav/a.flac"}], "#,
        r#""sampling_rate": 16000, "num_samples": 225360, "duration": 14.085}, "type": "MonoCut"}"#
    );
    write("lists/cuts.jsonl", &format!("{cut}\n"));
    write("lists/wav.scp", "a wav/a.flac\n");
    write("lists/segments", "piece a 1.0 3.0\n");
    write("lists/train.tsv", "wav\na.flac\t225360\n");
    // Frames of pieces that are cut to multiples of 0.64 s.
    for (name, frames) in [("cuts.jsonl", 95), ("wav.scp", 95), ("train.tsv", 703)] {
        let dir = format!("work-{name}");
        let list = format!("lists/{name}");
        let new = ["new", &dir, "--method", "targets", "--manifest", &list];
        let output = call(folder.path(), &new);
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(stderr(&output).contains("is a copy with whole ones"));
        let work = folder.path().join(dir);
        let graph = "graphs/targets.json";
        let manifest = &read_json(&work.join(graph))["nodes"]["speech"]["manifest"];
        assert_eq!(*manifest, format!("data/train/{name}"));
        let teacher = format!("teacher.model={}", sample.join("teacher").display());
        let check = ["check", graph, "--format", "json", "--set", &teacher];
        let checked = stdout_json(&work, &check);
        assert_eq!(checked["cache_bytes"], frames * 5 * 4 * 256, "{name}");
        let tap = [
            "tap",
            graph,
            "speech.speech",
            "--steps",
            "1",
            "--set",
            &teacher,
        ];
        let output = call(&work, &[&tap[..], &["--out", "x.parquet"]].concat());
        assert!(output.status.success(), "{name}: {}", stderr(&output));
    }
    // A copy is never overwritten.
    let again = ["new", "work-wav.scp", "--manifest", "lists/wav.scp"];
    let output = call(folder.path(), &again);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("data/train/wav.scp is there already; nothing was written"));
    // In the working directory itself, and where the audio is nowhere, lists stay as they are.
    let here = ["new", ".", "--manifest", "lists/train.tsv"];
    assert!(call(folder.path(), &here).status.success());
    let graph = read_json(&folder.path().join("graphs/dphubert.json"));
    let manifest = &graph["phases"][0]["nodes"]["speech"]["manifest"];
    assert_eq!(*manifest, "lists/train.tsv");
    write("lists/lost.tsv", "nowhere\na.flac\t225360\n");
    let lost = ["new", "lost", "--manifest", "lists/lost.tsv"];
    let output = call(folder.path(), &lost);
    assert!(stderr(&output).contains("names nowhere, which is neither here nor in lost"));
    let store = ["new", "store", "--manifest", "s3://bucket/train.tsv"];
    assert!(call(folder.path(), &store).status.success());
    let graph = read_json(&folder.path().join("store/graphs/dphubert.json"));
    let manifest = &graph["phases"][0]["nodes"]["speech"]["manifest"];
    assert_eq!(*manifest, "s3://bucket/train.tsv");
}

#[test]
fn methods_are_listed() {
    let folder = Folder::new("new-list");
    let list = stdout_json(folder.path(), &["new", "--list", "--format", "json"]);
    let text = stdout(folder.path(), &["new", "--list"]);
    stdout(folder.path(), &["new", "all", "--sample"]);
    for method in list.as_array().unwrap() {
        let name = method["name"].as_str().unwrap();
        if name != "dphubert" {
            stdout(folder.path(), &["new", "all", "--method", name]);
        }
        let graph = format!("graphs/{name}.json");
        let arguments = ["check", &graph, "--format", "json"];
        assert!(stdout_json(&folder.path().join("all"), &arguments)["name"].is_string());
        assert!(
            text.lines()
                .any(|line| line.split("  ").next() == Some(name))
        );
    }
    let output = call(folder.path(), &["new", "x", "--method", "armhubrt"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("'armhubert'"),
        "{}",
        stderr(&output)
    );
    assert_eq!(call(folder.path(), &["new"]).status.code(), Some(2));
}

#[test]
fn the_version_says_how_the_program_computes() {
    let text = stdout(root(), &["--version"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], concat!("pipeline ", env!("CARGO_PKG_VERSION")));
    let commit = lines[1].strip_prefix("commit ").unwrap();
    assert!(
        commit == "unknown" || commit.len() == 12 && commit.bytes().all(|b| b.is_ascii_hexdigit()),
        "{commit}"
    );
    assert!(
        lines[2].starts_with("features ") && lines[3].starts_with("CPU "),
        "{text}"
    );
}
