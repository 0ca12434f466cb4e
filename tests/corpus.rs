//! `pipeline manifest`: a corpus as train.tsv and dev.tsv.
use crate::program::{Folder, call, last_line, stderr};
use crate::sample::{noise, sample};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Writes noise of `samples` as a file of the corpus, with its folders.
fn speak(corpus: &Path, path: &str, samples: usize) {
    let path = corpus.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    noise(&path, samples, samples as u32);
}

/// Writes a corpus as LibriSpeech unpacks: 8 speakers, 2 chapters each.
fn librispeech(corpus: &Path, speakers: impl Iterator<Item = usize>) {
    for speaker in speakers {
        for chapter in [7, 8] {
            for n in 0..2 {
                let folder = format!("train/{speaker}/{chapter}");
                let name = format!("{speaker}-{chapter}-000{n}.wav");
                let samples = 9000 + 100 * speaker + 10 * chapter + n;
                speak(corpus, &format!("{folder}/{name}"), samples);
            }
        }
    }
}

/// Returns the rows of a manifest, and checks its first line.
fn rows(folder: &Folder, manifest: &str, corpus: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(folder.path().join(manifest)).unwrap();
    let root = fs::canonicalize(folder.path().join(corpus)).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), root.to_str());
    let rows: Vec<&str> = lines.collect();
    assert!(rows.is_sorted());
    rows.into_iter().map(str::to_owned).collect()
}

fn speakers(rows: &BTreeSet<String>) -> BTreeSet<&str> {
    let names = rows.iter().map(|row| row.split('/').nth(1).unwrap());
    names.collect()
}

#[test]
fn a_corpus_is_divided_by_speakers() {
    let folder = sample("corpus");
    librispeech(&folder.path().join("a"), 10..18);
    librispeech(&folder.path().join("b"), (10..18).rev());
    let bad = "a/train/10/7/10-7-0009.flac";
    fs::write(folder.path().join(bad), "no audio").unwrap();
    fs::write(folder.path().join("a/train/10.sph"), "").unwrap();
    let manifest = |corpus: &str, out: &str, extra: &[&str]| {
        let arguments = ["manifest", corpus, "--out", out, "--dev", "0.25"];
        call(folder.path(), &[&arguments[..], extra].concat())
    };
    let output = manifest("a", "lists", &[]);
    let text = stderr(&output);
    assert!(output.status.success(), "{text}");
    assert!(output.stdout.is_empty());
    let train = rows(&folder, "lists/train.tsv", "a");
    let dev = rows(&folder, "lists/dev.tsv", "a");
    assert_eq!((train.len(), dev.len()), (24, 8), "{text}");
    assert!(speakers(&train).is_disjoint(&speakers(&dev)));
    assert!(
        train
            .union(&dev)
            .any(|row| row == "train/12/8/12-8-0001.wav\t10281")
    );
    assert!(text.contains(&format!("{bad} cannot be read: ")), "{text}");
    for line in [
        "left out: 1 NIST SPHERE (.sph) (convert these",
        "1 of 33 audio files are left out\n",
        "lists/train.tsv: 24 utterances, 0.00 hours, 6 speakers\n",
        "lists/dev.tsv: 8 utterances, 0.00 hours, 2 speakers\n",
        "in a graph: \"manifest\": \"lists/train.tsv\", \"dev\": \"lists/dev.tsv\"\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }

    // Neither the place nor the order in which files were made matters.
    assert!(manifest("b", "again", &[]).status.success());
    assert!(rows(&folder, "again/train.tsv", "b") == train);

    // The lists are not overwritten, also if one of them is gone.
    fs::remove_file(folder.path().join("lists/train.tsv")).unwrap();
    let output = manifest("b", "lists", &[]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(
        text.starts_with("lists/dev.tsv is there already and is not overwritten"),
        "{text}"
    );
    assert!(!folder.path().join("lists/train.tsv").exists());

    let by_file = manifest("b", "files", &["--by", "file"]);
    assert!(by_file.status.success(), "{}", stderr(&by_file));
    let dev = rows(&folder, "files/dev.tsv", "b");
    assert_eq!(dev.len(), 8);
    assert!(speakers(&dev).len() > 2);

    // Both lists run, the lengths of all rows being those of their files.
    let run = [
        "run",
        "g.json",
        "--steps",
        "2",
        "--set",
        "speech.manifest=again/train.tsv",
        "--set",
        "prune.speech.dev=again/dev.tsv",
    ];
    let output = call(folder.path(), &run);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn speakers_are_folders_at_a_level() {
    let folder = Folder::new("corpus-levels");
    let corpus = folder.path().join("c");
    for (i, path) in [
        "en/anna/1/a.wav",
        "en/anna/2/b.wav",
        "en/ben/1/c.wav",
        "de/anna/1/d.wav",
        "de/cleo/1/e.wav",
    ]
    .iter()
    .enumerate()
    {
        speak(&corpus, path, 4000 + i);
    }
    let manifest = |out: &str, extra: &[&str]| {
        let arguments = ["manifest", "c", "--out", out, "--dev", "0.4"];
        call(folder.path(), &[&arguments[..], extra].concat())
    };
    let side_of_anna = |out: &str| {
        let output = manifest(out, &["--speaker-level", "2"]);
        assert!(output.status.success(), "{}", stderr(&output));
        let dev = rows(&folder, &format!("{out}/dev.tsv"), "c");
        dev.iter().filter(|row| row.contains("/anna/")).count()
    };
    let annas = side_of_anna("two");
    assert!(annas == 0 || annas == 3, "{annas} files of anna are in dev");
    // Without a level, each folder is a speaker.
    let output = manifest("folders", &[]);
    let text = stderr(&output);
    assert!(
        text.contains("2 utterances, 0.00 hours, 2 speakers"),
        "{text}"
    );
    let output = manifest("four", &["--speaker-level", "4"]);
    assert_eq!(output.status.code(), Some(1));
    let expected = "c: 5 audio files are in no folder at the level of `--speaker-level`, the first \
                    `de/anna/1/d.wav`; move them, or name another level";
    assert_eq!(last_line(&output), expected);
    assert!(!folder.path().join("four").exists());
    let output = manifest("x", &["--speaker-level", "1", "--by", "file"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(manifest("x", &["--dev", "1.5"]).status.code(), Some(2));
}

#[test]
fn two_sets_need_two_speakers() {
    let folder = Folder::new("corpus-one");
    let corpus = folder.path().join("c");
    speak(&corpus, "84/1/84-1-0000.wav", 4000);
    speak(&corpus, "84/2/84-2-0000.wav", 4000);
    let manifest = |extra: &[&str]| {
        let arguments = ["manifest", "c", "--out", "lists"];
        call(folder.path(), &[&arguments[..], extra].concat())
    };
    let output = manifest(&[]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(
        text.starts_with("c: all files are of one speaker"),
        "{text}"
    );
    assert!(text.contains("`--by file`"), "{text}");
    assert!(!folder.path().join("lists").exists());
    let output = manifest(&["--by", "file"]);
    assert!(output.status.success(), "{}", stderr(&output));
    for list in ["lists/train.tsv", "lists/dev.tsv"] {
        assert_eq!(rows(&folder, list, "c").len(), 1);
    }
    let nothing = call(folder.path(), &["manifest", "none", "--out", "x"]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(
        stderr(&nothing).starts_with("none: No such file"),
        "{}",
        stderr(&nothing)
    );
}
