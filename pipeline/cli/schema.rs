//! `pipeline schema`: JSON Schema of a graph file. Options are as the kinds describe themselves; what stands around them
//! is described here.
use crate::{Outcome, print};
use nodes::KINDS;
use nodes::node::Kind;
use nodes::node::port::Port;
use pipeline::graph::edges;
use serde_json::{Map, Value, json};

#[derive(clap::Args)]
pub struct Arguments {}

impl Arguments {
    pub fn run(self) -> Outcome {
        print(&format!("{:#}\n", graph()))
    }
}

fn graph() -> Value {
    let name = json!({ "type": "string", "pattern": NAME });
    let mut parts = json!({
        "nodes": {
            "type": "object",
            "description": "nodes by name",
            "propertyNames": { "pattern": NAME },
            "additionalProperties": { "$ref": "#/$defs/node" },
            "minProperties": 1,
        },
        "phase": {
            "type": "object",
            "properties": { "name": name, "nodes": { "$ref": "#/$defs/nodes" } },
            "required": ["name", "nodes"],
            "additionalProperties": false,
        },
        "node": {
            "type": "object",
            "properties": { "kind": { "oneOf": KINDS.iter().map(named).collect::<Vec<_>>() } },
            "required": ["kind"],
            "allOf": KINDS.iter().map(|kind| json!({
                "if": { "properties": { "kind": { "const": kind.name } } },
                "then": { "$ref": format!("#/$defs/{}", kind.name) },
            })).collect::<Vec<_>>(),
        },
        "edge": { "type": "string", "pattern": r"^[^.]*\." },
        "edges": { "type": "array", "items": { "$ref": "#/$defs/edge" }, "minItems": 1 },
    });
    for kind in KINDS {
        parts[kind.name] = node(kind);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "a graph of `pipeline`",
        "type": "object",
        "properties": {
            "$schema": { "type": "string" },
            "name": name,
            "about": { "type": "string", "description": "what it is, for people" },
            "seed": { "type": "integer", "minimum": 0, "default": 0 },
            "nodes": { "$ref": "#/$defs/nodes" },
            "phases": {
                "type": "array",
                "description": "graphs that run one after the other",
                "items": { "$ref": "#/$defs/phase" },
                "minItems": 1,
            },
        },
        "required": ["name"],
        "oneOf": [{ "required": ["nodes"] }, { "required": ["phases"] }],
        "additionalProperties": false,
        "$defs": parts,
    })
}

const NAME: &str = "^[a-z0-9][a-z0-9_-]{0,99}$";

fn named(kind: &Kind) -> Value {
    json!({ "const": kind.name, "description": (kind.schema)()["description"] })
}

/// Schema of a node of this kind: `kind`, `inputs`, the options, and `cache` where it may stand.
pub fn node(kind: &Kind) -> Value {
    let mut node = (kind.schema)();
    let ports = kind.ports.inputs;
    let mut properties = Map::from_iter([
        ("kind".to_owned(), json!({ "const": kind.name })),
        ("inputs".to_owned(), inputs(ports)),
    ]);
    properties.extend(node["properties"].as_object().cloned().unwrap_or_default());
    if kind.cacheable {
        let about = "Folder of the cache of what it sends; null: none.";
        let cache = json!({ "description": about, "type": ["string", "null"], "minLength": 1, "default": null });
        properties.insert("cache".to_owned(), cache);
    }
    let fed = ports
        .iter()
        .any(|port| !port.optional)
        .then(|| json!("inputs"));
    let required = node["required"].as_array().cloned().unwrap_or_default();
    node["properties"] = properties.into();
    node["required"] = [json!("kind")]
        .into_iter()
        .chain(fed)
        .chain(required)
        .collect();
    node
}

fn inputs(ports: &[Port]) -> Value {
    let port = |port: &Port| {
        let most = if port.many {
            json!({})
        } else {
            json!({ "maxItems": 1 })
        };
        let list = json!({ "allOf": [{ "$ref": "#/$defs/edges" }, most] });
        let edge = json!({ "anyOf": [{ "$ref": "#/$defs/edge" }, list], "description": edges::describe(port.carries) });
        (port.name.to_owned(), edge)
    };
    let required: Vec<&str> = ports
        .iter()
        .filter(|port| !port.optional)
        .map(|port| port.name)
        .collect();
    json!({
        "type": "object",
        "description": "input port: the `node.port` that feeds it",
        "properties": ports.iter().map(port).collect::<Map<_, _>>(),
        "required": required,
        "additionalProperties": false,
    })
}
