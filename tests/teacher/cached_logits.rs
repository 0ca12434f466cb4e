//! Logits in a cache: whole, or the largest of them.
use super::{WIDTH, write_graph, write_head};
use crate::program::{Folder, call, execute, pipeline, stderr, stdout_json};
use crate::sample::sample;
use arrow::array::AsArray;
use arrow::datatypes::{Float32Type, UInt32Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use std::fs;
use std::process::Output;

/// Runs the graph and returns the losses of its updates as they are written.
fn losses(folder: &Folder, out: &str, extra: &[&str]) -> (Vec<String>, Output) {
    let output = execute(pipeline(folder.path(), &["run", "g.json", "--out", out]).args(extra));
    assert!(output.status.success(), "{}", stderr(&output));
    let text = fs::read_to_string(folder.path().join(out).join("metrics.jsonl")).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let losses = lines.filter(|line| line["name"].as_str().unwrap().contains("loss"));
    let values = losses.map(|line| line["value"].to_string()).collect();
    (values, output)
}

#[test]
fn cached_logits_change_nothing_and_have_a_fingerprint_of_their_own() {
    let folder = sample("logits-cache");
    write_head(&folder, 2);
    write_graph(&folder, json!({}), json!({}));
    let (live, _) = losses(&folder, "live", &[]);
    let cache = ["--set", "teacher.cache=cache"];
    let (cold, _) = losses(&folder, "cold", &cache);
    let (warm, output) = losses(&folder, "warm", &cache);
    assert_eq!(live, cold);
    assert_eq!(live, warm);
    assert!(
        !stderr(&output).contains("not cached"),
        "{}",
        stderr(&output)
    );

    let list = || {
        stdout_json(
            folder.path(),
            &["cache", "list", "cache", "--format", "json"],
        )
    };
    let kinds = |list: &Value| {
        let listings = list.as_array().unwrap().iter();
        let mut kinds: Vec<_> = listings
            .map(|l| (l["logits"] == true, l["layers"].clone()))
            .collect();
        kinds.sort_by_key(|kind| kind.0);
        kinds
    };
    let layers = (false, json!([1, 2]));
    let logits = (true, json!([]));
    assert_eq!(kinds(&list()), [layers.clone(), logits.clone()]);
    // Another temperature: other logits, the same layers.
    losses(
        &folder,
        "hot",
        &[&cache[..], &["--set", "teacher.temperature=1"]].concat(),
    );
    assert_eq!(kinds(&list()), [layers, logits.clone(), logits]);

    let check = |option: &str| {
        let set = ["--set", "teacher.cache=cache", "--set", option];
        let arguments = [&["check", "g.json", "--format", "json"][..], &set].concat();
        stdout_json(folder.path(), &arguments)["cache_bytes"]
            .as_u64()
            .unwrap()
    };
    // Five clusters of seven rows: two classes more are two numbers of a frame more.
    let both = "logits.classes=rows";
    let rows = ["--set", "teacher.classes=rows", "--set", both];
    let arguments = [
        "check",
        "g.json",
        "--format",
        "json",
        "--set",
        "teacher.cache=cache",
    ];
    let with_rows = stdout_json(folder.path(), &[&arguments[..], &rows].concat());
    let with_rows = with_rows["cache_bytes"].as_u64().unwrap();
    let clusters = check("seed=5");
    assert_eq!(
        with_rows * (2 * WIDTH as u64 + 5),
        clusters * (2 * WIDTH as u64 + 7)
    );
}

/// Of logits the largest are kept, and layers are exact; with and without a cache runs are the same.
#[test]
fn the_largest_logits_have_columns_of_their_own() {
    let folder = sample("top-k");
    write_head(&folder, 2);
    write_graph(
        &folder,
        json!({ "codec": { "type": "top-k", "k": 2 } }),
        json!({}),
    );
    let (live, _) = losses(&folder, "live", &[]);
    let cache = ["--set", "teacher.cache=cache"];
    let (cold, _) = losses(&folder, "cold", &cache);
    let (warm, _) = losses(&folder, "warm", &cache);
    assert_eq!(live, cold);
    assert_eq!(live, warm);
    let exact = [&cache[..], &["--set", "teacher.codec=f32"]].concat();
    let (exactly, output) = losses(&folder, "exact", &exact);
    assert_ne!(live, exactly);
    assert!(
        stderr(&output).contains("cache has "),
        "{}",
        stderr(&output)
    );
    let list = ["cache", "list", "cache", "--format", "json"];
    let listed = stdout_json(folder.path(), &list);
    let mut found: Vec<String> = vec![];
    let mut logits_folder = folder.path().to_owned();
    for listing in listed.as_array().unwrap() {
        found.push(format!("{} {}", listing["layers"], listing["codec"]));
        if listing["codec"]["type"] == "top-k" {
            logits_folder.extend([listing["folder"].as_str().unwrap(), "logits"]);
        }
    }
    found.sort();
    let top_k = r#"[] {"k":2,"type":"top-k"}"#;
    assert_eq!(found, [r#"[1,2] "f32""#, r#"[] "f32""#, top_k]);

    for command in ["verify", "merge", "verify"] {
        let output = call(folder.path(), &["cache", command, "cache"]);
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let (merged, _) = losses(&folder, "merged", &cache);
    assert_eq!(live, merged);
    let mut parts = fs::read_dir(&logits_folder).unwrap();
    let file = fs::File::open(parts.next().unwrap().unwrap().path()).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let table = reader.build().unwrap().next().unwrap().unwrap();
    let frames = table["frames"].as_primitive::<UInt32Type>().value(0) as usize;
    let classes = table["index"].as_list::<i32>().value(0);
    let classes = classes.as_primitive::<UInt32Type>().values();
    let floats = |name: &str| {
        let list = table[name].as_list::<i32>().value(0);
        list.as_primitive::<Float32Type>().values().to_vec()
    };
    let logits = floats("value");
    let rests = floats("rest");
    assert_eq!([classes.len(), logits.len()], [2 * frames; 2]);
    assert_eq!(rests.len(), frames);
    assert!(
        classes
            .chunks(2)
            .all(|pair| pair[0] != pair[1] && pair[0] < 5 && pair[1] < 5)
    );
    assert!(logits.chunks(2).all(|pair| pair[0] >= pair[1]));
    assert!(
        rests.iter().all(|rest| (0.0..0.6).contains(rest)),
        "{rests:?}"
    );

    let bytes = |codec: &str| {
        let set = format!("teacher.codec={codec}");
        let check = ["check", "g.json", "--format", "json", "--set", &set];
        let plan = stdout_json(folder.path(), &[&check[..], &cache].concat());
        plan["cache_bytes"].as_u64().unwrap()
    };
    let layers = 2 * 4 * WIDTH as u64;
    let top_k = bytes(r#"{"type": "top-k", "k": 2}"#);
    assert_eq!(
        top_k * (layers + 4 * 5),
        bytes("f32") * (layers + 2 * 8 + 4)
    );
    let unread = [
        "check",
        "g.json",
        "--set",
        "teacher.codec={\"type\": \"top-k\"}",
    ];
    let refused = stderr(&call(folder.path(), &unread));
    assert!(
        refused.contains("{\"type\": \"top-k\", \"k\": from 1 to 65536}"),
        "{refused}"
    );
    let graph = fs::read_to_string(folder.path().join("g.json")).unwrap();
    let graph = graph.replace("teacher.logits", "logits.logits");
    fs::write(folder.path().join("g.json"), graph).unwrap();
    let refused = stderr(&call(folder.path(), &["check", "g.json"]));
    assert!(
        refused.contains("`logits`, which no node reads"),
        "{refused}"
    );
}
