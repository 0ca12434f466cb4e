//! Messages that say what stands where something else was wanted, and what to do.
use crate::program::{Folder, call, last_line, root, stderr};
use crate::sample::{run, sample};
use std::fs;

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 94371\n";
const PAGE: &str = "<!DOCTYPE html>\n<html><body>404</body></html>\n";
const FETCH: &str = "it is a Git LFS pointer, not the file; fetch the file with `git lfs pull`";
const AGAIN: &str = "it is a web page, not the file; check the address and download it again";

#[test]
fn a_name_on_the_hub_is_no_folder() {
    let name = "facebook/hubert-base-ls960";
    let command = format!("`hf download {name} --local-dir {name}`");
    let inspected = call(root(), &["inspect", name]);
    assert_eq!(inspected.status.code(), Some(1));
    let says = stderr(&inspected);
    assert!(
        says.contains(&format!("there is no folder `{name}`")),
        "{says}"
    );
    assert!(says.contains(&command), "{says}");
    let inspect = |name: &str| last_line(&call(root(), &["inspect", name]));
    let missing =
        "there is no folder `nowhere`; name a model's folder, or the file of a checkpoint";
    assert_eq!(inspect("nowhere"), missing);
    let other = inspect("docs");
    assert!(other.starts_with("docs: is no model's folder"), "{other}");
    let graph = "graphs/distilhubert.json";
    let set = format!("teacher.model={name}");
    let checked = call(root(), &["check", graph, "--set", &set]);
    assert_eq!(checked.status.code(), Some(78));
    assert!(stderr(&checked).contains(&command), "{}", stderr(&checked));
    let architecture = [
        "--set",
        "teacher.architecture={\"hidden_size\":256,\"num_attention_heads\":4}",
    ];
    let checked = call(
        root(),
        &[&["check", graph, "--set", &set][..], &architecture].concat(),
    );
    assert!(checked.status.success(), "{}", stderr(&checked));
    assert!(stderr(&checked).contains(&command), "{}", stderr(&checked));
}

#[test]
fn pointers_and_pages_in_place_of_files_are_named() {
    for (content, says) in [(POINTER, FETCH), (PAGE, AGAIN)] {
        let folder = sample("stand-in");
        let path = |name: &str| folder.path().join(name);
        let keep = |name: &str| fs::read(path(name)).unwrap();
        let inspect = || last_line(&call(folder.path(), &["inspect", "teacher"]));
        for file in ["teacher/config.json", "teacher/model.safetensors"] {
            let original = keep(file);
            fs::write(path(file), content).unwrap();
            assert_eq!(inspect(), format!("{file}: {says}"));
            fs::write(path(file), original).unwrap();
        }

        // Missing in effect: a warning of `check`, an error before the first step of `run`.
        let weights = "teacher/model.safetensors";
        let original = keep(weights);
        fs::write(path(weights), content).unwrap();
        let named = format!("node `teacher`: `{weights}`: {says}");
        let checked = call(folder.path(), &["check", "g.json"]);
        assert!(checked.status.success());
        assert!(
            stderr(&checked).contains(&format!("warning: {named}")),
            "{}",
            stderr(&checked)
        );
        let output = run(&folder, "out", &[]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(&named), "{}", stderr(&output));
        assert!(!path("out").exists());
        fs::write(path(weights), original).unwrap();

        let original = keep("3.wav");
        fs::write(path("3.wav"), content).unwrap();
        let output = run(&folder, "out", &[]);
        assert!(stderr(&output).contains(&format!("3.wav cannot be read: {says}")));
        fs::write(path("3.wav"), original).unwrap();

        fs::write(path("train.tsv"), content).unwrap();
        let output = run(&folder, "out2", &[]);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            stderr(&output).contains(&format!("train.tsv`: {says}")),
            "{}",
            stderr(&output)
        );

        fs::write(path("g.json"), content).unwrap();
        let output = call(folder.path(), &["check", "g.json"]);
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(last_line(&output), format!("g.json: {says}"));
    }
}

