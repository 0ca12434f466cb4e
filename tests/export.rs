//! Exported models: what is in their files, and that those which this program reads give the same
//! hidden states. tests/export/check.py loads all of them where they are meant to be loaded.
use crate::program::{Folder, call, last_line, pipeline, read_json, root, stderr, stdout_json};
use std::fs;
use std::path::Path;

/// Models of each kind.
const MODELS: [&str; 12] = [
    "golden/base",
    "golden/group_bias",
    "golden/large",
    "golden/wavlm",
    "golden/wavlm_large",
    "golden/arm",
    "golden/fit",
    "golden/star",
    "golden/lstm_both",
    "golden/lstm_forward",
    "golden/fbank_front",
    PRUNED,
];
const PRUNED: &str = "data/earlier/run/prune/student";

/// Exports a model and returns stderr; it must succeed.
fn export(folder: &Folder, model: &str, format: &str, out: &str, options: &[&str]) -> String {
    let model = root().join("tests").join(model);
    let model = model.to_str().unwrap();
    let arguments = ["export", model, "--format", format, "--out", out];
    let output = call(folder.path(), &[&arguments, options].concat());
    assert!(output.status.success(), "{model}: {}", stderr(&output));
    stderr(&output)
}

/// Returns the hidden states of a sample by a model, as a file's bytes.
fn extract(folder: &Folder, model: &Path, options: &[&str]) -> Vec<u8> {
    let audio = root().join("data/sample/audio/254-12312-0000.flac");
    let arguments = [
        "extract",
        model.to_str().unwrap(),
        audio.to_str().unwrap(),
        "--layers",
        "all",
        "--out",
        "out.parquet",
    ];
    let output = call(folder.path(), &[&arguments, options].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    fs::read(folder.path().join("out.parquet")).unwrap()
}

#[test]
fn every_model_has_a_class_of_its_own() {
    let folder = Folder::new("export-code");
    for (i, model) in MODELS.into_iter().enumerate() {
        let out = format!("code{i}");
        let said = export(&folder, model, "hf-code", &out, &[]);
        assert!(said.contains("differ by at most 0.0e0"), "{said}");
        let out = folder.path().join(out);
        let config = read_json(&out.join("config.json"));
        let class = config["auto_map"]["AutoModel"].as_str().unwrap();
        let code = fs::read_to_string(out.join("modeling.py")).unwrap();
        assert_eq!(class, "modeling.CompactSpeechModel");
        assert!(code.contains("class CompactSpeechModel(EncoderMixin, PreTrainedModel)"));
        let model_type = config["model_type"].as_str().unwrap();
        assert!(code.contains(&format!("model_type = \"{model_type}\"")));
        let own = root().join("tests").join(model);
        assert!(
            extract(&folder, &own, &[]) == extract(&folder, &out, &[]),
            "{model}"
        );
    }
}

/// A model whose files say nothing of normalisation, or the wrong thing, is told by an option; what
/// is written says it in its files.
#[test]
fn an_option_overrules_what_a_model_says_of_normalisation() {
    let folder = Folder::new("export-normalize");
    let model = "../data/sample/teacher";
    let of_option = |value: &str| {
        let out = format!("out-{value}");
        export(&folder, model, "hf", &out, &["--normalize", value]);
        let out = folder.path().join(out);
        let settings = read_json(&out.join("preprocessor_config.json"));
        assert_eq!(settings["do_normalize"], value == "true");
        extract(&folder, &out, &[])
    };
    let [with, without] = ["true", "false"].map(of_option);
    assert!(with != without);
    let teacher = root().join("data/sample/teacher");
    assert!(extract(&folder, &teacher, &["--normalize", "true"]) == with);
    assert!(extract(&folder, &teacher, &["--normalize", "false"]) == without);
    let log_mel = root().join("tests/golden/fbank_front");
    let log_mel = log_mel.to_str().unwrap();
    let arguments = [
        "export",
        log_mel,
        "--format",
        "s3prl",
        "--out",
        "no",
        "--normalize",
        "true",
    ];
    let refused = call(folder.path(), &arguments);
    assert_eq!(refused.status.code(), Some(1));
    assert!(last_line(&refused).contains("reads log-mel frames of waveforms as they are"));
    assert!(
        extract(&folder, &teacher, &[]) == without,
        "the sample's teacher takes waveforms as they are"
    );
}

#[test]
fn an_upstream_is_one_file_and_its_weights() {
    let folder = Folder::new("export-s3prl");
    for (i, model) in MODELS.into_iter().enumerate() {
        let said = export(
            &folder,
            model,
            "s3prl",
            &format!("up{i}"),
            &["--layers", "0,-1"],
        );
        assert!(said.contains("differ by at most 0.0e0"), "{said}");
        let upstream = folder.path().join(format!("up{i}/upstream/up{i}"));
        let expert = fs::read_to_string(upstream.join("expert.py")).unwrap();
        assert!(expert.contains("class UpstreamExpert"));
        assert!(!expert.contains("from .") && !expert.contains("transformers import"));
        let hubconf = fs::read_to_string(upstream.join("hubconf.py")).unwrap();
        assert!(hubconf.contains(&format!("def up{i}(")));
        let outputs = read_json(&upstream.join("outputs.json"));
        let inspected = stdout_json(&upstream, &["inspect", ".", "--format", "json"]);
        let last = inspected["layers"].clone();
        assert_eq!(outputs["layers"], serde_json::json!([0, last]));
    }
    let said = export(&folder, "golden/fit", "s3prl", "joined", &[]);
    assert!(said.contains("give `--heads`"), "{said}");
}

#[test]
fn heads_must_fit_the_layers_that_they_read() {
    let folder = Folder::new("export-heads");
    let path = |name: &str| folder.path().join(name);
    let heads = |file: &str, groups: &str, width: usize| {
        let weight = vec![0.5; 24 * width];
        let tensors = [
            ("0.weight".to_owned(), vec![24, width], weight.into()),
            ("0.bias".to_owned(), vec![24], vec![0.0; 24].into()),
        ];
        let metadata = [("groups".to_owned(), groups.to_owned())].into();
        nodes::data::file::save(&path(file), &tensors, metadata).unwrap();
    };
    heads("good.safetensors", "[[1,4]]", 16);
    heads("wide.safetensors", "[[1,4]]", 17);
    heads("deep.safetensors", "[[5]]", 16);
    export(
        &folder,
        "golden/arm",
        "s3prl",
        "arm",
        &["--heads", "good.safetensors"],
    );
    let upstream = path("arm/upstream/arm");
    let outputs = read_json(&upstream.join("outputs.json"));
    assert_eq!(outputs["groups"], serde_json::json!([[1, 4]]));
    let written = nodes::data::file::load(&upstream.join("heads.safetensors")).unwrap();
    assert_eq!(written["0.weight"].0, [24, 16]);
    let arm = root().join("tests/golden/arm");
    for (file, error) in [
        (
            "wide.safetensors",
            "head 0 reads 17 channels, but layer 1 has 16",
        ),
        (
            "deep.safetensors",
            "head 0 reads layer 5, but the model has 0 to 4",
        ),
    ] {
        let arguments = ["--format", "s3prl", "--out", "no", "--heads", file];
        let command = [&["export", arm.to_str().unwrap()], &arguments[..]].concat();
        let output = call(folder.path(), &command);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            last_line(&output).ends_with(error),
            "{}",
            last_line(&output)
        );
        assert!(!path("no").exists());
    }
}

