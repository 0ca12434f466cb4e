//! What `pipeline probe` keeps of a run's student in measured.json, and what `compare` reads of it.
use crate::program::{Folder, call, read_json, stderr, stdout_json};
use crate::sample::{run, sample};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::fs;

/// Writes a table of the sample's utterances with two phones each, and a training set, a dev set and
/// two test sets.
fn write_phones(folder: &Folder) {
    let mut lines = String::from("path\tsplit\tspeaker\tphones\n");
    for i in 0..10 {
        let split = match i {
            0..=4 => "train",
            5 | 6 => "dev",
            7 | 8 => "clean-test",
            _ => "other-test",
        };
        lines += &format!("{i}.wav\t{split}\t{i}\t0:0.{}:A 0.{0}:0.55:B\n", 2 + i % 3);
    }
    fs::write(folder.path().join("phones.tsv"), lines).unwrap();
}

fn probed(folder: &Folder, model: &str) -> Value {
    let arguments = ["probe", model, "--labels", "phones.tsv", "--format", "json"];
    stdout_json(folder.path(), &arguments)
}

/// Returns the largest mean over both test sets that a layer has.
fn best(probe: &Value) -> f64 {
    let layers = probe["layers"].as_array().unwrap().iter();
    let means = layers.map(|layer| {
        let accuracy = |split: &str| layer["accuracy"][split].as_f64().unwrap();
        (accuracy("clean-test") + accuracy("other-test")) / 2.0
    });
    means.fold(0.0, f64::max)
}

/// Returns what `compare` says of a run.
fn compared(folder: &Folder, run: &str) -> Value {
    stdout_json(folder.path(), &["compare", run, "--format", "json"])[0].take()
}

/// Returns the number of values in a file of tensors.
fn values_in(folder: &Folder, file: &str) -> u64 {
    let bytes = fs::read(folder.path().join(file)).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = tensors.tensors();
    let sizes = tensors
        .iter()
        .map(|(_, tensor)| tensor.shape().iter().product::<usize>());
    sizes.sum::<usize>() as u64
}

/// Runs an update of a graph without phases into the folder `r`.
fn run_one_phase(folder: &Folder) {
    let graph = read_json(&folder.path().join("g.json"));
    let mut nodes = graph["phases"][1]["nodes"].clone();
    nodes["student"]["init"] = json!("teacher");
    nodes["heads"]["init"] = json!("identity");
    let flat = json!({ "name": "flat", "seed": 3, "nodes": nodes });
    fs::write(folder.path().join("g.json"), flat.to_string()).unwrap();
    assert!(run(folder, "r", &["--steps", "1"]).status.success());
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}

