//! `pipeline tap`.
use crate::program::{call, read_json, stderr, stdout};
use crate::sample::{run, sample};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Float32Type, Int32Type, UInt64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Reads a Parquet file.
fn table(path: &Path) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap())
        .unwrap()
        .build()
        .unwrap();
    let batches: Vec<RecordBatch> = reader.map(|b| b.unwrap()).collect();
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

/// Returns the list of numbers in a row.
fn floats(column: &dyn Array, row: usize) -> Vec<f32> {
    column
        .as_list::<i32>()
        .value(row)
        .as_primitive::<Float32Type>()
        .values()
        .to_vec()
}

/// Every port has its columns, steps are updates from 1, and only the file is written.
#[test]
fn a_tap_writes_what_a_port_sends() {
    let folder = sample("tap");
    let before = fs::read_dir(folder.path()).unwrap().count();
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
        let tap = ["tap", "g.json", port, "--steps", "2", "--out", "t.parquet"];
        stdout(folder.path(), &[&tap[..], &["--phase", phase]].concat());
        let table = table(&folder.path().join("t.parquet"));
        let schema = table.schema();
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(names, columns, "{port}");
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
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before + 1);
}

/// Returns the metrics of a phase's updates that a run has written, but for its speed.
fn written_metrics(out: &Path, phase: &str) -> Vec<(String, f32)> {
    let lines = fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let mut metrics = vec![];
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let name = line["name"].as_str().unwrap();
        if line["phase"] == phase && name != "audio_per_second" && !name.starts_with("dev/") {
            metrics.push((name.to_owned(), line["value"].as_f64().unwrap() as f32));
        }
    }
    metrics
}

/// Returns the metrics that an optimizer has sent, but for its speed.
fn tapped_metrics(metrics: &RecordBatch) -> Vec<(String, f32)> {
    let names = metrics["name"].as_string::<i32>();
    let values = metrics["value"].as_primitive::<Float32Type>();
    let rows = (0..metrics.num_rows()).map(|row| (names.value(row).to_owned(), values.value(row)));
    rows.filter(|(name, _)| name != "audio_per_second")
        .collect()
}

/// A phase begins with what the phases before it have written in as many updates.
#[test]
fn a_tap_of_a_later_phase_sees_what_a_run_saw() {
    let folder = sample("tap-later");
    let arguments = ["--set", "teacher.cache=c", "--steps", "2"];
    assert!(run(&folder, "out", &arguments).status.success());
    let files = fs::read_dir(folder.path()).unwrap().count();
    let port = ["step.metrics", "--phase", "distill", "--out", "t.parquet"];
    stdout(
        folder.path(),
        &[&["tap", "g.json"], &port[..], &arguments].concat(),
    );
    let tapped = tapped_metrics(&table(&folder.path().join("t.parquet")));
    assert_eq!(
        tapped,
        written_metrics(&folder.path().join("out"), "distill")
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), files + 1);
}

/// A phase without an optimizer ends with its last epoch, as in a run.
#[test]
fn a_tap_ends_with_the_speech() {
    let folder = sample("tap-end");
    let graph = read_json(&folder.path().join("g.json"));
    let nodes = &graph["phases"][0]["nodes"];
    let nodes = json!({ "speech": nodes["speech"], "teacher": nodes["teacher"] });
    let fill = json!({ "name": "fill", "nodes": nodes });
    fs::write(folder.path().join("fill.json"), fill.to_string()).unwrap();
    for (views, rows) in [("1", 8), ("2", 16)] {
        let views = format!("speech.views={views}");
        let tap = [
            "tap",
            "fill.json",
            "speech.speech",
            "--steps",
            "100",
            "--out",
            "t.parquet",
            "--set",
            &views,
        ];
        stdout(folder.path(), &tap);
        assert_eq!(table(&folder.path().join("t.parquet")).num_rows(), rows);
    }
}

/// The metrics of every update are those of a run, and the targets of a row are those of
/// `extract`.
#[test]
fn a_tap_changes_no_number() {
    let folder = sample("tapped");
    let whole_utterances = ["--set", "speech.crop=none", "--set", "speech.dev=null"];
    assert!(
        run(
            &folder,
            "out",
            &[&whole_utterances[..], &["--steps", "3"]].concat()
        )
        .status
        .success()
    );
    let expected = written_metrics(&folder.path().join("out"), "prune");
    let tap = |port: &str| {
        let arguments = ["tap", "g.json", port, "--steps", "3", "--out", "t.parquet"];
        stdout(folder.path(), &[&arguments[..], &whole_utterances].concat());
        table(&folder.path().join("t.parquet"))
    };
    assert_eq!(tapped_metrics(&tap("step.metrics")), expected);

    let targets = tap("teacher.targets");
    let id = targets["id"].as_string::<i32>().value(0).to_owned();
    stdout(
        folder.path(),
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
    let extracted = table(&folder.path().join("e.parquet"));
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
    assert_eq!(int("layer", 0), 0);
    assert_eq!(int("layer", 1), 2);
    assert_eq!(int("row", 1), 0);
    assert_eq!(int("width", 1), 24);
    for row in 0..hiddens.num_rows() {
        assert_eq!(
            floats(&hiddens["hidden"], row).len(),
            int("frames", row) * int("width", row)
        );
    }
}

#[test]
fn wrong_ports_and_files_are_reported() {
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
        (
            "teacher.logits",
            "nothing comes on `teacher.logits`: `teacher` has no logits.safetensors, and \
             `architecture` names no `label_embeddings`",
        ),
        ("student", "write the port as node.port"),
    ];
    for (port, message) in cases {
        let output = call(
            folder.path(),
            &["tap", "g.json", port, "--steps", "1", "--out", "t.parquet"],
        );
        assert_eq!(
            (stderr(&output).trim_end(), output.status.code()),
            (message, Some(2))
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
    let output = call(folder.path(), &blocked);
    assert!(
        output.status.code() == Some(1) && stderr(&output).contains("g.json/t.parquet: "),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_tap_replaces_nothing_that_it_reads() {
    let folder = sample("tap-over");
    for file in ["g.json", "train.tsv"] {
        let before = fs::read(folder.path().join(file)).unwrap();
        let tap = [
            "tap",
            "g.json",
            "speech.speech",
            "--steps",
            "1",
            "--out",
            file,
        ];
        let output = call(folder.path(), &tap);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("is one of the files that are read"));
        assert!(fs::read(folder.path().join(file)).unwrap() == before);
    }
}
