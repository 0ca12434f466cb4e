//! No way through a run changes what it leaves: stopped, killed, cached and plain runs end alike.
use crate::program::{Folder, output, pipeline, read_json, stderr};
use crate::sample::{left, run, sample};
use nodes::model::{count, read_architecture};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Starts or goes on with a run, and sends a signal once `lines` more lines of metrics are there.
pub fn interrupted(folder: &Folder, out: &str, signal: &str, lines: usize) -> Option<i32> {
    let metrics = folder.0.join(out).join("metrics.jsonl");
    let count = || {
        fs::read_to_string(&metrics)
            .unwrap_or_default()
            .lines()
            .count()
    };
    let enough = count() + lines;
    let mut command = pipeline(&folder.0, &["run", "g.json", "--out", out, "--resume"]);
    let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while count() < enough && child.try_wait().unwrap().is_none() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "the run does not go on"
        );
        sleep(Duration::from_millis(1));
    }
    Command::new("kill")
        .args([&format!("-{signal}"), &child.id().to_string()])
        .status()
        .unwrap();
    child.wait().unwrap().code()
}

#[test]
fn stopped_killed_and_plain_runs_end_alike() {
    let folder = sample("alike");
    let plain = run(&folder, "plain", &[]);
    assert!(plain.status.success(), "{}", stderr(&plain));
    let plain = left(&folder.0.join("plain"));
    assert_eq!(interrupted(&folder, "stopped", "TERM", 20), Some(75));
    assert_eq!(interrupted(&folder, "stopped", "INT", 40), Some(130));
    for lines in [30, 100, 60] {
        assert_eq!(interrupted(&folder, "stopped", "KILL", lines), None);
    }
    assert!(run(&folder, "stopped", &["--resume"]).status.success());
    assert!(left(&folder.0.join("stopped")) == plain);
    for checkpoint in [
        "checkpoint/prune-00000024.safetensors",
        "checkpoint/distill-00000020.safetensors",
    ] {
        let [one, other] =
            ["plain", "stopped"].map(|out| fs::read(folder.0.join(out).join(checkpoint)).unwrap());
        assert!(one == other, "{checkpoint}");
    }
}

#[test]
fn no_bit_depends_on_the_number_of_threads() {
    let folder = sample("threads");
    let with = |threads: &str| {
        let mut command = pipeline(
            &folder.0,
            &["run", "g.json", "--out", threads, "--steps", "4"],
        );
        assert!(
            output(command.env("RAYON_NUM_THREADS", threads))
                .status
                .success()
        );
        let metrics = fs::read_to_string(folder.0.join(threads).join("metrics.jsonl")).unwrap();
        let value = |line: &str| serde_json::from_str::<Value>(line).unwrap()["value"].clone();
        let steady = metrics
            .lines()
            .filter(|line| !line.contains("audio_per_second"))
            .map(value)
            .collect::<Vec<_>>();
        (
            steady,
            fs::read(
                folder
                    .0
                    .join(threads)
                    .join("distill/student/model.safetensors"),
            )
            .unwrap(),
        )
    };
    assert!(with("1") == with("3"));
}

#[test]
fn two_processes_do_not_run_in_one_folder() {
    let folder = sample("lock");
    let words = [
        "run",
        "g.json",
        "--out",
        "out",
        "--set",
        "prune.step.steps=100000",
    ];
    let mut first = pipeline(&folder.0, &words)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !folder.0.join("out/metrics.jsonl").exists() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "the run does not begin"
        );
        sleep(Duration::from_millis(5));
    }
    let second = output(&mut pipeline(
        &folder.0,
        &[&words[..], &["--resume"]].concat(),
    ));
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(
        (second.status.code(), stderr(&second).as_str()),
        (Some(1), "another process runs in out\n")
    );
}