/// The numbers of a run's student, its teacher and log-mel frames are those that each has alone.
#[test]
fn a_probe_of_a_student_is_kept_beside_its_run() {
    let folder = sample("measured");
    write_phones(&folder);
    assert!(run(&folder, "r", &["--steps", "2"]).status.success());
    let unmeasured = compared(&folder, "r");
    for key in ["probe", "gain_kept", "real_time_factor"] {
        assert_eq!(unmeasured[key], Value::Null, "{key}");
    }
    assert!(!folder.path().join("r/measured.json").exists());

    let printed = probed(&folder, "r/distill/student");
    let measured = read_json(&folder.path().join("r/measured.json"));
    assert_eq!(measured["student"], "distill/student");
    assert_eq!(measured["teacher"], "teacher");
    assert_eq!(measured["labels"], "phones.tsv");
    let alone = folder.path().join("alone");
    fs::create_dir(&alone).unwrap();
    for file in [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ] {
        let student = folder.path().join("r/distill/student");
        fs::copy(student.join(file), alone.join(file)).unwrap();
    }
    for (key, model) in [
        ("student_probe", "alone"),
        ("teacher_probe", "teacher"),
        ("fbank_probe", "fbank"),
    ] {
        assert_eq!(measured[key], probed(&folder, model), "{key}");
    }
    assert_eq!(printed["teacher"], measured["teacher_probe"]);
    assert_eq!(printed["fbank"], measured["fbank_probe"]);
    assert_eq!(printed["layers"], measured["student_probe"]["layers"]);
    let factor = number(&measured["real_time_factor"]);
    assert!(factor > 0.0 && factor < 10.0, "{factor}");
    assert_eq!(printed["real_time_factor"], measured["real_time_factor"]);

    let found = compared(&folder, "r");
    assert_eq!(found["real_time_factor"], measured["real_time_factor"]);
    for told in [&printed, &found] {
        assert_eq!(
            told["teacher_real_time_factor"],
            measured["teacher_real_time_factor"]
        );
    }
    assert!(number(&measured["teacher_real_time_factor"]) > 0.0);
    assert!((number(&found["probe"]) - best(&measured["student_probe"])).abs() < 1e-12);
    let fbank = best(&measured["fbank_probe"]);
    let gain = best(&measured["teacher_probe"]) - fbank;
    if gain > 0.0 {
        let kept = (best(&measured["student_probe"]) - fbank) / gain;
        assert!((number(&found["gain_kept"]) - kept).abs() < 1e-9, "{found}");
    } else {
        assert_eq!(found["gain_kept"], Value::Null);
    }
    assert_eq!(printed["gain_kept"], found["gain_kept"]);

    // Another student of the run takes nothing away from it.
    let pruned = probed(&folder, "r/prune/student");
    let both = read_json(&folder.path().join("r/measured.json"));
    assert_eq!(both["student"], "prune/student");
    assert_eq!(both["student_probe"]["layers"], pruned["layers"]);
    assert_eq!(both["others"], json!([measured]));
    assert_eq!(compared(&folder, "r")["probe"], found["probe"]);
    probed(&folder, "r/distill/student");
    let again = read_json(&folder.path().join("r/measured.json"));
    assert_eq!(again["student"], "distill/student");
    assert_eq!(again["others"].as_array().unwrap().len(), 1);

    let parameters = values_in(&folder, "r/distill/student/model.safetensors");
    assert_eq!(found["parameters"], parameters);
    let heads = values_in(&folder, "r/distill/heads/heads.safetensors");
    assert!(heads > 0);
    assert_eq!(found["with_heads"], parameters + heads);
}

/// (student - fbank) / (teacher - fbank), each of its best layer over the sets that end in `test`.
#[test]
fn the_gain_is_between_log_mel_frames_and_the_teacher() {
    let folder = sample("gain");
    run_one_phase(&folder);
    let probe = |layers: &[[f64; 3]]| {
        let layers = layers
            .iter()
            .enumerate()
            .map(|(layer, [dev, clean, other])| {
                let accuracy = json!({ "dev": dev, "clean-test": clean, "other-test": other });
                json!({ "layer": layer, "accuracy": accuracy })
            });
        let frames = json!({ "dev": 4, "clean-test": 4, "other-test": 4 });
        let constant = json!({ "dev": 0.1, "clean-test": 0.1, "other-test": 0.1 });
        json!({
            "phones": 2, "train_frames": 9, "frames": frames, "constant": constant,
            "layers": layers.collect::<Vec<_>>()
        })
    };
    let mut measured = json!({
        "student": "student", "labels": "phones.tsv", "teacher": "teacher",
        "student_probe": probe(&[[0.9, 0.1, 0.2], [0.1, 0.6, 0.5]]),
        "teacher_probe": probe(&[[0.1, 0.7, 0.6], [0.9, 0.5, 0.7]]),
        "fbank_probe": probe(&[[0.1, 0.4, 0.5]]),
        "real_time_factor": 0.0125,
    });
    let file = folder.path().join("r/measured.json");
    fs::write(&file, measured.to_string()).unwrap();
    let found = compared(&folder, "r");
    assert!((number(&found["probe"]) - 0.55).abs() < 1e-12, "{found}");
    assert!((number(&found["gain_kept"]) - 0.5).abs() < 1e-9, "{found}");
    assert_eq!(found["real_time_factor"], 0.0125);

    // A student may know less than log-mel frames; a teacher that does has no gain to keep.
    measured["student_probe"] = probe(&[[0.9, 0.4, 0.4]]);
    fs::write(&file, measured.to_string()).unwrap();
    let kept = number(&compared(&folder, "r")["gain_kept"]);
    assert!((kept + 0.25).abs() < 1e-9, "{kept}");
    measured["teacher_probe"] = probe(&[[0.9, 0.4, 0.5]]);
    fs::write(&file, measured.to_string()).unwrap();
    assert_eq!(compared(&folder, "r")["gain_kept"], Value::Null);
}

