//! `fetch` of what was downloaded before.
use crate::program::{Folder, execute, pipeline, root, stderr};
use std::fs;
use std::path::Path;
use std::process::Output;

/// Puts a repository into a folder as programs of Hugging Face keep it.
fn downloaded(home: &Path, repo: &str, files: &[&str]) {
    let folder = home.join(format!("hub/models--{}", repo.replace('/', "--")));
    fs::create_dir_all(folder.join("refs")).unwrap();
    fs::write(folder.join("refs/main"), "0a1b2c").unwrap();
    let snapshot = folder.join("snapshots/0a1b2c");
    fs::create_dir_all(&snapshot).unwrap();
    for file in files {
        fs::copy(
            root().join("tests/golden").join(file),
            snapshot.join(Path::new(file).file_name().unwrap()),
        )
        .unwrap();
    }
}

fn fetch(folder: &Folder, arguments: &[&str]) -> Output {
    let mut command = pipeline(folder.path(), &["fetch"]);
    command.args(arguments).env("HF_HUB_OFFLINE", "1");
    command.env_remove("HF_HUB_CACHE");
    execute(command.env("HF_HOME", folder.path().join("home")))
}

#[test]
fn a_downloaded_repository_becomes_a_folder() {
    let folder = Folder::new("fetch");
    let home = folder.path().join("home");
    let base = [
        "base/config.json",
        "base/model.safetensors",
        "base/preprocessor_config.json",
    ];
    downloaded(&home, "owner/base", &base);
    let output = fetch(&folder, &["owner/base"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("models/base: 3 files of owner/base, a hubert"));
    let model = folder.path().join("models/base/model.safetensors");
    assert_eq!(
        fs::read(model).unwrap(),
        fs::read(root().join("tests/golden/base/model.safetensors")).unwrap()
    );
    let own = [&base[..], &["fbank_front/cmvn.safetensors"]].concat();
    downloaded(&home, "owner/own", &own);
    assert!(fetch(&folder, &["owner/own"]).status.success());
    assert!(folder.path().join("models/own/cmvn.safetensors").exists());
    // Nothing is overwritten.
    assert_eq!(fetch(&folder, &["owner/base"]).status.code(), Some(2));

    let shards = [
        "formats/shards/config.json",
        "formats/shards/pytorch_model.bin.index.json",
        "formats/shards/pytorch_model-00001-of-00002.bin",
        "formats/shards/pytorch_model-00002-of-00002.bin",
    ];
    downloaded(&home, "owner/shards", &shards);
    let output = fetch(
        &folder,
        &["owner/shards", "--revision", "0a1b2c", "--out", "s"],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(fs::read_dir(folder.path().join("s")).unwrap().count(), 4);
}

/// DiariZen's hub describes models by config.toml; this one was trained from a file that it has not.
#[test]
fn a_repository_of_diarizen_is_copied() {
    let folder = Folder::new("fetch-diarizen");
    let home = folder.path().join("home");
    let files = [
        "formats/diarizen/config.toml",
        "formats/diarizen/pytorch_model.bin",
    ];
    downloaded(&home, "owner/diarizen", &files);
    let output = fetch(&folder, &["owner/diarizen", "--out", "d"]);
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    assert!(
        error.contains("its WavLM is `/data/exp/s80/pruned.pt`"),
        "{error}"
    );
    assert_eq!(fs::read_dir(folder.path().join("d")).unwrap().count(), 2);
}

#[test]
fn what_is_not_there_is_said_with_what_to_do() {
    let folder = Folder::new("fetch-missing");
    let output = fetch(&folder, &["facebook/hubert-base-ls960"]);
    assert_eq!(output.status.code(), Some(1));
    let line = "`hf download facebook/hubert-base-ls960 --local-dir \
                models/hubert-base-ls960`; or place config.json";
    assert!(stderr(&output).contains(line), "{}", stderr(&output));
    let home = folder.path().join("home");
    downloaded(&home, "owner/bare", &["base/config.json"]);
    let output = fetch(&folder, &["owner/bare"]);
    let words = "neither model.safetensors nor pytorch_model.bin";
    assert!(stderr(&output).contains(words), "{}", stderr(&output));
    assert!(!folder.path().join("models/bare").exists());
    let output = fetch(&folder, &["owner/bare", "--revision", "v2"]);
    assert!(
        stderr(&output).contains("at the revision v2"),
        "{}",
        stderr(&output)
    );
    for repo in ["base", "a/b/c", "../b"] {
        assert_eq!(fetch(&folder, &[repo]).status.code(), Some(2), "{repo}");
    }
}