/// What a kill or a full disk left of the last lines is cut away.
#[test]
fn torn_metrics_are_written_again() {
    let folder = sample("torn");
    assert!(run(&folder, "plain", &[]).status.success());
    let plain = left(&folder.0.join("plain"));
    assert_eq!(interrupted(&folder, "torn", "KILL", 200), None);
    let metrics = folder.0.join("torn/metrics.jsonl");
    let torn = [
        fs::read(&metrics).unwrap(),
        b"{\"phase\": \"pru\xff".to_vec(),
    ]
    .concat();
    fs::write(&metrics, torn).unwrap();
    let free = [
        "--resume",
        "--set",
        "log.every=3",
        "--set",
        "teacher.cache=c",
        "--set",
        "step.keep=5",
    ];
    assert!(run(&folder, "torn", &free).status.success());
    assert!(left(&folder.0.join("torn")) == plain);
}

/// A graph without `optimize` fills a cache, one epoch a view and the dev set; stopped, it goes on where it was.
#[test]
fn a_graph_may_only_fill_a_cache() {
    let folder = sample("fill");
    let graph: Value = read_json(&folder.0.join("g.json"));
    let nodes = &graph["phases"][0]["nodes"];
    let mut teacher = nodes["teacher"].clone();
    teacher["cache"] = "c".into();
    let fill = serde_json::json!({ "name": "fill", "nodes": { "speech": nodes["speech"], "teacher": teacher } });
    fs::write(folder.0.join("fill.json"), fill.to_string()).unwrap();
    assert!(
        output(&mut pipeline(
            &folder.0,
            &["run", "fill.json", "--out", "f"]
        ))
        .status
        .success()
    );
    let listed = output(&mut pipeline(
        &folder.0,
        &["cache", "list", "c", "--format", "json"],
    ));
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    // 8 utterances in two views, unless a view repeats the other's crop, and 2 of the dev set.
    assert!(
        (10..=18).contains(&listed[0]["rows"].as_u64().unwrap()),
        "{listed}"
    );
    assert_eq!(listed[0]["layers"], serde_json::json!([0, 2]));
}

/// Live, cold, half-filled and full: the same students, bit for bit; with a full cache the teacher is not opened.
#[test]
fn a_cache_changes_nothing() {
    let folder = sample("cache");
    assert!(run(&folder, "live", &[]).status.success());
    let live = left(&folder.0.join("live"));
    let cached = |out: &str, cache: &str, more: &[&str]| {
        let set = format!("teacher.cache={cache}");
        let said = run(&folder, out, &[&["--set", &set], more].concat());
        assert!(said.status.success(), "{}", stderr(&said));
    };
    cached("part", "half", &["--steps", "2"]);
    cached("half-filled", "half", &[]);
    assert!(left(&folder.0.join("half-filled")) == live);
    cached("cold", "cache", &[]);
    assert!(left(&folder.0.join("cold")) == live);

    // Who opened the weights now would read zeros: size and time, by which the cache knows the file, stay.
    let weights = folder.0.join("teacher/model.safetensors");
    let (size, time) = fs::metadata(&weights)
        .map(|m| (m.len(), m.modified().unwrap()))
        .unwrap();
    let student = format!("student.init={}", folder.0.join("student").display());
    fs::create_dir(folder.0.join("student")).unwrap();
    for file in [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ] {
        fs::copy(
            folder.0.join("teacher").join(file),
            folder.0.join("student").join(file),
        )
        .unwrap();
    }
    fs::write(&weights, vec![0; size as usize]).unwrap();
    fs::File::options()
        .write(true)
        .open(&weights)
        .unwrap()
        .set_modified(time)
        .unwrap();
    cached("full", "cache", &["--set", &format!("prune.{student}")]);
    assert!(left(&folder.0.join("full")) == live);

    let verify = |cache: &str| {
        output(&mut pipeline(&folder.0, &["cache", "verify", cache]))
            .status
            .code()
    };
    assert_eq!(verify("cache"), Some(0));
    let parts = |folder: &std::path::Path| -> Vec<std::path::PathBuf> {
        let below = fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|p| p.is_dir());
        let layers = below.flat_map(|f| fs::read_dir(f).unwrap().map(|e| e.unwrap().path()));
        layers
            .filter(|p| p.is_dir())
            .flat_map(|l| fs::read_dir(l).unwrap().map(|e| e.unwrap().path()))
            .collect()
    };
    let part = parts(&folder.0.join("cache")).remove(0);
    let mut bytes = fs::read(&part).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&part, bytes).unwrap();
    assert_eq!(verify("cache"), Some(1));
}

