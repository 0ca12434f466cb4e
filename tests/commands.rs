//! The commands beside `run`, `check` and `bench`: what they print and write.
use crate::program::{Folder, output, pipeline, read_json, root, stderr};
use crate::sample::{run, sample};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Float32Type, Int32Type, UInt64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

fn stdout(folder: &Path, words: &[&str]) -> String {
    let said = output(&mut pipeline(folder, words));
    assert!(said.status.success(), "{words:?}: {}", stderr(&said));
    String::from_utf8(said.stdout).unwrap()
}

const SCHEMA: &str = "docs/graph.schema.json";

/// As `pipeline schema` prints it; with `UPDATE_EXPECT` set, it is written instead.
#[test]
fn the_schema_in_the_repository_is_this_one() {
    let printed = stdout(root(), &["schema"]);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(root().join(SCHEMA), &printed).unwrap();
    }
    assert!(
        fs::read_to_string(root().join(SCHEMA)).unwrap() == printed,
        "pipeline schema > {SCHEMA}"
    );
}

/// Whether keys, ports and required options of a node are as the schema of its kind says.
fn fits(schema: &Value, node: &Value) -> bool {
    let keys_fit = |schema: &Value, given: &Value| {
        let known = schema["properties"].as_object().unwrap();
        let required = schema["required"]
            .as_array()
            .unwrap()
            .iter()
            .all(|key| !given[key.as_str().unwrap()].is_null());
        let none = serde_json::Map::new();
        let given = given.as_object().unwrap_or(&none);
        schema["additionalProperties"] == false
            && required
            && given.keys().all(|key| known.contains_key(key))
    };
    let kind = &schema["$defs"][node["kind"].as_str().unwrap()];
    kind.is_object()
        && keys_fit(kind, node)
        && keys_fit(&kind["properties"]["inputs"], &node["inputs"])
}