/// Returns what `check` says on stderr of the sample's graph with one setting.
fn warnings(folder: &Folder, setting: &str) -> String {
    let output = call(folder.path(), &["check", "g.json", "--set", setting]);
    assert!(output.status.success(), "{}", stderr(&output));
    stderr(&output)
}

#[test]
fn settings_that_are_hardly_meant_are_warned_of() {
    let folder = sample("warnings");
    assert_eq!(warnings(&folder, "seed=3"), "");
    let large = "the learning rate 10 of `heads` is above 1";
    assert!(warnings(&folder, "prune.step.rates.heads=10").contains(large));
    let train = "the dev set `train.tsv` is the train set";
    assert!(warnings(&folder, "prune.speech.dev=train.tsv").contains(train));
    fs::copy(
        folder.path().join("train.tsv"),
        folder.path().join("copy.tsv"),
    )
    .unwrap();
    let copy = "the dev set `copy.tsv` is the train set";
    assert!(warnings(&folder, "prune.speech.dev=copy.tsv").contains(copy));
    let output = run(
        &folder,
        "out",
        &["--set", "prune.speech.dev=copy.tsv", "--steps", "1"],
    );
    assert!(stderr(&output).contains(copy), "{}", stderr(&output));

    let cases = [
        (".\n", "has no audio: it lists no utterance"),
        (
            ".\nx.wav\t16000\ny.wav\t16000\n",
            "has no audio: none of the files of its 2 utterances is there",
        ),
        (
            ".\n1.wav\t10\n",
            "has no audio: all 1 utterances are shorter than `min_seconds` or longer",
        ),
    ];
    for (manifest, says) in cases {
        fs::write(folder.path().join("dev.tsv"), manifest).unwrap();
        let said = warnings(&folder, "seed=3");
        assert!(
            said.contains(&format!("the dev set `dev.tsv` {says}")),
            "{said}"
        );
    }
}

#[test]
fn a_source_that_sends_no_row_is_warned_of() {
    let folder = sample("no-rows");
    let none = "no utterance of its manifest can be used";
    let said = warnings(&folder, "prune.speech.min_seconds=1000");
    assert!(said.contains(none), "{said}");
    // The other phase has its own bounds.
    assert_eq!(said.matches(none).count(), 1, "{said}");
    fs::write(folder.path().join("broken.tsv"), ".\nx.wav 16000\n").unwrap();
    let said = warnings(&folder, "distill.speech.manifest=broken.tsv");
    let cause = "node `speech`: broken.tsv: line 2 is not `path<TAB>samples`: x.wav 16000";
    assert!(said.contains(cause), "{said}");
}

#[test]
fn an_lstm_without_look_ahead_behind_a_front_end_that_has_it_is_warned_of() {
    let check = |architecture: &str, settings: &[&str]| {
        let architecture = format!(
            "student.architecture={{\"encoder\": \"lstm\", \"lstm_hidden_size\": 128, \
             \"num_hidden_layers\": 2, \"feature_projection\": false, \"conv_dim\": [32, 48, 64, 96, \
             128, 192, 256], \"mask_time_prob\": 0{architecture}}}"
        );
        let mut arguments = vec![
            "check",
            "graphs/lstm-dkd.json",
            "--set",
            "student.init=null",
        ];
        for setting in [&[architecture.as_str()], settings].concat() {
            arguments.extend(["--set", setting]);
        }
        let output = call(root(), &arguments);
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    let streaming = ", \"lstm_bidirectional\": false";
    let by_layer = ", \"lstm_bidirectional\": false, \"feat_extract_norm\": \"layer\"";
    let group_norm = check(streaming, &[]);
    assert!(
        group_norm.contains("node `student`: its LSTM reads a row from its beginning alone"),
        "{group_norm}"
    );
    assert!(group_norm.contains("the group norm"), "{group_norm}");
    assert!(check(by_layer, &[]).contains("the normalisation of its waveforms"));
    for silent in [
        check(by_layer, &["student.normalize=false"]),
        check("", &[]),
    ] {
        assert!(!silent.contains("LSTM"), "{silent}");
    }
}