/// A GPU's live teacher stands in the stage that reads its targets and hands tensors over; behind a cache it sends batches,
/// which are fetched ahead. Neither changes a bit.
#[test]
fn targets_that_stay_or_cross_are_the_same() {
    let folder = sample("targets");
    let cache = ["--set", "teacher.cache=c"];
    let beside_student = |more: &[&str]| {
        let said = output(&mut pipeline(
            &folder.0,
            &[&["check", "g.json", "--format", "json"], more].concat(),
        ));
        let about: Value = serde_json::from_slice(&said.stdout).unwrap();
        let stages = about["phases"][0]["stages"].as_array().unwrap();
        let with = |name: &str| {
            stages
                .iter()
                .position(|stage| stage.as_array().unwrap().contains(&name.into()))
        };
        with("teacher") == with("student")
    };
    assert_eq!(
        (beside_student(&[]), beside_student(&cache)),
        (cfg!(feature = "cuda"), false)
    );
    let ended = |out: &str, more: &[&str]| {
        let said = run(&folder, out, &[&["--steps", "2"], more].concat());
        assert!(said.status.success(), "{}", stderr(&said));
        left(&folder.0.join(out))
    };
    let live = ended("live", &[]);
    assert!(ended("cold", &cache) == live && ended("full", &cache) == live);
    let tapped = |out: &str, more: &[&str]| {
        let words = [
            "tap",
            "g.json",
            "teacher.targets",
            "--steps",
            "1",
            "--out",
            out,
        ];
        let said = output(&mut pipeline(&folder.0, &[&words, more].concat()));
        assert!(said.status.success(), "{}", stderr(&said));
        fs::read(folder.0.join(out)).unwrap()
    };
    assert!(tapped("live.parquet", &[]) == tapped("full.parquet", &cache));
}

/// Teacher and student behind one mask: its embedding is trained, and a masked row is another row of the cache.
#[test]
fn masks_change_targets_and_train_their_embedding() {
    let folder = sample("mask");
    let mut graph: Value = read_json(&folder.0.join("g.json"));
    for phase in 0..2 {
        let nodes = &mut graph["phases"][phase]["nodes"];
        nodes["mask"] = serde_json::json!({ "kind": "mask", "inputs": { "speech": "speech.speech" }, "length": 3 });
        for node in ["teacher", "student"] {
            nodes[node]["inputs"]["mask"] = "mask.mask".into();
        }
    }
    let plain = run(&folder, "plain", &["--steps", "3"]);
    assert!(plain.status.success(), "{}", stderr(&plain));
    fs::write(folder.0.join("g.json"), graph.to_string()).unwrap();
    let masked = |out: &str, more: &[&str]| {
        let said = run(&folder, out, &[&["--steps", "3"], more].concat());
        assert!(said.status.success(), "{}", stderr(&said));
        left(&folder.0.join(out))
    };
    let (live, cache) = (masked("live", &[]), ["--set", "teacher.cache=c"]);
    assert!(masked("cold", &cache) == live && masked("full", &cache) == live);
    let embedding = |model: &str| {
        let bytes = fs::read(folder.0.join(model).join("model.safetensors")).unwrap();
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
        let listed = output(&mut pipeline(
            &folder.0,
            &["cache", "list", "c", "--format", "json"],
        ));
        serde_json::from_slice::<Value>(&listed.stdout).unwrap()[0]["rows"]
            .as_u64()
            .unwrap()
    };
    let before = rows();
    masked("other", &[&cache[..], &["--set", "mask.length=4"]].concat());
    assert_eq!(rows(), 2 * before);
}