fn nodes(graph: &Value) -> Vec<Value> {
    let phases = graph["phases"]
        .as_array()
        .cloned()
        .unwrap_or(vec![graph.clone()]);
    phases
        .iter()
        .flat_map(|p| {
            p["nodes"]
                .as_object()
                .unwrap()
                .values()
                .cloned()
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn shipped_graphs_fit_the_schema_they_name_and_bad_ones_do_not() {
    let schema = read_json(&root().join(SCHEMA));
    let all = [
        "dphubert",
        "hubert",
        "dicehubert",
        "librispeech/dphubert",
        "librispeech/dpwavlm",
        "librispeech/hubert",
    ];
    for graph in all.map(|name| format!("graphs/{name}.json")) {
        let path = root().join(graph);
        let graph = read_json(&path);
        let named = path.with_file_name(graph["$schema"].as_str().unwrap());
        assert_eq!(
            named.canonicalize().unwrap(),
            root().join(SCHEMA).canonicalize().unwrap()
        );
        assert!(
            nodes(&graph).iter().all(|node| fits(&schema, node)),
            "{}",
            path.display()
        );
    }
    for bad in [
        "cache",
        "inputs",
        "kind",
        "missing-options",
        "unknown-options",
    ] {
        let mut nodes = nodes(&read_json(&root().join(format!("tests/bad/{bad}.json"))));
        nodes.retain(|node| node["kind"].is_string());
        assert!(!nodes.iter().all(|node| fits(&schema, node)), "{bad}");
    }
}

#[test]
fn options_have_types_defaults_and_descriptions() {
    let schema = read_json(&root().join(SCHEMA));
    let option = |kind: &str, name: &str| schema["$defs"][kind]["properties"][name].clone();
    assert_eq!(option("optimize", "betas")["default"], json!([0.9, 0.999]));
    assert_eq!(option("teacher", "cache")["default"], Value::Null);
    assert_eq!(option("log", "every")["type"], "integer");
    for kind in nodes::KINDS {
        let required: Vec<&Value> = schema["$defs"][kind.name]["required"]
            .as_array()
            .unwrap()
            .iter()
            .collect();
        for (name, option) in schema["$defs"][kind.name]["properties"]
            .as_object()
            .unwrap()
        {
            let said = option.get("default").is_some() != required.contains(&&json!(name));
            let fixed = ["kind", "inputs"].contains(&name.as_str());
            assert!(
                fixed || said && option["description"].is_string(),
                "{}: {name}: {option}",
                kind.name
            );
        }
    }
}

#[test]
fn nodes_tells_kinds_ports_and_options() {
    let all = stdout(root(), &["nodes"]);
    for (line, kind) in all.lines().zip(nodes::KINDS) {
        let (name, about) = line.split_once("  ").unwrap();
        assert!(name == kind.name && !about.trim().is_empty(), "{line}");
    }
    assert_eq!(all.lines().count(), nodes::KINDS.len());
    let loss = "\
How far the student's hiddens are from the targets.
input student: hiddens
input target: columns id, frames, hidden
output loss: a loss
";
    let said = stdout(root(), &["nodes", "loss"]);
    let options = said.strip_prefix(loss).unwrap_or_else(|| panic!("{said}"));
    let row = |name: &str| {
        options
            .lines()
            .find(|l| l.trim_start().starts_with(name))
            .unwrap()
            .to_owned()
    };
    assert!(
        row("terms").contains("list of object") && row("terms").contains("required"),
        "{options}"
    );
    assert!(row("reduce").contains("\"mean\", \"sum\""), "{options}");
    assert_eq!(
        row("terms").find("required"),
        row("reduce").rfind("\"mean\""),
        "{options}"
    );
    assert!(stdout(root(), &["nodes", "teacher"]).contains("\ncache "));
    assert_eq!(
        output(&mut pipeline(root(), &["nodes", "teachr"]))
            .status
            .code(),
        Some(2)
    );
}

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

pub fn table(path: &Path) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap())
        .unwrap()
        .build()
        .unwrap();
    let batches: Vec<RecordBatch> = reader.map(|b| b.unwrap()).collect();
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

fn floats(column: &dyn Array, row: usize) -> Vec<f32> {
    column
        .as_list::<i32>()
        .value(row)
        .as_primitive::<Float32Type>()
        .values()
        .to_vec()
}

/// Steps are updates from 1, every port has its columns, and nothing else is left behind.
#[test]
fn a_tap_writes_what_crosses_a_port() {
    let folder = sample("tap");
    let before = fs::read_dir(&folder.0).unwrap().count();
    let hiddens = ["step", "layer", "row", "frames", "width", "hidden"];
    let scalar = ["step", "name", "value"];
    let cases = [
        (
            "prune",
            "speech.speech",
            &["step", "id", "samples", "view"][..],
        ),
        (
            "prune",
            "teacher.targets",
            &["step", "id", "frames", "hidden"],
        ),
        ("prune", "gates.gates", &["step", "unit", "gates"]),
        ("prune", "gates.penalty", &scalar),
        ("distill", "student.hiddens", &hiddens),
        ("distill", "heads.hiddens", &hiddens),
        ("distill", "match.loss", &scalar),
    ];
    for (phase, port, columns) in cases {
        stdout(
            &folder.0,
            &[
                "tap",
                "g.json",
                port,
                "--steps",
                "2",
                "--out",
                "t.parquet",
                "--phase",
                phase,
            ],
        );
        let table = table(&folder.0.join("t.parquet"));
        let schema = table.schema();
        assert_eq!(
            schema
                .fields()
                .iter()
                .map(|f| f.name().as_str())
                .collect::<Vec<_>>(),
            columns,
            "{port}"
        );
        let steps = table
            .column(0)
            .as_primitive::<UInt64Type>()
            .values()
            .to_vec();
        assert!(
            steps.is_sorted() && (steps[0], steps[steps.len() - 1]) == (1, 2),
            "{port}: {steps:?}"
        );
    }
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), before + 1);
}

