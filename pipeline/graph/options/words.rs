//! Words of problems with options, as serde has them where it has some.
use crate::graph::json::{Content, Json};
use serde_json::Value;

/// Returns the length of an array that may have no other.
pub(super) fn fixed_length(schema: &Value) -> Option<u64> {
    let length = schema["minItems"].as_u64()?;
    (schema["maxItems"] == length).then_some(length)
}

/// Lists variants in serde's words.
pub(super) fn one_of(variants: &[&str]) -> String {
    let quoted: Vec<String> = variants.iter().map(|name| format!("`{name}`")).collect();
    match &quoted[..] {
        [only] => only.clone(),
        [first, second] => format!("{first} or {second}"),
        several => format!("one of {}", several.join(", ")),
    }
}

/// Describes the values that a schema accepts.
pub(super) fn expected_words(expected: &str, schema: &Value) -> String {
    match expected {
        "integer" if schema["minimum"] == 0 => "a whole number from 0".into(),
        "integer" => "a whole number".into(),
        "number" => "a number".into(),
        "string" => "text".into(),
        "boolean" => "true or false".into(),
        "array" => match fixed_length(schema) {
            Some(length) => format!("an array of length {length}"),
            None => "a list".into(),
        },
        other => format!("an {other}"),
    }
}

/// Describes the value that the file has.
pub(super) fn found(value: &Json) -> String {
    match &value.content {
        Content::Object(_) => "an object".into(),
        Content::Array(_) => "a list".into(),
        Content::Leaf(Value::Number(n)) => format!("number `{n}`"),
        Content::Leaf(Value::String(text)) => format!("string {text:?}"),
        Content::Leaf(Value::Bool(flag)) => format!("boolean `{flag}`"),
        Content::Leaf(_) => "null".into(),
    }
}

/// Names an option in a message: ``option `terms[1].weight`: ``; empty for the node itself.
pub(super) fn option_prefix(path: &[String]) -> String {
    let mut name = String::new();
    for step in path {
        match step.parse::<usize>() {
            Ok(index) => name += &format!("[{index}]"),
            Err(_) if name.is_empty() => name += step,
            Err(_) => name += &format!(".{step}"),
        }
    }
    match name.as_str() {
        "" => name,
        _ => format!("option `{name}`: "),
    }
}
