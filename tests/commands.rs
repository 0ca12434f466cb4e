//! `pipeline doctor`, `pipeline completions`, the option `--device`, and calls from other folders
//! than the repository.
use crate::program::{Folder, call, root, stderr, stdout};
use crate::sample::sample;
use std::fs;

#[test]
fn shells_complete_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(root(), &["completions", shell]);
        assert!(
            ["compare", "synthetic", "torchaudio"]
                .iter()
                .all(|word| script.contains(word)),
            "{shell}"
        );
    }
}

#[test]
fn the_doctor_finds_what_is_damaged() {
    let report = stdout(root(), &["doctor"]);
    let sums = fs::read_to_string(root().join("data/sample/BLAKE3SUMS")).unwrap();
    assert!(
        report.contains(&format!("whole, {} files", sums.lines().count())),
        "{report}"
    );
    let manifests = ["train.tsv", "dev.tsv"]
        .map(|m| fs::read_to_string(root().join("data/sample").join(m)).unwrap());
    let audio = manifests
        .iter()
        .flat_map(|m| m.lines().skip(1))
        .map(|line| line.split('\t').next().unwrap());
    for path in audio.chain(["model.safetensors", "config.json", "train.tsv", "dev.tsv"]) {
        assert!(
            sums.lines().any(|line| line.ends_with(path)),
            "{path} has no hash"
        );
    }
    let folder = Folder::new("doctor");
    assert!(stdout(folder.path(), &["doctor"]).contains("not in this folder"));
    let sample = folder.path().join("data/sample");
    fs::create_dir_all(&sample).unwrap();
    fs::write(sample.join("BLAKE3SUMS"), &sums).unwrap();
    fs::copy(
        root().join("data/sample/train.tsv"),
        sample.join("train.tsv"),
    )
    .unwrap();
    fs::write(sample.join("dev.tsv"), "damaged").unwrap();
    let output = call(folder.path(), &["doctor"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.code() == Some(1)
            && text.contains(" dev.tsv")
            && !text.contains(" train.tsv"),
        "{text}"
    );
}

/// An installed program knows no folder except the working directory.
#[test]
fn away_from_the_repository_messages_name_the_remedy() {
    let folder = Folder::new("away");
    let output = call(folder.path(), &["check", "graphs/dphubert.json"]);
    assert!(
        stderr(&output).contains("`pipeline new DIR` writes a shipped one"),
        "{}",
        stderr(&output)
    );
    let graph = root().join("graphs/dphubert.json");
    let output = call(folder.path(), &["run", graph.to_str().unwrap()]);
    assert!(
        output.status.code() == Some(78)
            && stderr(&output).contains("`pipeline new DIR --sample` writes it")
    );
}

#[test]
fn a_device_that_the_build_does_not_have_is_refused() {
    let folder = sample("device");
    let run_on = |device: &str| {
        call(
            folder.path(),
            &["run", "g.json", "--steps", "1", "--device", device],
        )
    };
    let unknown = "write cpu, or cuda, or cuda:1 for the second GPU";
    let (other, own) = match cfg!(feature = "cuda") {
        true => (
            [
                ("cpu", "this build computes on a GPU"),
                ("cuda:9", "there is no cuda:9"),
            ],
            "cuda:1",
        ),
        false => (
            [
                ("cuda", "this build computes on the CPU"),
                ("cuda:1", "docs/cuda.md"),
            ],
            "cpu",
        ),
    };
    for (device, message) in other
        .into_iter()
        .chain([("gpu", unknown), ("cuda:x", unknown)])
    {
        let output = run_on(device);
        assert!(
            output.status.code() == Some(2) && stderr(&output).contains(message),
            "{device}: {}",
            stderr(&output)
        );
    }
    assert!(run_on(own).status.success());
}

#[test]
fn a_flag_that_takes_a_number_names_itself_and_what_is_no_number() {
    let calls = [
        (&["bench", "g.json", "--steps"][..], "--steps"),
        (&["run", "g.json", "--steps"], "--steps"),
        (
            &["tap", "g.json", "a.b", "--out", "x", "--steps"],
            "--steps",
        ),
        (
            &["bench", "g.json", "--steps", "1", "--synthetic"],
            "--synthetic",
        ),
        (
            &[
                "extract",
                "m",
                "a",
                "--layers",
                "0",
                "--out",
                "x",
                "--bad-files",
            ],
            "--bad-files",
        ),
    ];
    for (arguments, flag) in calls {
        for value in ["", "-1", "1.5", "x", "1x0.01", "99999999999999999999"] {
            let output = call(root(), &[arguments, &[value]].concat());
            let text = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{text}");
            let named = text.contains(&format!("'{flag} <"));
            let said = text.contains(&format!("'{value}' is no "));
            assert!(named && said, "{arguments:?} {value:?}: {text}");
        }
    }
}