/// The loss of every update is that of a run, and a row's targets are those of `extract`.
#[test]
fn a_tap_changes_no_number() {
    let folder = sample("tapped");
    let whole = ["--set", "speech.crop=none", "--set", "speech.dev=null"];
    assert!(
        run(&folder, "out", &[&whole[..], &["--steps", "3"]].concat())
            .status
            .success()
    );
    let lines = fs::read_to_string(folder.0.join("out/metrics.jsonl")).unwrap();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines = lines.filter(|l| l["phase"] == "prune");
    let value = |l: &Value| {
        (
            l["name"].as_str().unwrap().to_owned(),
            l["value"].as_f64().unwrap() as f32,
        )
    };
    let expected: Vec<(String, f32)> = lines
        .map(|l| value(&l))
        .filter(|(name, _)| name != "audio_per_second")
        .collect();
    let tap = |port: &str| {
        let words = ["tap", "g.json", port, "--steps", "3", "--out", "t.parquet"];
        stdout(&folder.0, &[&words[..], &whole].concat());
        table(&folder.0.join("t.parquet"))
    };
    let metrics = tap("step.metrics");
    let (names, values) = (
        metrics["name"].as_string::<i32>(),
        metrics["value"].as_primitive::<Float32Type>(),
    );
    let tapped =
        (0..metrics.num_rows()).map(|row| (names.value(row).to_owned(), values.value(row)));
    let tapped: Vec<(String, f32)> = tapped
        .filter(|(name, _)| name != "audio_per_second")
        .collect();
    assert_eq!(tapped, expected);

    let targets = tap("teacher.targets");
    let id = targets["id"].as_string::<i32>().value(0).to_owned();
    stdout(
        &folder.0,
        &[
            "extract",
            "teacher",
            &id,
            "--layers",
            "0,2",
            "--out",
            "e.parquet",
        ],
    );
    let extracted = table(&folder.0.join("e.parquet"));
    let layers = targets["hidden"].as_list::<i32>().value(0);
    for layer in 0..2 {
        assert!(
            floats(&layers, layer) == floats(&extracted["hidden"], layer),
            "{id}, layer {layer}"
        );
    }

    let hiddens = tap("student.hiddens");
    let int =
        |name: &str, row: usize| hiddens[name].as_primitive::<Int32Type>().value(row) as usize;
    assert_eq!(
        (
            int("layer", 0),
            int("layer", 1),
            int("row", 1),
            int("width", 1)
        ),
        (0, 2, 0, 24)
    );
    for row in 0..hiddens.num_rows() {
        assert_eq!(
            floats(&hiddens["hidden"], row).len(),
            int("frames", row) * int("width", row)
        );
    }
}

#[test]
fn a_tap_says_what_is_wrong() {
    let folder = sample("no-tap");
    let cases = [
        (
            "studnt.hiddens",
            "phase `prune` has no node `studnt`; did you mean `student`?",
        ),
        (
            "student.hidens",
            "node `student` has no output `hidens`; did you mean `hiddens`?",
        ),
        ("log.metrics", "node `log` has no output `metrics`"),
        ("student", "write the port as node.port"),
    ];
    for (port, says) in cases {
        let said = output(&mut pipeline(
            &folder.0,
            &["tap", "g.json", port, "--steps", "1", "--out", "t.parquet"],
        ));
        assert_eq!(
            (stderr(&said).trim_end(), said.status.code()),
            (says, Some(2))
        );
    }
    let blocked = [
        "tap",
        "g.json",
        "student.hiddens",
        "--steps",
        "9",
        "--out",
        "g.json/t.parquet",
    ];
    let said = output(&mut pipeline(&folder.0, &blocked));
    assert!(
        said.status.code() == Some(1) && stderr(&said).contains("g.json/t.parquet: "),
        "{}",
        stderr(&said)
    );
}

