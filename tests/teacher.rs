//! What a teacher sends and a cache keeps: all layers, means of rows, and logits beside layers.
mod cached_logits;

use crate::program::{Folder, call, stderr, stdout};
use crate::sample::sample;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, UInt32Type};
use nodes::data::file::save;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::fs;

const WIDTH: usize = 24;
const SIZE: usize = 4;
const ROWS: usize = 7;

/// Writes a head of seven rows, the first `special` of which stand for no cluster, beside the
/// teacher.
fn write_head(folder: &Folder, special: usize) {
    let tensor = |name: &str, shape: &[usize]| {
        let count = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..count)
            .map(|i| ((i * 37 % 23) as f32 - 11.0) / 9.0)
            .collect();
        (name.to_owned(), shape.to_vec(), Cow::Owned(values))
    };
    let tensors = [
        tensor("final_proj.weight", &[SIZE, WIDTH]),
        tensor("final_proj.bias", &[SIZE]),
        tensor("label_embs", &[ROWS, SIZE]),
    ];
    let metadata = [("special_rows".to_owned(), special.to_string())].into();
    save(
        &folder.path().join("teacher/logits.safetensors"),
        &tensors,
        metadata,
    )
    .unwrap();
}

/// Writes a graph in which a student learns layers and logits of the teacher, with more options of
/// the teacher and of the student's head.
fn write_graph(folder: &Folder, teacher: Value, logits: Value) {
    let with = |mut node: Value, more: Value| {
        for (key, value) in more.as_object().into_iter().flatten() {
            node[key] = value.clone();
        }
        node
    };
    let graph = json!({ "name": "g", "seed": 5, "nodes": {
        "speech": { "kind": "decode", "manifest": "train.tsv", "seconds_per_batch": 2,
            "crop": "bucket", "bucket_seconds": 0.2 },
        "teacher": with(json!({ "kind": "teacher", "inputs": { "speech": "speech.speech" },
            "model": "teacher", "layers": [1, 2] }), teacher),
        "student": { "kind": "student", "inputs": { "speech": "speech.speech" }, "init": "teacher",
            "layers": [1, 2], "architecture": { "hidden_dropout": 0.1 } },
        "logits": with(json!({ "kind": "logits", "inputs": { "hiddens": "student.hiddens" },
            "layer": 2, "embeddings": "teacher" }), logits),
        "match": { "kind": "loss", "inputs": { "student": "student.hiddens",
            "target": "teacher.targets" }, "terms": [{ "type": "l1" }] },
        "discriminate": { "kind": "loss", "inputs": { "student": "logits.logits",
            "target": "teacher.logits" }, "terms": [{ "type": "kl" }] },
        "step": { "kind": "optimize", "inputs": { "losses": ["match.loss", "discriminate.loss"] },
            "steps": 6, "rates": { "student": 1e-3, "logits": 1e-3 }, "checkpoint_every": 3 },
    } });
    fs::write(folder.path().join("g.json"), graph.to_string()).unwrap();
}

#[test]
fn labels_and_logits_that_meet_have_the_same_numbers() {
    let folder = sample("numbering");
    let check = |extra: &[&str]| call(folder.path(), &[&["check", "g.json"][..], extra].concat());
    write_head(&folder, 2);
    write_graph(&folder, json!({}), json!({}));
    assert!(check(&[]).status.success());
    let rows = ["--set", "teacher.classes=rows"];
    let output = check(&rows);
    assert_eq!(output.status.code(), Some(78));
    let says = stderr(&output);
    assert!(
        says.contains("`student` has 5 classes, `target` 7"),
        "{says}"
    );
    assert!(says.contains("give both the same `classes`"), "{says}");
    assert!(
        check(&[&rows[..], &["--set", "logits.classes=rows"]].concat())
            .status
            .success()
    );
    // The number of all rows says the same.
    assert!(
        check(&[&rows[..], &["--set", "logits.classes=7"]].concat())
            .status
            .success()
    );
    // Without special rows there is no difference.
    write_head(&folder, 0);
    assert!(check(&rows).status.success());
}

