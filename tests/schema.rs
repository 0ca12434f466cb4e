//! `pipeline schema` and `pipeline nodes`.
use crate::program::{call, read_json, root, stdout};
use serde_json::{Map, Value, json};
use std::fs;

const SCHEMA: &str = "docs/graph.schema.json";

/// With the environment variable `UPDATE_EXPECT`, the test writes the file.
#[test]
fn the_schema_in_the_docs_is_up_to_date() {
    let printed = stdout(root(), &["schema"]);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(root().join(SCHEMA), &printed).unwrap();
    }
    assert!(
        fs::read_to_string(root().join(SCHEMA)).unwrap() == printed,
        "pipeline schema > {SCHEMA}"
    );
}

/// Returns whether keys, ports and required options of a node are as the schema of its kind says.
fn fits(schema: &Value, node: &Value) -> bool {
    let keys_fit = |schema: &Value, given: &Value| {
        let known = schema["properties"].as_object().unwrap();
        let required = schema["required"]
            .as_array()
            .unwrap()
            .iter()
            .all(|key| !given[key.as_str().unwrap()].is_null());
        let empty = Map::new();
        let given = given.as_object().unwrap_or(&empty);
        schema["additionalProperties"] == false
            && required
            && given.keys().all(|key| known.contains_key(key))
    };
    let kind = &schema["$defs"][node["kind"].as_str().unwrap()];
    kind.is_object()
        && keys_fit(kind, node)
        && keys_fit(&kind["properties"]["inputs"], &node["inputs"])
}

/// Returns the nodes of all phases of a graph.
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
    let names = [
        "dphubert",
        "hubert",
        "dicehubert",
        "armhubert",
        "maskhubert",
        "starhubert",
        "distilhubert",
        "distil",
        "targets",
        "fithubert",
        "librispeech/armhubert",
        "librispeech/starhubert",
        "librispeech/distilhubert",
        "librispeech/fithubert",
        "librispeech/dphubert",
        "librispeech/dpwavlm",
        "librispeech/hubert",
    ];
    for graph in names.map(|name| format!("graphs/{name}.json")) {
        let path = root().join(graph);
        let graph = read_json(&path);
        let schema_file = path.with_file_name(graph["$schema"].as_str().unwrap());
        assert_eq!(
            schema_file.canonicalize().unwrap(),
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
            let has_default = option.get("default").is_some();
            let is_documented = has_default != required.contains(&&json!(name))
                && option["description"].is_string();
            let is_no_option = ["kind", "inputs"].contains(&name.as_str());
            assert!(
                is_no_option || is_documented,
                "{}: {name}: {option}",
                kind.name
            );
        }
    }
}

#[test]
fn nodes_lists_kinds_ports_and_options() {
    let kinds = stdout(root(), &["nodes"]);
    for (line, kind) in kinds.lines().zip(nodes::KINDS) {
        let (name, about) = line.split_once("  ").unwrap();
        assert!(name == kind.name && !about.trim().is_empty(), "{line}");
    }
    assert_eq!(kinds.lines().count(), nodes::KINDS.len());
    let loss = "\
The distance of the student's hiddens from the targets.
input student: hiddens, optional
input target: columns id, frames, hidden, optional
input mask: columns id, mask, view, optional
input student_maps: attention maps, optional
input target_maps: columns id, frames, maps, optional
input labels: columns id, frames, labels, optional
output loss: a loss
";
    let output = stdout(root(), &["nodes", "loss"]);
    let options = output
        .strip_prefix(loss)
        .unwrap_or_else(|| panic!("{output}"));
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
    assert_eq!(call(root(), &["nodes", "teachr"]).status.code(), Some(2));
}