/// The size that `check` tells is that of the features that are kept.
#[test]
fn a_graph_may_only_keep_features() {
    let folder = sample("features");
    let mut graph: Value = read_json(&folder.0.join("g.json"));
    let mut speech = graph["phases"][0]["nodes"]["speech"].take();
    speech["crop"] = "none".into();
    speech["views"] = 1.into();
    let inputs = serde_json::json!({ "speech": "speech.speech" });
    let fbank = serde_json::json!({ "kind": "fbank", "inputs": inputs, "cepstra": 13, "bins": 23, "deltas": 2, "cache": "c" });
    let graph = serde_json::json!({ "name": "g", "nodes": { "speech": speech, "fbank": fbank } });
    fs::write(folder.0.join("g.json"), graph.to_string()).unwrap();
    let about = output(&mut pipeline(
        &folder.0,
        &["check", "g.json", "--format", "json"],
    ));
    assert!(run(&folder, "out", &[]).status.success());
    let listed = output(&mut pipeline(
        &folder.0,
        &["cache", "list", "c", "--format", "json"],
    ));
    let [about, listed] =
        [about, listed].map(|said| serde_json::from_slice::<Value>(&said.stdout).unwrap());
    let frames: u64 = (0..10).map(|i| (9000 + 1700 * i - 400) / 160 + 1).sum();
    assert_eq!(
        (listed[0]["rows"].as_u64(), listed[0]["frames"].as_u64()),
        (Some(10), Some(frames))
    );
    assert_eq!(about["cache_bytes"], frames * 39 * 4);
}

/// Live and cached alike; and no target of f32 serves a run in bf16, unless the machine has said that it is one.
#[test]
fn targets_in_bf16_stand_apart() {
    let folder = sample("bf16");
    let run = |out: &str, more: &[&str]| {
        let said = run(&folder, out, &[&["--steps", "2"], more].concat());
        assert!(said.status.success(), "{}", stderr(&said));
        (
            left(&folder.0.join(out)),
            stderr(&said)
                .matches("node `teacher`: option `precision`")
                .count(),
        )
    };
    let (bf16, cache) = (
        ["--set", "teacher.precision=bf16"],
        ["--set", "teacher.cache=cache"],
    );
    let (f32, none) = run("f32", &cache);
    let (cached, told) = run("cached", &[bf16, cache].concat());
    assert!(none == 0 && told <= 1);
    assert!(cached == run("live", &bf16).0);
    assert_eq!(cached == f32, told == 1);
    let fingerprints = fs::read_dir(folder.0.join("cache"))
        .unwrap()
        .filter(|e| e.as_ref().unwrap().path().is_dir());
    assert_eq!(fingerprints.count(), 2 - told);
}

/// The models of a phase are written after its last checkpoint: lost, they come again from there.
#[test]
fn the_end_of_a_phase_is_done_again() {
    let folder = sample("end");
    assert!(run(&folder, "out", &[]).status.success());
    let (out, whole) = (folder.0.join("out"), left(&folder.0.join("out")));
    let file = out.join("run.json");
    let mut about: Value = read_json(&file);
    assert!(about["finished"].is_number() && about["summary"].is_array());
    about["finished"] = Value::Null;
    fs::write(&file, about.to_string()).unwrap();
    fs::remove_dir_all(out.join("distill")).unwrap();
    assert!(run(&folder, "out", &["--resume"]).status.success());
    assert!(left(&out) == whole);
}