fn tap(folder: &Folder, port: &str, extra: &[&str]) -> RecordBatch {
    let arguments = ["tap", "g.json", port, "--steps", "1", "--out", "t.parquet"];
    stdout(folder.path(), &[&arguments[..], extra].concat());
    let file = fs::File::open(folder.path().join("t.parquet")).unwrap();
    let mut reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .build()
        .unwrap();
    reader.next().unwrap().unwrap()
}

/// Returns the frames and the values of each layer of the first row.
fn first_row(table: &RecordBatch) -> (u32, Vec<Vec<f32>>) {
    let frames = table
        .column_by_name("frames")
        .unwrap()
        .as_primitive::<UInt32Type>()
        .value(0);
    let layers = table
        .column_by_name("hidden")
        .unwrap()
        .as_list::<i32>()
        .value(0);
    let layers = layers.as_list::<i32>();
    let values = |layer| {
        layers
            .value(layer)
            .as_primitive::<Float32Type>()
            .values()
            .to_vec()
    };
    (frames, (0..layers.len()).map(values).collect())
}

#[test]
fn a_pooled_row_is_the_mean_of_its_frames_in_all_layers() {
    let folder = sample("pool");
    write_head(&folder, 0);
    write_graph(&folder, json!({ "layers": "all" }), json!({}));
    // The loss would compare frames with means: a graph of the teacher alone.
    let mut graph: Value =
        serde_json::from_slice(&fs::read(folder.path().join("g.json")).unwrap()).unwrap();
    let nodes = graph["nodes"].as_object_mut().unwrap();
    nodes.retain(|name, _| name == "speech" || name == "teacher");
    fs::write(folder.path().join("g.json"), graph.to_string()).unwrap();

    let (frames, whole) = first_row(&tap(&folder, "teacher.targets", &[]));
    let pool = ["--set", "teacher.pool=mean"];
    let (pooled_frames, pooled) = first_row(&tap(&folder, "teacher.targets", &pool));
    assert!(frames > 5 && pooled_frames == 1);
    assert_eq!((whole.len(), pooled.len()), (3, 3)); // layers 0, 1, 2
    for (whole, pooled) in whole.iter().zip(&pooled) {
        assert_eq!(pooled.len(), WIDTH);
        for (w, mean) in pooled.iter().enumerate() {
            let values = whole.iter().skip(w).step_by(WIDTH);
            let expected = values.map(|x| f64::from(*x)).sum::<f64>() / f64::from(frames);
            assert!(
                (expected - f64::from(*mean)).abs() < 1e-5,
                "{expected} {mean}"
            );
        }
    }
    let cache = [&pool[..], &["--set", "teacher.cache=cache"]].concat();
    let cold = first_row(&tap(&folder, "teacher.targets", &cache));
    let warm = first_row(&tap(&folder, "teacher.targets", &cache));
    assert!(cold == (1, pooled.clone()) && warm == (1, pooled));

    write_graph(&folder, json!({ "pool": "mean" }), json!({}));
    let output = call(folder.path(), &["check", "g.json"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(
        stderr(&output).contains("`target` is the mean of a row"),
        "{}",
        stderr(&output)
    );
}

/// A tap reads a port that no edge reads, and nothing else is computed for it.
#[test]
fn a_tap_reads_what_nothing_else_does() {
    let folder = sample("tap-unread");
    write_head(&folder, 0);
    write_graph(&folder, json!({}), json!({}));
    let maps = tap(&folder, "teacher.maps", &[]);
    assert!(maps.column_by_name("maps").is_some());
    let student_maps = tap(&folder, "student.maps", &[]);
    assert!(student_maps.num_rows() > 0);
    let output = call(
        folder.path(),
        &[
            "tap",
            "g.json",
            "teacher.targets",
            "--steps",
            "1",
            "--out",
            "t.parquet",
            "--set",
            "teacher.cache=cache",
        ],
    );
    assert!(
        !stderr(&output).contains("not cached"),
        "{}",
        stderr(&output)
    );
}
