//! `pipeline schema`: the JSON Schema of a graph file. Each kind of node describes its own
//! options; what surrounds them is described here.
use crate::ending::CommandResult;
use crate::print::print_json;
use nodes::KINDS;
use nodes::cache::codec::CodecOption;
use nodes::node::Kind;
use nodes::node::port::Port;
use pipeline::graph::edges;
use serde_json::{Map, Value, json};

/// Names of graphs, phases and nodes.
const NAME: &str = "^[a-z0-9][a-z0-9_-]{0,99}$";

#[derive(clap::Args)]
pub(crate) struct Arguments {}

impl Arguments {
    /// Prints the schema.
    pub(crate) fn run(self) -> CommandResult {
        print_json(&graph())
    }
}

/// Returns the schema of a graph file.
pub(crate) fn graph() -> Value {
    let name = json!({ "type": "string", "pattern": NAME });
    let mut definitions = json!({
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
            "properties": { "kind": { "oneOf": KINDS.iter().map(kind_name).collect::<Vec<_>>() } },
            "required": ["kind"],
            "allOf": KINDS.iter().map(if_kind).collect::<Vec<_>>(),
        },
        "edge": { "type": "string", "pattern": r"^[^.]*\." },
        "edges": { "type": "array", "items": { "$ref": "#/$defs/edge" }, "minItems": 1 },
    });
    for kind in KINDS {
        definitions[kind.name] = node(kind);
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
        "$defs": definitions,
    })
}

/// Returns the schema of the value of `kind` that names this kind.
fn kind_name(kind: &Kind) -> Value {
    json!({ "const": kind.name, "description": (kind.schema)()["description"] })
}

/// Returns the condition that a node of this kind has the options of this kind.
fn if_kind(kind: &Kind) -> Value {
    json!({
        "if": { "properties": { "kind": { "const": kind.name } } },
        "then": { "$ref": format!("#/$defs/{}", kind.name) },
    })
}

/// Returns the schema of a node of this kind: `kind`, `inputs`, the options, and `cache` if the
/// kind can have one.
pub(crate) fn node(kind: &Kind) -> Value {
    let ports = kind.ports.inputs;
    let mut schema = (kind.schema)();

    let mut properties = Map::new();
    properties.insert("kind".to_owned(), json!({ "const": kind.name }));
    properties.insert("inputs".to_owned(), inputs(ports));
    let options = schema["properties"].as_object().cloned();
    properties.extend(options.unwrap_or_default());
    if kind.cacheable {
        let cache = json!({
            "description": "Folder of the cache of what it sends; null: none.",
            "type": ["string", "null"],
            "minLength": 1,
            "default": null,
        });
        properties.insert("cache".to_owned(), cache);
        let budget = json!({
            "description": "The most bytes that a full cache may take: a graph whose cache would \
                            take more is refused; null: any.",
            "type": ["integer", "null"],
            "minimum": 0,
            "default": null,
        });
        properties.insert("budget".to_owned(), budget);
        properties.insert("codec".to_owned(), CodecOption::schema());
    }

    let mut required = vec![json!("kind")];
    if ports.iter().any(|port| !port.optional) {
        required.push(json!("inputs"));
    }
    required.extend(schema["required"].as_array().cloned().unwrap_or_default());

    schema["properties"] = properties.into();
    schema["required"] = required.into();
    schema
}

fn inputs(ports: &[Port]) -> Value {
    let mut properties = Map::new();
    let mut required = vec![];
    for port in ports {
        properties.insert(port.name.to_owned(), input(port));
        if !port.optional {
            required.push(port.name);
        }
    }
    json!({
        "type": "object",
        "description": "input port: the `node.port` that feeds it",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// Returns the schema of what feeds an input port: an edge, or a list of edges.
fn input(port: &Port) -> Value {
    let limit = if port.many {
        json!({})
    } else {
        json!({ "maxItems": 1 })
    };
    let list = json!({ "allOf": [{ "$ref": "#/$defs/edges" }, limit] });
    json!({
        "anyOf": [{ "$ref": "#/$defs/edge" }, list],
        "description": edges::describe(port.carries),
    })
}
