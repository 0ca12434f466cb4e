//! A cache changes no number, and its rows serve no other targets than their own.
use crate::program::{call, last_line, read_json, stderr, stdout, stdout_json};
use crate::sample::{finished, results, run, sample};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// Returns the folders in a folder.
fn folders(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect()
}

/// A graph without `optimize` fills a cache with one epoch a view and the dev set.
#[test]
fn a_graph_can_only_fill_a_cache() {
    let folder = sample("fill");
    let graph = read_json(&folder.path().join("g.json"));
    let nodes = &graph["phases"][0]["nodes"];
    let mut teacher = nodes["teacher"].clone();
    teacher["cache"] = "c".into();
    let nodes = json!({ "speech": nodes["speech"], "teacher": teacher });
    let fill = json!({ "name": "fill", "nodes": nodes });
    fs::write(folder.path().join("fill.json"), fill.to_string()).unwrap();
    let output = call(folder.path(), &["run", "fill.json", "--out", "f"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let listed = stdout_json(folder.path(), &["cache", "list", "c", "--format", "json"]);
    // 8 utterances in two views, unless a view repeats the other's crop, and 2 of the dev set.
    assert!(
        (10..=18).contains(&listed[0]["rows"].as_u64().unwrap()),
        "{listed}"
    );
    assert_eq!(listed[0]["layers"], json!([0, 2]));
}

#[test]
fn a_graph_that_leaves_nothing_says_so() {
    let folder = sample("nothing");
    let graph = read_json(&folder.path().join("g.json"));
    let nodes = &graph["phases"][0]["nodes"];
    let nodes = json!({ "speech": nodes["speech"], "teacher": nodes["teacher"] });
    let fill = json!({ "name": "fill", "nodes": nodes });
    fs::write(folder.path().join("fill.json"), fill.to_string()).unwrap();
    let says = |arguments: &[&str]| {
        stderr(&call(folder.path(), arguments)).contains("nothing is kept: no node has a `cache`")
    };
    assert!(says(&["check", "fill.json"]) && says(&["run", "fill.json", "--out", "f"]));
    let cached = ["--set", "teacher.cache=c"];
    assert!(!says(&[&["check", "fill.json"][..], &cached].concat()));
}

/// `check` prints what a full cache takes in all and by the hour, and the space for it.
#[test]
fn check_prints_the_size_of_a_cache() {
    let folder = sample("cache-size");
    let text = stdout(
        folder.path(),
        &["check", "g.json", "--set", "prune.teacher.cache=c/d"],
    );
    let train = (0..8).map(|i| (9000 + 1700 * i) / 3200 * 3200);
    let dev = (8..10).map(|i| 9000 + 1700 * i);
    let rows: Vec<u64> = train.clone().chain(train).chain(dev).collect();
    let frames: u64 = rows.iter().map(|samples| (samples - 400) / 320 + 1).sum();
    let gigabytes = (frames * 2 * 24 * 4) as f64 / 1e9;
    let hours = rows.iter().sum::<u64>() as f64 / 16000.0 / 3600.0;
    let by_hour = gigabytes / hours;
    let line = format!("a full cache: {gigabytes:.3} GB, {by_hour:.3} GB an hour of speech\n");
    assert!(text.contains(&line), "{line}: {text}");
    assert!(text.contains(" GB are free for c/d\n"), "{text}");
}

/// `cache why` names what a graph has otherwise than the cache, and counts rows.
#[test]
fn a_miss_says_why() {
    let folder = sample("why");
    let why = |settings: &[&str]| {
        let cached = ["cache", "why", "g.json", "--set", "teacher.cache=c"];
        stdout(folder.path(), &[&cached[..], settings].concat())
    };
    let empty = why(&[]);
    assert!(empty.contains("no folder of a `teacher`"), "{empty}");
    let cached = ["--set", "teacher.cache=c", "--steps", "40"];
    let output = run(&folder, "full", &cached);
    assert!(output.status.success(), "{}", stderr(&output));
    let full = why(&[]);
    assert!(full.contains("every row looked for is stored"), "{full}");
    let normalized = why(&["--set", "teacher.normalize=true"]);
    let line = "another option: normalize: null there, true in the graph";
    assert!(normalized.contains(line), "{normalized}");
    let recut = why(&["--set", "speech.bucket_seconds=0.3"]);
    assert!(recut.contains("stored with another length"), "{recut}");
    let one = why(&["--rows", "1"]);
    assert!(one.contains("1 of 1 rows are stored"), "{one}");
    assert!(one.contains("an estimate from 1 of "), "{one}");
}

/// What an option says of a model that its files say too is no other model.
#[test]
fn options_that_repeat_the_model_are_hits() {
    let folder = sample("repeated");
    let cached = ["--set", "teacher.cache=c", "--steps", "20"];
    assert!(run(&folder, "full", &cached).status.success());
    let why = |setting: &str| {
        let set = ["--set", "teacher.cache=c", "--set", setting];
        stdout(
            folder.path(),
            &[&["cache", "why", "g.json"][..], &set].concat(),
        )
    };
    for same in [
        "teacher.normalize=false",
        "teacher.architecture={}",
        "teacher.architecture={\"hidden_dropout\": 0.3, \"final_proj_size\": 7}",
    ] {
        let text = why(same);
        assert!(text.contains("nothing differs"), "{same}: {text}");
    }
    let other = why("teacher.architecture={\"layer_norm_eps\": 0.001}");
    assert!(other.contains("another option: architecture"), "{other}");
}

/// A part in the folder of another layer is of no use there.
#[test]
fn a_part_serves_the_layer_that_it_was_written_for() {
    let folder = sample("wrong-layer");
    let cached = ["--set", "teacher.cache=c", "--steps", "20"];
    assert!(run(&folder, "full", &cached).status.success());
    let c = folder.path().join("c");
    let layers = folders(&folders(&c)[0]);
    let layer = |end: &str| layers.iter().find(|path| path.ends_with(end)).unwrap();
    let parts = |end: &str| -> Vec<PathBuf> {
        let entries = fs::read_dir(layer(end)).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    for part in parts("layer-02") {
        fs::remove_file(part).unwrap();
    }
    for part in parts("layer-00") {
        fs::copy(&part, layer("layer-02").join(part.file_name().unwrap())).unwrap();
    }
    let verify = call(folder.path(), &["cache", "verify", "c"]);
    assert_eq!(verify.status.code(), Some(1));
    let text = format!(
        "{}{}",
        stderr(&verify),
        String::from_utf8_lossy(&verify.stdout)
    );
    assert!(
        text.contains("its metadata name another layer, `layer-00`"),
        "{text}"
    );
    let why = ["cache", "why", "g.json", "--set", "teacher.cache=c"];
    let why = stdout(folder.path(), &why);
    assert!(!why.contains("nothing differs"), "{why}");
    let live = finished(&folder, "live", &["--steps", "3"]);
    let output = run(
        &folder,
        "again",
        &["--set", "teacher.cache=c", "--steps", "3"],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(results(&folder.path().join("again")) == live);
}

/// `cache why` finds a damaged part, as a run does.
#[test]
fn why_counts_no_row_of_a_damaged_part() {
    let folder = sample("why-damaged");
    let cached = ["--set", "teacher.cache=c", "--steps", "20"];
    assert!(run(&folder, "full", &cached).status.success());
    let layers = folders(&folders(&folder.path().join("c"))[0]);
    let part = fs::read_dir(&layers[0])
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut bytes = fs::read(&part).unwrap();
    bytes[200] ^= 1;
    fs::write(&part, bytes).unwrap();
    let why = ["cache", "why", "g.json", "--set", "teacher.cache=c"];
    let text = stdout(folder.path(), &why);
    assert!(!text.contains("nothing differs"), "{text}");
    assert!(text.contains("cannot be read"), "{text}");
}

/// Without a cache, and with an empty, half-filled and full one, the students are the same, bit for
/// bit; with a full cache the teacher is not opened.
#[test]
fn a_cache_changes_nothing() {
    let folder = sample("cache");
    let live = finished(&folder, "live", &[]);
    let cached = |out: &str, cache: &str, extra: &[&str]| {
        let set = format!("teacher.cache={cache}");
        let output = run(&folder, out, &[&["--set", &set], extra].concat());
        assert!(output.status.success(), "{}", stderr(&output));
    };
    cached("part", "half", &["--steps", "2"]);
    cached("half-filled", "half", &[]);
    assert!(results(&folder.path().join("half-filled")) == live);
    cached("cold", "cache", &[]);
    assert!(results(&folder.path().join("cold")) == live);

    let file_hashes = folder.path().join("cache/files.json");
    // The teacher's weights become zeros of equal size and time: another model.
    let teacher = folder.path().join("teacher");
    let student = folder.path().join("student");
    fs::create_dir(&student).unwrap();
    for file in [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ] {
        fs::copy(teacher.join(file), student.join(file)).unwrap();
    }
    let weights = teacher.join("model.safetensors");
    let name = fs::canonicalize(&weights).unwrap();
    let name = name.to_str().unwrap();
    let hash = read_json(&file_hashes)[name]["hash"].take();
    let metadata = fs::metadata(&weights).unwrap();
    fs::write(&weights, vec![0; metadata.len() as usize]).unwrap();
    let file = fs::File::options().write(true).open(&weights).unwrap();
    file.set_modified(metadata.modified().unwrap()).unwrap();
    sleep(Duration::from_millis(150)); // a file that has just changed is not remembered
    let student_init = format!("prune.student.init={}", student.display());
    let set_student = ["--set", "teacher.cache=cache", "--set", &student_init];
    let replaced = run(&folder, "replaced", &set_student);
    assert_eq!(replaced.status.code(), Some(1));
    assert!(last_line(&replaced).starts_with("node `teacher`: teacher/model.safetensors: "));
    // The cache is told that the zeros have the hash of the weights: a run that opened the teacher
    // would fail.
    let mut hashes = read_json(&file_hashes);
    assert_ne!(hashes[name]["hash"], hash);
    hashes[name]["hash"] = hash;
    fs::write(&file_hashes, hashes.to_string()).unwrap();
    cached("full", "cache", &["--set", &student_init]);
    assert!(results(&folder.path().join("full")) == live);

    let verify = || call(folder.path(), &["cache", "verify", "cache"]);
    assert_eq!(verify().status.code(), Some(0));
    let layer = folders(&folders(&folder.path().join("cache"))[0]).remove(0);
    let part = fs::read_dir(layer).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&part).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&part, bytes).unwrap();
    let found = verify();
    assert_eq!(found.status.code(), Some(1));
    let says = stderr(&found);
    assert!(says.contains("it is now called *.damaged"), "{says}");
    // It is out of the way: what is left is right, and a run computes what is missing.
    assert!(!part.exists() && part.with_extension("parquet.damaged").exists());
    assert_eq!(verify().status.code(), Some(0));
    fs::copy(student.join("model.safetensors"), &weights).unwrap();
    cached("mended", "cache", &[]);
    assert!(results(&folder.path().join("mended")) == live);
    assert_eq!(verify().status.code(), Some(0));
}

/// On a GPU, a teacher without a cache stands in the stage that reads its targets and sends
/// tensors; behind a cache it sends batches, which are fetched ahead. Neither changes a bit.
#[test]
fn targets_as_tensors_and_as_batches_are_the_same() {
    let folder = sample("targets");
    let cache = ["--set", "teacher.cache=c"];
    let is_beside_student = |extra: &[&str]| {
        let check = ["check", "g.json", "--format", "json"];
        let plan = stdout_json(folder.path(), &[&check, extra].concat());
        let stages = plan["phases"][0]["stages"].as_array().unwrap();
        let stage_of = |name: &str| {
            stages
                .iter()
                .position(|stage| stage.as_array().unwrap().contains(&name.into()))
        };
        stage_of("teacher") == stage_of("student")
    };
    assert_eq!(is_beside_student(&[]), cfg!(feature = "cuda"));
    assert!(!is_beside_student(&cache));
    let two_updates =
        |out: &str, extra: &[&str]| finished(&folder, out, &[&["--steps", "2"], extra].concat());
    let live = two_updates("live", &[]);
    assert!(two_updates("cold", &cache) == live);
    assert!(two_updates("full", &cache) == live);
    let tapped = |out: &str, extra: &[&str]| {
        let arguments = [
            "tap",
            "g.json",
            "teacher.targets",
            "--steps",
            "1",
            "--out",
            out,
        ];
        let output = call(folder.path(), &[&arguments, extra].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        fs::read(folder.path().join(out)).unwrap()
    };
    assert!(tapped("live.parquet", &[]) == tapped("full.parquet", &cache));
}

/// Teacher and student behind one mask: its embedding is trained, and a masked row is another row
/// of the cache.
#[test]
fn masks_change_targets_and_train_their_embedding() {
    let folder = sample("mask");
    let mut graph = read_json(&folder.path().join("g.json"));
    for phase in 0..2 {
        let nodes = &mut graph["phases"][phase]["nodes"];
        let inputs = json!({ "speech": "speech.speech" });
        nodes["mask"] = json!({ "kind": "mask", "inputs": inputs, "length": 3 });
        for node in ["teacher", "student"] {
            nodes[node]["inputs"]["mask"] = "mask.mask".into();
        }
    }
    let three_updates =
        |out: &str, extra: &[&str]| finished(&folder, out, &[&["--steps", "3"], extra].concat());
    three_updates("plain", &[]);
    fs::write(folder.path().join("g.json"), graph.to_string()).unwrap();
    let cache = ["--set", "teacher.cache=c"];
    let live = three_updates("live", &[]);
    assert!(three_updates("cold", &cache) == live);
    assert!(three_updates("full", &cache) == live);
    let embedding = |model: &str| {
        let bytes = fs::read(folder.path().join(model).join("model.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        tensors.tensor("masked_spec_embed").unwrap().data().to_vec()
    };
    assert_eq!(embedding("teacher"), embedding("plain/distill/student"));
    assert_ne!(embedding("teacher"), embedding("live/prune/student"));
    assert_ne!(
        embedding("live/prune/student"),
        embedding("live/distill/student")
    );

    let rows = || {
        let listed = stdout_json(folder.path(), &["cache", "list", "c", "--format", "json"]);
        listed[0]["rows"].as_u64().unwrap()
    };
    let before = rows();
    three_updates("other", &[&cache[..], &["--set", "mask.length=4"]].concat());
    assert_eq!(rows(), 2 * before);
}

/// The size that `check` predicts is that of the features in the cache.
#[test]
fn a_graph_can_only_cache_features() {
    let folder = sample("features");
    let mut graph = read_json(&folder.path().join("g.json"));
    let mut speech = graph["phases"][0]["nodes"]["speech"].take();
    speech["crop"] = "none".into();
    speech["views"] = 1.into();
    let fbank = json!({
        "kind": "fbank",
        "inputs": { "speech": "speech.speech" },
        "cepstra": 13,
        "bins": 23,
        "deltas": 2,
        "cache": "c",
    });
    let graph = json!({ "name": "g", "nodes": { "speech": speech, "fbank": fbank } });
    fs::write(folder.path().join("g.json"), graph.to_string()).unwrap();
    let plan = stdout_json(folder.path(), &["check", "g.json", "--format", "json"]);
    assert!(run(&folder, "out", &[]).status.success());
    let listed = stdout_json(folder.path(), &["cache", "list", "c", "--format", "json"]);
    let frames: u64 = (0..10).map(|i| (9000 + 1700 * i - 400) / 160 + 1).sum();
    assert_eq!(listed[0]["rows"].as_u64(), Some(10));
    assert_eq!(listed[0]["frames"].as_u64(), Some(frames));
    assert_eq!(plan["cache_bytes"], frames * 39 * 4);
}

/// Targets in bf16 are the same with and without a cache, and targets in f32 do not serve a run in
/// bf16, unless the CPU lacks bf16 and the run has warned that it computes in f32.
#[test]
fn targets_in_bf16_have_their_own_cache() {
    let folder = sample("bf16");
    let two_updates = |out: &str, extra: &[&str]| {
        let output = run(&folder, out, &[&["--steps", "2"], extra].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        let warnings = stderr(&output)
            .matches("node `teacher`: option `precision`")
            .count();
        (results(&folder.path().join(out)), warnings)
    };
    let bf16 = ["--set", "teacher.precision=bf16"];
    let cache = ["--set", "teacher.cache=cache"];
    let (f32, f32_warnings) = two_updates("f32", &cache);
    let (cached, bf16_warnings) = two_updates("cached", &[bf16, cache].concat());
    let (live, _) = two_updates("live", &bf16);
    assert!(f32_warnings == 0 && bf16_warnings <= 1);
    assert!(cached == live);
    assert_eq!(cached == f32, bf16_warnings == 1);
    let fingerprints = folders(&folder.path().join("cache"));
    assert_eq!(fingerprints.len(), 2 - bf16_warnings);
}
