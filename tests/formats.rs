//! Checkpoints of other programs, as `inspect`, `extract` and graphs take them
//! (tests/golden/formats).
use crate::program::{Folder, call, last_line, root, stderr, stdout, stdout_json};
use crate::sample::{finished, noise, sample};
use nodes::data::file;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

fn format(name: &str) -> PathBuf {
    root().join("tests/golden/formats").join(name)
}

fn inspected(name: &str) -> Value {
    let path = format(name);
    let path = path.to_str().unwrap();
    stdout_json(root(), &["inspect", path, "--format", "json"])
}

#[test]
fn inspect_names_the_format() {
    for (name, format, architecture, normalize) in [
        ("bin", "huggingface", "hubert", false),
        ("fairseq_hubert.pt", "fairseq", "hubert", false),
        ("fairseq_ctc.pt", "fairseq", "wav2vec2", true),
        ("s3prl_hubert.pt", "s3prl", "hubert", false),
        ("unilm_wavlm.pt", "unilm", "wavlm", false),
        ("lighthubert_small.pt", "lighthubert", "hubert", false),
        ("diarizen", "diarizen", "pruned_wavlm", true),
        ("torchaudio_large.pth", "torchaudio", "hubert", true),
        ("dphubert.pth", "torchaudio", "pruned_hubert", false),
        ("distiller.ckpt", "s3prl-distiller", "hubert", false),
        (
            "distiller_fbank.ckpt",
            "s3prl-distiller",
            "compact_hubert",
            false,
        ),
        ("arm.ckpt", "lightning", "compact_hubert", false),
        ("data2vec", "huggingface", "data2vec-audio", true),
        ("whisper", "huggingface", "whisper", false),
    ] {
        let found = inspected(name);
        let keys = ["format", "architecture", "normalize"].map(|key| found[key].clone());
        assert_eq!(
            keys,
            [json!(format), json!(architecture), json!(normalize)],
            "{name}"
        );
        assert_eq!(found["unread_tensors"], json!([]), "{name}");
    }
    assert_eq!(inspected("dphubert.pth")["heads"], json!([3, 0]));
    assert_eq!(inspected("distiller_fbank.ckpt")["cmvn"], json!(true));
}

/// Returns the file that `extract` writes of one utterance.
fn extracted(folder: &Folder, model: &str) -> Vec<u8> {
    let arguments = [
        "extract",
        model,
        "a.wav",
        "--layers",
        "all",
        "--out",
        "out.parquet",
    ];
    stdout(folder.path(), &arguments);
    fs::read(folder.path().join("out.parquet")).unwrap()
}

#[test]
fn a_checkpoint_gives_the_states_of_its_folder() {
    let folder = Folder::new("formats-extract");
    noise(&folder.path().join("a.wav"), 9001, 1);
    let base = root().join("tests/golden/base");
    let expected = extracted(&folder, base.to_str().unwrap());
    for name in ["bin", "shards", "fairseq_hubert.pt", "s3prl_hubert.pt"] {
        // Names say nothing.
        let copy = folder.path().join("model.h5");
        let model = format(name);
        let model = if model.is_dir() {
            model
        } else {
            fs::copy(model, &copy).unwrap();
            copy
        };
        let found = extracted(&folder, model.to_str().unwrap());
        assert!(found == expected, "{name}");
    }
}

/// DiariZen keeps a WavLM below a prefix, beside the parts that tell speakers apart.
#[test]
fn a_folder_may_hold_the_arguments_of_a_builder() {
    let folder = sample("formats-builder");
    let finalized = root().join("tests/golden/finalized");
    let model = folder.path().join("m");
    fs::create_dir(&model).unwrap();
    fs::copy(finalized.join("config.json"), model.join("config.json")).unwrap();
    let tensors = file::load(&finalized.join("model.safetensors")).unwrap();
    let write = |prefix: &str, others: &[&str]| {
        let tensors = tensors.iter().map(|(name, (shape, values))| {
            (format!("{prefix}{name}"), shape.clone(), values.into())
        });
        let others = others
            .iter()
            .map(|name| (name.to_string(), vec![1], vec![0.5].into()));
        let tensors: Vec<_> = tensors.chain(others).collect();
        file::save(
            &model.join("model.safetensors"),
            &tensors,
            Default::default(),
        )
        .unwrap();
    };
    let expected = inspected("dphubert.pth");
    for (prefix, others) in [("", &[][..]), ("wavlm_model.", &["proj.weight"])] {
        write(prefix, others);
        let found = stdout_json(folder.path(), &["inspect", "m", "--format", "json"]);
        assert_eq!(found, expected);
        let command = ["check", "g.json", "--set", "teacher.model=m"];
        stdout(folder.path(), &command);
    }
    let another = "student.feature_extractor.conv_layers.0.conv.weight";
    write("", &[another]);
    let output = call(folder.path(), &["inspect", "m"]);
    assert_eq!(output.status.code(), Some(1));
    let error = last_line(&output);
    assert!(error.starts_with("m: holds several encoders"), "{error}");
}

