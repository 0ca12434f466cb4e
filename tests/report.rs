//! What people look at: the page of a run, TensorBoard's events and the drawing of a graph.
use crate::program::{Folder, call, read_json, root, stderr};
use crate::run::interrupted;
use crate::sample::{run, sample};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Returns the page of a run; it must not need a network or show anything that is not a number.
fn page(run: &Path) -> String {
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    for foreign in [
        "<script", "src=", "href=", "@import", "url(", "NaN", "inf\"", "inf ",
    ] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    page
}

/// Counts the records of the run's only event file: 8 bytes of length, 4 bytes of the length's
/// CRC, the data, 4 bytes of the data's CRC.
fn records(run: &Path) -> usize {
    let names = fs::read_dir(run)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: Vec<String> = names
        .filter(|name| name.starts_with("events.out.tfevents."))
        .collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let mut bytes = &fs::read(run.join(&names[0])).unwrap()[..];
    let mut records = 0;
    while let Some(length) = bytes.first_chunk::<8>() {
        bytes = &bytes[16 + u64::from_le_bytes(*length) as usize..];
        records += 1;
    }
    records
}

/// Counts the lines of metrics.jsonl of the phase `prune`, whose log writes the event file.
fn lines(run: &Path) -> usize {
    fs::read_to_string(run.join("metrics.jsonl"))
        .unwrap()
        .matches("\"phase\":\"prune\"")
        .count()
}

/// Records at the start of an event file.
const FIRST_RECORDS: usize = 3;

#[test]
fn a_resumed_run_has_one_page_and_each_value_once() {
    let folder = sample("page");
    let out = folder.path().join("out");
    assert_eq!(interrupted(&folder, "out", "TERM", 100), Some(75));
    let unfinished = page(&out);
    assert!(
        unfinished.contains(">not finished<") && unfinished.contains("Not begun."),
        "the second phase has not begun"
    );
    assert_eq!(records(&out), FIRST_RECORDS + lines(&out));
    assert!(run(&folder, "out", &["--resume"]).status.success());
    assert_eq!(records(&out), FIRST_RECORDS + lines(&out));

    let page = page(&out);
    let record: Value = read_json(&out.join("run.json"));
    let parameters = record["summary"][0]["parameters"]["student"]
        .as_array()
        .unwrap();
    let [before, after] =
        [0, 1].map(|i| pipeline::format::thousands(parameters[i].as_u64().unwrap()));
    let config: Value = read_json(&out.join("prune/student/config.json"));
    let left: u64 = config["encoder_ff_interm_features"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_u64().unwrap())
        .sum();
    let figures = [
        ">finished<",
        "pipeline run g.json --out out --resume",
        "24 updates in",
        "20 updates in",
        "learning rate of heads, student",
        &format!("{before} → {after}"),
        &format!("feed-forward units: {left} of 80 are left"),
        "<title>dev after update 24: ",
        "<title>update 24\n",
        "<title>teacher.targets → match.target, batches</title>",
    ];
    for figure in figures {
        assert!(page.contains(figure), "the page lacks `{figure}`");
    }
}

/// Without phases, gates and log, and with a loss that is not a number.
#[test]
fn a_page_has_no_required_nodes() {
    let folder = sample("little");
    let graph: Value = read_json(&folder.path().join("g.json"));
    let mut nodes = graph["phases"][1]["nodes"].clone();
    nodes["student"]["init"] = "teacher".into();
    nodes["heads"]["init"] = "default".into();
    nodes["step"]["not_finite"] = "skip".into();
    nodes["step"]["rates"]["student"] = 1e30.into();
    write(&folder, "plain.json", "plain", &nodes);
    let output = call(folder.path(), &["run", "plain.json", "--out", "plain"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let plain = page(&folder.path().join("plain"));
    assert!(
        plain.contains("<h2>Training</h2>") && plain.contains("not finite at update"),
        "{plain}"
    );

    let nodes = serde_json::json!({ "speech": nodes["speech"], "teacher": nodes["teacher"] });
    write(&folder, "fill.json", "fill", &nodes);
    assert!(
        call(folder.path(), &["run", "fill.json", "--out", "fill"])
            .status
            .success()
    );
    assert!(page(&folder.path().join("fill")).contains("Nothing is trained here"));
}

/// Writes a graph of one phase.
fn write(folder: &Folder, file: &str, name: &str, nodes: &Value) {
    fs::write(
        folder.path().join(file),
        serde_json::json!({ "name": name, "nodes": nodes }).to_string(),
    )
    .unwrap();
}

/// To update the drawing: `pipeline show graphs/dphubert.json --format svg > docs/dphubert.svg`.
#[test]
fn the_drawing_in_the_docs_is_up_to_date() {
    let output = call(root(), &["show", "graphs/dphubert.json", "--format", "svg"]);
    assert!(output.stdout == fs::read(root().join("docs/dphubert.svg")).unwrap());
}