#[test]
fn a_run_goes_on_only_as_it_began() {
    let folder = sample("bound");
    assert!(run(&folder, "out", &["--steps", "2"]).status.success());
    let says = |more: &[&str]| {
        let said = run(&folder, "out", more);
        (said.status.code(), stderr(&said))
    };
    assert_eq!(says(&["--steps", "2"]).0, Some(2));
    assert_eq!(
        says(&["--steps", "2", "--resume"]),
        (Some(0), "out is finished already\n".into())
    );
    let otherwise = |keys: &str| {
        (
            Some(1),
            format!("out was begun otherwise, so it does not go on; different: {keys}\n"),
        )
    };
    assert_eq!(
        says(&["--resume", "--set", "step.steps=50"]),
        otherwise("distill.step.steps, prune.step.steps, --steps")
    );
    let free = [
        "--set",
        "step.checkpoint_every=9",
        "--set",
        "teacher.cache=c",
        "--set",
        "log.every=3",
    ];
    assert_eq!(
        says(&[&["--resume", "--steps", "2"][..], &free].concat()).0,
        Some(0)
    );
    fs::write(folder.0.join("train.tsv"), "other").unwrap();
    assert_eq!(
        says(&["--resume", "--steps", "2"]),
        otherwise("the data in train.tsv")
    );
}

#[test]
fn files_are_missed_before_the_first_step() {
    let folder = sample("missing");
    fs::remove_file(folder.0.join("teacher/model.safetensors")).unwrap();
    fs::remove_file(folder.0.join("train.tsv")).unwrap();
    let said = run(&folder, "out", &[]);
    let lines = [
        "node `speech`: there is no `train.tsv`",
        "node `teacher`: there is no `teacher/model.safetensors`",
        "node `gates`: there is no `teacher/model.safetensors`",
        "node `student`: there is no `teacher/model.safetensors`",
    ];
    assert_eq!(stderr(&said).lines().collect::<Vec<_>>(), lines);
    assert_eq!(
        (said.status.code(), folder.0.join("out").exists()),
        (Some(1), false)
    );
    assert!(
        output(&mut pipeline(&folder.0, &["check", "g.json"]))
            .status
            .success()
    );
}

#[test]
fn a_failure_names_its_node_and_leaves_the_checkpoint() {
    let folder = sample("failure");
    // So high a rate that the first updates end in numbers that are none.
    let said = run(
        &folder,
        "hot",
        &[
            "--set",
            "prune.step.rates.student=1e30",
            "--set",
            "step.checkpoint_every=1",
        ],
    );
    let last = stderr(&said).lines().last().unwrap_or_default().to_owned();
    assert!(
        last.starts_with("node `step`: the ") && last.contains("is not finite at update"),
        "{last}"
    );
    assert_eq!(said.status.code(), Some(1));
    assert!(
        folder
            .0
            .join("hot/checkpoint/prune-00000001.safetensors")
            .exists()
    );

    // A model that is not a number is not trained on as if it were one.
    let weights = folder.0.join("teacher/model.safetensors");
    let sound = fs::read(&weights).unwrap();
    let mut model = nodes::data::file::load(&weights).unwrap();
    model
        .get_mut("encoder.layers.0.attention.q_proj.weight")
        .unwrap()
        .1[3] = f32::NAN;
    let tensors: Vec<_> = model
        .iter()
        .map(|(name, (shape, values))| (name.clone(), shape.clone(), values.into()))
        .collect();
    nodes::data::file::save(&weights, &tensors, Default::default()).unwrap();
    let said = run(&folder, "nan", &[]);
    assert_eq!(said.status.code(), Some(1));
    assert!(
        stderr(&said).contains("is not finite at update 1"),
        "{}",
        stderr(&said)
    );
    let skips = ["--steps", "2", "--set", "step.not_finite=skip"];
    let said = run(&folder, "skip", &skips);
    assert!(
        said.status.success() && stderr(&said).contains("update 1 is left out"),
        "{}",
        stderr(&said)
    );
    fs::write(&weights, sound).unwrap();

    fs::write(folder.0.join("3.wav"), "RIFF").unwrap();
    fs::write(folder.0.join("5.wav"), "").unwrap();
    let said = run(&folder, "bad", &["--set", "speech.bad_files=1"]);
    assert_eq!(said.status.code(), Some(1));
    let last = stderr(&said).lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("node `speech`: "), "{last}");
    let said = run(
        &folder,
        "fine",
        &["--set", "speech.bad_files=2", "--steps", "2"],
    );
    assert!(said.status.success(), "{}", stderr(&said));
    assert!(stderr(&said).contains("3.wav") && stderr(&said).contains("5.wav"));
}