/// The file that config.toml names may have moved; where none is, the message says what to do.
#[test]
fn a_folder_of_diarizen_needs_what_describes_its_wavlm() {
    let folder = sample("formats-diarizen");
    let model = folder.path().join("m");
    fs::create_dir(&model).unwrap();
    let source = format("diarizen");
    for name in ["config.toml", "pytorch_model.bin"] {
        fs::copy(source.join(name), model.join(name)).unwrap();
    }
    let refused = |path: &str| {
        let output = call(folder.path(), &["inspect", path]);
        assert_eq!(output.status.code(), Some(1));
        last_line(&output)
    };
    let error = refused("m");
    assert!(
        error.contains("its WavLM is `/data/exp/s80/pruned.pt`"),
        "{error}"
    );
    let error = refused("m/pytorch_model.bin");
    assert!(error.contains("put the config.toml"), "{error}");

    fs::copy(source.join("pruned.pt"), model.join("pruned.pt")).unwrap();
    let found = stdout_json(folder.path(), &["inspect", "m", "--format", "json"]);
    assert_eq!(found, inspected("diarizen"));
    noise(&folder.path().join("a.wav"), 4001, 1);
    extracted(&folder, "m");

    // A published name describes another model than this one.
    let config = fs::read_to_string(model.join("config.toml")).unwrap();
    let config = config.replace("/data/exp/s80/pruned.pt", "wavlm_large_s80_md");
    fs::write(model.join("config.toml"), config).unwrap();
    let error = refused("m");
    assert!(
        error.contains("but config.toml says [153, 512, 3]"),
        "{error}"
    );
}

/// A run from a checkpoint is the run from its folder, and the cache knows a file by its bytes.
#[test]
fn a_graph_takes_checkpoints() {
    let folder = sample("formats-graph");
    // What masks a model was pre-trained with is in its config.json alone.
    let numbers = |results: Vec<Vec<u8>>| -> Vec<Vec<u8>> {
        let texts = results.into_iter();
        texts.filter(|file| !file.starts_with(b"{\n")).collect()
    };
    let expected = numbers(finished(&folder, "folder", &["--steps", "2"]));
    let checkpoint = format("fairseq_hubert.pt");
    let from = |name: &str, run: &str| {
        let path = folder.path().join(name);
        fs::copy(&checkpoint, &path).unwrap();
        let model = format!("teacher.model={name}");
        let shapes = format!("prune.gates.model={name}");
        let init = format!("prune.student.init={name}");
        let sets = ["--set", &model, "--set", &shapes, "--set", &init];
        let more = ["--set", "teacher.cache=c", "--steps", "2"];
        numbers(finished(&folder, run, &[&sets[..], &more[..]].concat()))
    };
    assert_eq!(expected.len(), 5);
    assert!(from("a.pt", "file") == expected);
    assert!(from("b.ckpt", "moved") == expected);
    let caches = fs::read_dir(folder.path().join("c")).unwrap();
    let caches = caches.filter(|entry| entry.as_ref().unwrap().path().is_dir());
    assert_eq!(caches.count(), 1, "one fingerprint");
}

#[test]
fn all_tensors_that_do_not_fit_are_listed() {
    let folder = Folder::new("formats-list");
    noise(&folder.path().join("a.wav"), 9001, 1);
    fs::create_dir(folder.path().join("m")).unwrap();
    for name in ["config.json", "pytorch_model.bin"] {
        fs::copy(format("bin").join(name), folder.path().join("m").join(name)).unwrap();
    }
    let config = folder.path().join("m/config.json");
    let text = fs::read_to_string(&config).unwrap();
    let deeper = text
        .replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3")
        .replace("\"intermediate_size\": 40", "\"intermediate_size\": 41");
    fs::write(&config, deeper).unwrap();
    let output = call(
        folder.path(),
        &[
            "extract",
            "m",
            "a.wav",
            "--layers",
            "0",
            "--out",
            "out.parquet",
        ],
    );
    assert_eq!(output.status.code(), Some(1));
    let error = last_line(&output);
    for part in [
        "`encoder.layers.0.feed_forward.intermediate_dense.weight` is [40, 24], but config.json says \
         [41, 24]",
        "there is no tensor `encoder.layers.2.attention.",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    // Six of other shapes, and the sixteen of a layer.
    assert_eq!(error.split("; ").count(), 22, "{error}");
}

#[test]
fn teachers_alone_are_no_students() {
    let folder = sample("formats-teachers");
    for (name, words) in [
        ("whisper", "Whisper's encoder"),
        ("data2vec", "data2vec's stacked"),
    ] {
        let init = format!("prune.student.init={}", format(name).display());
        let output = call(folder.path(), &["check", "g.json", "--set", &init]);
        assert_eq!(output.status.code(), Some(78));
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
}

#[test]
fn whisper_reads_30_seconds_at_most() {
    let folder = Folder::new("formats-whisper");
    noise(&folder.path().join("a.wav"), 480_001, 1);
    let whisper = format("whisper");
    let arguments = [
        "extract",
        whisper.to_str().unwrap(),
        "a.wav",
        "--layers",
        "1",
        "--out",
        "o",
    ];
    let output = call(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    assert!(
        error.contains("Whisper's encoder reads 30 s at most"),
        "{error}"
    );
}