/// The student of a graph without phases lies in the run's folder itself.
#[test]
fn the_student_of_one_phase_is_measured() {
    let folder = sample("flat");
    write_phones(&folder);
    run_one_phase(&folder);
    let printed = probed(&folder, "r/student");
    let measured = read_json(&folder.path().join("r/measured.json"));
    assert_eq!(measured["student"], "student");
    assert_eq!(printed["layers"], measured["student_probe"]["layers"]);
    let found = compared(&folder, "r");
    let parameters = values_in(&folder, "r/student/model.safetensors");
    let heads = values_in(&folder, "r/heads/heads.safetensors");
    assert_eq!(found["with_heads"], parameters + heads);
    assert_eq!(found["real_time_factor"], measured["real_time_factor"]);
}

/// A student that was trained on since is another one, and the best of some layers is not its best.
#[test]
fn a_probe_is_of_the_student_and_of_all_its_layers() {
    let folder = sample("measured-again");
    write_phones(&folder);
    run_one_phase(&folder);
    probed(&folder, "r/student");
    let measured = fs::read(folder.path().join("r/measured.json")).unwrap();
    let found = compared(&folder, "r");
    assert_eq!(found["probe_labels"], "phones.tsv");
    let one = [
        "probe",
        "r/student",
        "--labels",
        "phones.tsv",
        "--layers",
        "0",
    ];
    let output = call(folder.path(), &one);
    assert!(output.status.success());
    assert!(stderr(&output).contains("the student is measured alone"));
    assert!(fs::read(folder.path().join("r/measured.json")).unwrap() == measured);

    assert!(run(&folder, "q", &["--steps", "2"]).status.success());
    let weights = |run: &str| folder.path().join(run).join("student/model.safetensors");
    fs::copy(weights("q"), weights("r")).unwrap();
    let output = call(folder.path(), &["compare", "r"]);
    assert!(stderr(&output).contains("r was probed before its student was trained on"));
    assert_eq!(compared(&folder, "r")["probe"], Value::Null);
    probed(&folder, "r/student");
    assert_ne!(compared(&folder, "r")["probe"], Value::Null);

    fs::copy(
        folder.path().join("phones.tsv"),
        folder.path().join("others.tsv"),
    )
    .unwrap();
    let other = ["probe", "q/student", "--labels", "others.tsv"];
    assert!(call(folder.path(), &other).status.success());
    let said = stderr(&call(folder.path(), &["compare", "r", "q"]));
    assert!(!said.contains("tables"), "they are equal: {said}");
    let table = fs::read_to_string(folder.path().join("others.tsv")).unwrap();
    fs::write(folder.path().join("others.tsv"), table.replace(":A", ":C")).unwrap();
    assert!(call(folder.path(), &other).status.success());
    let output = call(folder.path(), &["compare", "r", "q"]);
    assert!(
        stderr(&output).contains("probed on different tables"),
        "{}",
        stderr(&output)
    );
}

/// The teacher beside a student is the one that the run had: with its normalisation and the keys that
/// it lets through.
#[test]
fn the_teacher_is_probed_as_the_run_had_it() {
    let folder = sample("measured-teacher");
    write_phones(&folder);
    run_one_phase(&folder);
    let config = folder.path().join("teacher/config.json");
    let mut keys = read_json(&config);
    keys["my_lab_key"] = json!(3);
    fs::write(&config, keys.to_string()).unwrap();
    let run_json = folder.path().join("r/run.json");
    let mut record = read_json(&run_json);
    let teacher = &mut record["graph"]["nodes"]["teacher"];
    teacher["normalize"] = json!(true);
    teacher["ignore_keys"] = json!(["my_lab_key"]);
    fs::write(&run_json, record.to_string()).unwrap();
    let printed = probed(&folder, "r/student");
    let alone = [
        "probe",
        "teacher",
        "--labels",
        "phones.tsv",
        "--format",
        "json",
        "--ignore-keys",
        "my_lab_key",
        "--normalize",
        "true",
    ];
    assert_eq!(printed["teacher"], stdout_json(folder.path(), &alone));
}
