//! `pipeline nodes [KIND]`: ports, and options as the schema has them.
use crate::table::columns;
use crate::{Outcome, print, schema};
use clap::builder::PossibleValuesParser;
use nodes::KINDS;
use nodes::node::Kind;
use nodes::node::port::Port;
use pipeline::graph::edges;
use serde_json::Value;

#[derive(clap::Args)]
pub struct Arguments {
    /// One kind, to see its ports and options
    #[arg(value_parser = PossibleValuesParser::new(KINDS.iter().map(|k| k.name)), hide_possible_values = true)]
    kind: Option<String>,
}

impl Arguments {
    pub fn run(self) -> Outcome {
        let Some(kind) = KINDS.iter().find(|k| self.kind.as_deref() == Some(k.name)) else {
            let line =
                |kind: &Kind| vec![kind.name.to_owned(), text(&(kind.schema)()["description"])];
            return print(&columns(&KINDS.iter().map(line).collect::<Vec<_>>()));
        };
        let schema = schema::node(kind);
        let mut rows = vec![];
        options_of(&schema, 0, &mut rows);
        rows.retain(|row| !["kind", "inputs"].contains(&row[0].as_str()));
        print(&format!(
            "{}\n{}\n{}",
            text(&schema["description"]),
            ports(kind),
            columns(&rows)
        ))
    }
}

fn ports(kind: &Kind) -> String {
    let line = |way: &str, port: &Port| {
        let many = if port.many { ", many" } else { "" };
        let optional = if port.optional { ", optional" } else { "" };
        format!(
            "{way} {}: {}{many}{optional}\n",
            port.name,
            edges::describe(port.carries)
        )
    };
    let inputs = kind.ports.inputs.iter().map(|port| line("input", port));
    let outputs = kind.ports.outputs.iter().map(|port| line("output", port));
    inputs.chain(outputs).collect()
}

/// Name, type, default and meaning of each option; below one that is an object, or a list of them, its own.
fn options_of(schema: &Value, depth: usize, rows: &mut Vec<Vec<String>>) {
    let required = |name: &str| {
        schema["required"]
            .as_array()
            .is_some_and(|r| r.iter().any(|r| r == name))
    };
    for (name, option) in schema["properties"].as_object().into_iter().flatten() {
        let item = option.get("items").unwrap_or(option);
        let inner = item.get("properties").is_some();
        let default = match option.get("default") {
            _ if required(name) => "required".to_owned(),
            Some(default) if !inner => default.to_string(),
            _ => String::new(),
        };
        rows.push(vec![
            format!("{}{name}", "  ".repeat(depth)),
            words(option),
            default,
            text(&option["description"]),
        ]);
        if name != "inputs" {
            options_of(item, depth + 1, rows);
        }
    }
}

/// What values a schema takes, in a few words.
fn words(schema: &Value) -> String {
    if let Some(title) = schema["title"].as_str() {
        return title.to_owned();
    }
    let several = |of: &Value| {
        of.as_array()
            .into_iter()
            .flatten()
            .map(words)
            .collect::<Vec<_>>()
            .join(", ")
    };
    if let Some(all) = schema.get("oneOf").or(schema.get("anyOf")) {
        return several(all);
    }
    if let Some(all) = schema["enum"].as_array() {
        return all
            .iter()
            .map(Value::to_string)
            .collect::<Vec<_>>()
            .join(", ");
    }
    if let Some(one) = schema.get("const") {
        return one.to_string();
    }
    let one = |kind: &Value| match kind.as_str().unwrap_or("anything") {
        "integer" => "int".to_owned(),
        "boolean" => "bool".to_owned(),
        "string" => "text".to_owned(),
        "array" => format!("list of {}", words(&schema["items"])),
        "object" => match &schema["additionalProperties"] {
            each @ Value::Object(_) => format!("object of {}", words(each)),
            _ => "object".to_owned(),
        },
        other => other.to_owned(),
    };
    match &schema["type"] {
        Value::Array(kinds) => kinds.iter().map(one).collect::<Vec<_>>().join(", "),
        kind => one(kind),
    }
}

/// A description on one line.
fn text(description: &Value) -> String {
    description.as_str().unwrap_or_default().replace('\n', " ")
}