#[test]
fn transformers_own_models_leave_as_they_are() {
    let folder = Folder::new("export-hf");
    for model in ["golden/base", "golden/large", "golden/wavlm"] {
        let out = model.replace('/', "-");
        let said = export(&folder, model, "hf", &out, &[]);
        assert!(said.contains("differ by at most 0.0e0"), "{said}");
        let written = read_json(&folder.path().join(out).join("config.json"));
        let own = read_json(&root().join("tests").join(model).join("config.json"));
        assert_eq!(written["model_type"], own["model_type"]);
    }
    for model in ["golden/star", PRUNED] {
        let out = model.replace('/', "-");
        export(&folder, model, "hf-dense", &out, &[]);
        let written = read_json(&folder.path().join(out).join("config.json"));
        assert_eq!(written["model_type"], "hubert");
        assert_eq!(written["feat_extract_norm"], "group");
    }
}

#[test]
fn checkpoints_of_torchaudio_are_read_back() {
    let folder = Folder::new("export-torchaudio");
    let models = ["golden/base", "golden/large", "golden/wavlm", "golden/star"];
    for model in models.into_iter().chain([PRUNED]) {
        let out = format!("{}.pth", model.replace('/', "-"));
        let said = export(&folder, model, "torchaudio", &out, &[]);
        let line = said.lines().last().unwrap();
        let (_, difference) = line.rsplit_once(' ').unwrap();
        assert!(difference.parse::<f32>().unwrap() < 1e-5, "{said}");
        assert_eq!(said.contains("an epsilon of 1e-5"), model == "golden/large");
        let file = folder.path().join(out);
        let inspected = stdout_json(
            folder.path(),
            &["inspect", file.to_str().unwrap(), "--format", "json"],
        );
        assert_eq!(inspected["format"], "torchaudio");
    }
}

#[test]
fn what_a_format_cannot_express_is_refused() {
    let folder = Folder::new("export-refused");
    let refused = |model: &str, options: &[&str]| {
        let model = root().join("tests").join(model);
        let arguments = ["export", model.to_str().unwrap(), "--out", "out"];
        let output = pipeline(folder.path(), &arguments).args(options).output();
        let output = output.unwrap();
        assert!(!folder.path().join("out").exists());
        (output.status.code(), last_line(&output))
    };
    for (model, format, sentence) in [
        (
            PRUNED,
            "hf",
            "no class of transformers computes this model: units or channels were cut out of \
             it; use --format hf-dense, or hf-code for the small shapes",
        ),
        (
            "golden/arm",
            "hf",
            "no class of transformers computes this model: layers reuse attention maps; use \
             --format hf-code",
        ),
        (
            "golden/fit",
            "hf-dense",
            "zeros cannot make this model one of transformers': it joins frames before its \
             layers; use --format hf-code",
        ),
        (
            "golden/lstm_both",
            "torchaudio",
            "DPHuBERT's builder cannot express this model: its layers are LSTMs; use --format \
             hf-code or s3prl",
        ),
    ] {
        let (code, line) = refused(model, &["--format", format]);
        assert_eq!((code, line.as_str()), (Some(1), sentence));
    }
    for options in [
        ["--format", "hf", "--layers", "1"],
        ["--format", "onnx", "--heads", "heads.safetensors"],
        ["--format", "s3prl", "--int8", "--ignore-keys=a"],
    ] {
        assert_eq!(refused("golden/base", &options).0, Some(2), "{options:?}");
    }
    let (code, line) = refused("golden/base", &["--format", "onnx", "--layers", "3"]);
    assert_eq!(code, Some(1));
    assert_eq!(line, "there is no layer 3, the model has 0 to 2");
    fs::create_dir(folder.path().join("taken")).unwrap();
    let base = root().join("tests/golden/base");
    let arguments = [
        "export",
        base.to_str().unwrap(),
        "--format",
        "hf",
        "--out",
        "taken",
    ];
    let output = call(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        last_line(&output),
        "taken exists; name a new place in `--out`"
    );
}
