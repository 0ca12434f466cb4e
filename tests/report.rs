//! What people look at: the page of a run, TensorBoard's events, the drawing of a graph.
use crate::program::{Folder, output, pipeline, read_json, root, stderr};
use crate::run::interrupted;
use crate::sample::{run, sample};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The page, which must not need a network or hold what is no number.
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

/// Records of the one event file: 8 bytes of length, 4 of its crc, the bytes, 4 of theirs.
fn records(run: &Path) -> usize {
    let of = |name: &str| name.starts_with("events.out.tfevents.");
    let names = fs::read_dir(run)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap());
    let names: Vec<String> = names.filter(|name| of(name)).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let mut bytes = &fs::read(run.join(&names[0])).unwrap()[..];
    let mut records = 0;
    while let Some(length) = bytes.first_chunk::<8>() {
        bytes = &bytes[16 + u64::from_le_bytes(*length) as usize..];
        records += 1;
    }
    records
}

/// Lines of metrics.jsonl that the log of phase `prune` has seen.
fn lines(run: &Path) -> usize {
    fs::read_to_string(run.join("metrics.jsonl"))
        .unwrap()
        .matches("\"phase\":\"prune\"")
        .count()
}

const HEAD: usize = 3;

#[test]
fn a_run_that_goes_on_has_one_page_and_each_value_once() {
    let folder = sample("page");
    let out = folder.0.join("out");
    assert_eq!(interrupted(&folder, "out", "TERM", 100), Some(75));
    let half = page(&out);
    assert!(
        half.contains(">not finished<") && half.contains("Not begun."),
        "the second phase is to come"
    );
    assert_eq!(records(&out), HEAD + lines(&out));
    assert!(run(&folder, "out", &["--resume"]).status.success());
    assert_eq!(records(&out), HEAD + lines(&out));

    let page = page(&out);
    let about: Value = read_json(&out.join("run.json"));
    let parameters = about["summary"][0]["parameters"]["student"]
        .as_array()
        .unwrap();
    let [before, after] =
        [0, 1].map(|i| pipeline::report::format::thousands(parameters[i].as_u64().unwrap()));
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

/// No phases, no gates, no log; a loss that is no number.
#[test]
fn a_page_needs_little() {
    let folder = sample("little");
    let graph: Value = read_json(&folder.0.join("g.json"));
    let mut nodes = graph["phases"][1]["nodes"].clone();
    nodes["student"]["init"] = "teacher".into();
    nodes["heads"]["init"] = "default".into();
    nodes["step"]["not_finite"] = "skip".into();
    nodes["step"]["rates"]["student"] = 1e30.into();
    write(&folder, "plain.json", "plain", &nodes);
    let said = output(&mut pipeline(
        &folder.0,
        &["run", "plain.json", "--out", "plain"],
    ));
    assert!(said.status.success(), "{}", stderr(&said));
    let plain = page(&folder.0.join("plain"));
    assert!(
        plain.contains("<h2>Training</h2>") && plain.contains("not finite at update"),
        "{plain}"
    );

    let nodes = serde_json::json!({ "speech": nodes["speech"], "teacher": nodes["teacher"] });
    write(&folder, "fill.json", "fill", &nodes);
    assert!(
        output(&mut pipeline(
            &folder.0,
            &["run", "fill.json", "--out", "fill"]
        ))
        .status
        .success()
    );
    assert!(page(&folder.0.join("fill")).contains("Nothing is trained here"));
}

fn write(folder: &Folder, file: &str, name: &str, nodes: &Value) {
    fs::write(
        folder.0.join(file),
        serde_json::json!({ "name": name, "nodes": nodes }).to_string(),
    )
    .unwrap();
}

/// Made again by `pipeline show graphs/dphubert.json --format svg > docs/dphubert.svg`.
#[test]
fn the_drawing_in_the_docs_is_the_programs() {
    let said = output(&mut pipeline(
        root(),
        &["show", "graphs/dphubert.json", "--format", "svg"],
    ));
    assert!(said.stdout == fs::read(root().join("docs/dphubert.svg")).unwrap());
}