#[test]
fn runs_stand_side_by_side() {
    let folder = sample("compare");
    assert!(run(&folder, "short", &["--steps", "2"]).status.success());
    assert!(run(&folder, "long", &["--steps", "4"]).status.success());
    let about: Value = serde_json::from_str(&stdout(
        &folder.0,
        &["compare", "short", "long", "--format", "json"],
    ))
    .unwrap();
    for (run, updates) in about.as_array().unwrap().iter().zip([2, 4]) {
        let name = run["run"].as_str().unwrap();
        let student = format!("{name}/distill/student");
        let model: Value = serde_json::from_str(&stdout(
            &folder.0,
            &["inspect", &student, "--format", "json"],
        ))
        .unwrap();
        assert_eq!(
            [
                &run["models"]["student"]["parameters"],
                &run["models"]["student"]["macs"]
            ],
            [&model["parameters"], &model["macs"]]
        );
        assert!(
            run["finished"] == true && run["peak_bytes"].as_u64() > Some(1_000_000),
            "{run}"
        );
        let lines = fs::read_to_string(folder.0.join(name).join("metrics.jsonl")).unwrap();
        let lines: Vec<Value> = lines
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        let prune = &run["phases"][0];
        let last = lines
            .iter()
            .rfind(|l| l["phase"] == "prune" && l["name"] == "dev/loss_l1")
            .unwrap();
        assert_eq!(
            (&prune["dev_losses"]["loss_l1"], prune["updates"].as_u64()),
            (&last["value"], Some(updates))
        );
        // Two batches an update, at most 2 seconds each.
        let hours = prune["audio_hours"].as_f64().unwrap();
        assert!(
            (0.5..=1.0).contains(&(hours * 3600.0 / (4 * updates) as f64)),
            "{hours}"
        );
        assert!(prune["step_seconds"].as_f64().unwrap() > 0.0);
    }
    let text = stdout(&folder.0, &["compare", "short", "long"]);
    let row = |name: &str| {
        text.lines()
            .find(|l| l.starts_with(name))
            .unwrap_or_else(|| panic!("{text}"))
            .to_owned()
    };
    assert!(
        row("prune updates")
            .split_whitespace()
            .eq(["prune", "updates", "2", "4"]),
        "{text}"
    );
    assert!(
        stdout(&folder.0, &["compare", "short", "--format", "markdown"])
            .starts_with("|  | short |\n|---|---|\n| ")
    );

    let foreign = output(&mut pipeline(
        &folder.0,
        &["compare", "short", "teacher", "gone"],
    ));
    let says =
        "teacher: holds no run: there is no run.json\ngone: holds no run: there is no run.json\n";
    assert_eq!(
        (stderr(&foreign).as_str(), foreign.status.code()),
        (says, Some(1))
    );
    let mut begun = read_json(&folder.0.join("short/run.json"));
    begun["finished"] = Value::Null;
    fs::write(folder.0.join("short/run.json"), begun.to_string()).unwrap();
    let said = output(&mut pipeline(&folder.0, &["compare", "short"]));
    assert_eq!(
        (stderr(&said).trim_end(), said.status.code()),
        (
            "warning: short is not finished: this is what it has so far",
            Some(0)
        )
    );
}

#[test]
fn the_doctor_finds_what_is_damaged() {
    let about = stdout(root(), &["doctor"]);
    let sums = fs::read_to_string(root().join("data/sample/BLAKE3SUMS")).unwrap();
    assert!(
        about.contains(&format!("whole, {} files", sums.lines().count())),
        "{about}"
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
    assert!(stdout(&folder.0, &["doctor"]).contains("not in this folder"));
    let sample = folder.0.join("data/sample");
    fs::create_dir_all(&sample).unwrap();
    fs::write(sample.join("BLAKE3SUMS"), &sums).unwrap();
    fs::copy(
        root().join("data/sample/train.tsv"),
        sample.join("train.tsv"),
    )
    .unwrap();
    fs::write(sample.join("dev.tsv"), "damaged").unwrap();
    let said = output(&mut pipeline(&folder.0, &["doctor"]));
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.status.code() == Some(1) && text.contains(" dev.tsv") && !text.contains(" train.tsv"),
        "{text}"
    );
}

/// An installed binary knows no folder but the one it is called in.
#[test]
fn away_from_the_repository_it_says_where_things_lie() {
    let folder = Folder::new("away");
    let said = output(&mut pipeline(&folder.0, &["check", "graphs/dphubert.json"]));
    assert!(
        stderr(&said).contains("lie in the folder `graphs` of the project's repository"),
        "{}",
        stderr(&said)
    );
    let graph = root().join("graphs/dphubert.json");
    let said = output(&mut pipeline(&folder.0, &["run", graph.to_str().unwrap()]));
    assert!(
        said.status.code() == Some(78)
            && stderr(&said).contains("lies in the project's repository")
    );
}

#[test]
fn a_device_that_cannot_be_had_is_refused() {
    let folder = sample("device");
    let of = |device: &str| {
        output(&mut pipeline(
            &folder.0,
            &["run", "g.json", "--steps", "1", "--device", device],
        ))
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
    for (device, says) in other
        .into_iter()
        .chain([("gpu", unknown), ("cuda:x", unknown)])
    {
        let said = of(device);
        assert!(
            said.status.code() == Some(2) && stderr(&said).contains(says),
            "{device}: {}",
            stderr(&said)
        );
    }
    assert!(of(own).status.success());
}
