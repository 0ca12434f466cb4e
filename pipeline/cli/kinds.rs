//! `pipeline nodes [KIND]`: the kinds of nodes; or ports and options of one, as its schema has
//! them.
use crate::ending::CommandResult;
use crate::print::print;
use crate::schema;
use crate::table::columns;
use clap::builder::PossibleValuesParser;
use nodes::KINDS;
use nodes::node::Kind;
use nodes::node::port::Port;
use pipeline::graph::edges;
use serde_json::Value;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// One kind, to see its ports and options
    #[arg(value_parser = kind_parser(), hide_possible_values = true)]
    kind: Option<String>,
}

fn kind_parser() -> PossibleValuesParser {
    PossibleValuesParser::new(KINDS.iter().map(|kind| kind.name))
}

impl Arguments {
    /// Prints one kind, or a line for each.
    pub(crate) fn run(self) -> CommandResult {
        let chosen = self.kind.as_deref();
        match KINDS.iter().find(|kind| chosen == Some(kind.name)) {
            Some(kind) => print_kind(kind),
            None => print_all(),
        }
    }
}

fn print_all() -> CommandResult {
    let mut rows = vec![];
    for kind in KINDS {
        let schema = (kind.schema)();
        rows.push(vec![kind.name.to_owned(), one_line(&schema["description"])]);
    }
    print(&columns(&rows))
}

fn print_kind(kind: &Kind) -> CommandResult {
    let schema = schema::node(kind);
    let description = one_line(&schema["description"]);
    let ports = ports(kind);
    let mut rows = vec![];
    add_options(&schema, 0, &mut rows);
    rows.retain(|row| row[0] != "kind" && row[0] != "inputs");
    print(&format!("{description}\n{ports}\n{}", columns(&rows)))
}

/// Returns a line for each port, such as `input student: hiddens`.
fn ports(kind: &Kind) -> String {
    let inputs = kind
        .ports
        .inputs
        .iter()
        .map(|port| port_line("input", port));
    let outputs = kind
        .ports
        .outputs
        .iter()
        .map(|port| port_line("output", port));
    inputs.chain(outputs).collect()
}

fn port_line(direction: &str, port: &Port) -> String {
    let many = if port.many { ", many" } else { "" };
    let optional = if port.optional { ", optional" } else { "" };
    let carries = edges::describe(port.carries);
    format!("{direction} {}: {carries}{many}{optional}\n", port.name)
}

/// Adds a row for each option of `schema`: name, type, default and description.
///
/// The options of an object, or of a list of objects, follow it with a deeper indentation.
fn add_options(schema: &Value, depth: usize, rows: &mut Vec<Vec<String>>) {
    let required = schema["required"].as_array();
    for (name, option) in schema["properties"].as_object().into_iter().flatten() {
        let is_required = required.is_some_and(|names| names.iter().any(|other| other == name));
        let item = option.get("items").unwrap_or(option);
        let has_options = item.get("properties").is_some();
        let default = match option.get("default") {
            _ if is_required => "required".to_owned(),
            Some(default) if !has_options => default.to_string(),
            _ => String::new(),
        };
        rows.push(vec![
            format!("{}{name}", "  ".repeat(depth)),
            type_words(option),
            default,
            one_line(&option["description"]),
        ]);
        if name != "inputs" {
            add_options(item, depth + 1, rows);
        }
    }
}

/// Describes the values that a schema accepts in a few words.
fn type_words(schema: &Value) -> String {
    if let Some(title) = schema["title"].as_str() {
        return title.to_owned();
    }
    if let Some(alternatives) = schema.get("oneOf").or(schema.get("anyOf")) {
        let alternatives = alternatives.as_array().into_iter().flatten();
        return join(alternatives.map(type_words));
    }
    if let Some(values) = schema["enum"].as_array() {
        return join(values.iter().map(Value::to_string));
    }
    if let Some(value) = schema.get("const") {
        return value.to_string();
    }
    match &schema["type"] {
        Value::Array(names) => join(names.iter().map(|name| named_type(schema, name))),
        name => named_type(schema, name),
    }
}

/// Describes one name of the schema's `type`.
fn named_type(schema: &Value, name: &Value) -> String {
    match name.as_str().unwrap_or("anything") {
        "integer" => "int".to_owned(),
        "boolean" => "bool".to_owned(),
        "string" => "text".to_owned(),
        "array" => format!("list of {}", type_words(&schema["items"])),
        "object" => match &schema["additionalProperties"] {
            values @ Value::Object(_) => format!("object of {}", type_words(values)),
            _ => "object".to_owned(),
        },
        other => other.to_owned(),
    }
}

fn join(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

fn one_line(description: &Value) -> String {
    description.as_str().unwrap_or_default().replace('\n', " ")
}