/// Gates on whole layers too: those that close are gone from the folder, and the cut moves nothing.
#[test]
fn whole_layers_are_pruned_with_their_units() {
    let folder = sample("layers");
    let sets = [
        r#"gates.units=["conv", "head", "ffn", "attention-layer", "ffn-layer"]"#,
        r#"gates.initial_drop={"attention-layer": 0.9}"#,
    ];
    let said = run(
        &folder,
        "out",
        &["--steps", "3", "--set", sets[0], "--set", sets[1]],
    );
    assert!(said.status.success(), "{}", stderr(&said));
    let text = stderr(&said);
    let cut = text
        .lines()
        .find_map(|line| line.strip_prefix("node `student`: cut exactly from "))
        .expect("a cut");
    let words: Vec<&str> = cut.split([' ', ';']).collect();
    assert!(
        words[words.len() - 1].parse::<f64>().unwrap() < 1e-5,
        "{cut}"
    );
    let inspected = output(&mut pipeline(
        &folder.0,
        &["inspect", "out/prune/student", "--format", "json"],
    ));
    let found: Value = serde_json::from_slice(&inspected.stdout).unwrap();
    assert_eq!(
        (&found["heads"], &found["parameters"].to_string()),
        (&serde_json::json!([0, 0]), &words[2].to_owned())
    );
    assert!(
        found["ffn"].as_array().unwrap().iter().any(|n| *n != 0),
        "{found}"
    );
}

#[test]
fn a_benchmark_leaves_nothing() {
    let folder = sample("bench");
    let before = fs::read_dir(&folder.0).unwrap().count();
    for more in [
        &["--phase", "prune"][..],
        &["--phase", "distill", "--cached"],
        &["--synthetic", "2x0.5"],
    ] {
        let words = [
            &["bench", "g.json", "--steps", "3", "--format", "json"],
            more,
        ]
        .concat();
        let said = output(&mut pipeline(&folder.0, &words));
        assert!(said.status.success(), "{more:?}: {}", stderr(&said));
        let found: Value = serde_json::from_slice(&said.stdout).unwrap();
        assert!(
            found["step_seconds"]["median"].as_f64() > Some(0.0)
                && found["peak_bytes"].as_u64() > Some(0)
        );
        assert!(found["node_seconds"]["student"].as_f64() > Some(0.0));
        assert!(found["optimize_seconds"]["backward"].as_f64() > Some(0.0));
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), before);
        if cfg!(feature = "cuda") {
            assert!(
                found["gpu_peak_bytes"].as_u64() > Some(0)
                    && found["floor"].is_null()
                    && found["bytes"].is_null()
            );
            continue; // what follows is the CPU's
        }
        let bytes: BTreeMap<String, i64> = serde_json::from_value(found["bytes"].clone()).unwrap();
        assert_eq!(Some(bytes.values().sum()), found["peak_bytes"].as_i64());
        assert_eq!(bytes["moments"], 2 * bytes["gradients"]);
        assert!(bytes["activations"] > 0 && bytes["packed"] >= 0 && bytes["gradients"] > 0);
        assert_eq!(
            bytes["teacher"] > 0,
            !more.contains(&"--cached"),
            "open only where a target is missing"
        );
        assert!(found["floor"]["read_gb_per_second"].as_f64() > Some(0.0));
        if more.contains(&"--synthetic") {
            // Teacher and student forward, the student backward: 1 + 3; and the heads of two layers, 24 to 24 wide.
            let model = read_architecture(&folder.0.join("teacher")).unwrap();
            let heads = 2 * 2 * model.frames(8000) as u64 * 24 * 24;
            let macs = 4 * count::macs_of(&model, [8000; 2]) + 3 * heads;
            assert_eq!(found["floor"]["macs"].as_f64(), Some(macs as f64));
        }
    }
}
