//! The options of one node: checked against the JSON Schema of its kind, so that everything wrong
//! is reported at once and with its place, then parsed.
use crate::graph::json::{Json, Kind as Form};
use crate::graph::problem::{At, Problems};
use nodes::data::suggestion::suggestion;
use nodes::node::{Config, Kind};
use serde_json::Value;

/// Parses the options of a node; `None` if something is wrong with them.
pub fn parse(
    node: &str,
    options: &Json,
    kind: &Kind,
    problems: &mut Problems,
) -> Option<Box<dyn Config>> {
    let problems_before = problems.0.len();
    let mut checker = Checker {
        node,
        problems,
        path: vec![],
    };
    checker.check_object(options, &(kind.schema)());
    if problems.0.len() > problems_before {
        return None;
    }
    match (kind.parse)(options.value()) {
        Ok(config) => Some(config),
        Err(wrong) => {
            problems.add(
                &options.place(&wrong.path),
                format!(
                    "node `{node}`: {}{}",
                    option_prefix(&wrong.path),
                    wrong.message
                ),
            );
            None
        }
    }
}

/// Walks options and schema side by side.
struct Checker<'a> {
    node: &'a str,
    problems: &'a mut Problems,
    /// Keys and list indices from the node to the value under check.
    path: Vec<String>,
}

impl Checker<'_> {
    fn report(&mut self, at: &At, message: String) {
        self.problems
            .add(at, format!("node `{}`: {message}", self.node));
    }

    fn reject(&mut self, at: &At, message: String) {
        self.report(at, format!("{}{message}", option_prefix(&self.path)));
    }

    fn check_object(&mut self, object: &Json, schema: &Value) {
        let known = schema["properties"].as_object();
        for (key, key_at, value) in object.entries() {
            let property = known.and_then(|known| known.get(key));
            match (property, &schema["additionalProperties"]) {
                (Some(property), _) => self.check_below(key, key_at, value, property),
                (None, Value::Bool(false)) => {
                    let names = known.into_iter().flatten().map(|(name, _)| name.as_str());
                    self.report(
                        key_at,
                        format!("unknown option `{key}`{}", suggestion(key, names)),
                    );
                }
                (None, every) => self.check_below(key, key_at, value, every),
            }
        }
        for name in schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            if object.get(name).is_none() {
                self.reject(&object.at, format!("needs the option `{name}`"));
            }
        }
    }

    fn check_below(&mut self, step: &str, at: &At, value: &Json, schema: &Value) {
        self.path.push(step.to_owned());
        self.check(at, value, schema);
        self.path.pop();
    }

    fn check(&mut self, at: &At, value: &Json, schema: &Value) {
        if let Some(alternatives) = schema["anyOf"].as_array() {
            let is_null = |alternative: &&Value| alternative["type"] == "null";
            if value.is_null() && alternatives.iter().any(|a| is_null(&a)) {
                return;
            }
            let mut others = alternatives.iter().filter(|a| !is_null(a));
            // Several alternatives (an architecture: a name or an object) are left to the kind.
            if let (Some(only), None) = (others.next(), others.next()) {
                self.check(at, value, only);
            }
        } else if let Some(variants) = variants(schema) {
            self.check_variant(at, value, &variants);
        } else {
            self.check_type(at, value, schema);
        }
    }

    fn check_variant(&mut self, at: &At, value: &Json, variants: &[&str]) {
        let expected = one_of(variants);
        match value.text() {
            Some(text) if variants.contains(&text) => {}
            Some(text) => {
                let suggestion = suggestion(text, variants.iter().copied());
                let message = format!("unknown variant `{text}`, expected {expected}{suggestion}");
                self.reject(at, message);
            }
            None => {
                self.reject(
                    at,
                    format!("invalid type: {}, expected {expected}", found(value)),
                );
            }
        }
    }

    fn check_type(&mut self, at: &At, value: &Json, schema: &Value) {
        let types: Vec<&str> = match &schema["type"] {
            Value::String(one) => vec![one],
            Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
            _ => return, // anything
        };
        if value.is_null() && types.contains(&"null") {
            return;
        }
        let Some(expected) = types.iter().find(|t| **t != "null") else {
            return;
        };
        let words = expected_words(expected, schema);
        match (*expected, &value.kind) {
            ("object", Form::Map(_)) => self.check_object(value, schema),
            ("array", Form::List(items)) => {
                let length = schema["minItems"]
                    .as_u64()
                    .filter(|n| schema["maxItems"] == *n);
                if length.is_some_and(|n| n != items.len() as u64) {
                    let message = format!("invalid length {}, expected {words}", items.len());
                    return self.reject(at, message);
                }
                for (index, item) in items.iter().enumerate() {
                    self.check_below(&index.to_string(), &item.at, item, &schema["items"]);
                }
            }
            ("integer", Form::Leaf(Value::Number(n))) if !n.is_f64() => {
                if schema["minimum"] == 0 && n.as_u64().is_none() {
                    self.reject(at, format!("invalid value: number `{n}`, expected {words}"));
                }
            }
            ("number", Form::Leaf(Value::Number(_)))
            | ("string", Form::Leaf(Value::String(_)))
            | ("boolean", Form::Leaf(Value::Bool(_))) => {}
            _ => self.reject(
                at,
                format!("invalid type: {}, expected {words}", found(value)),
            ),
        }
    }
}

/// Returns the names of an enum without fields.
fn variants(schema: &Value) -> Option<Vec<&str>> {
    match (&schema["enum"], &schema["oneOf"]) {
        (Value::Array(names), _) => names.iter().map(Value::as_str).collect(),
        (_, Value::Array(each)) => each
            .iter()
            .map(|variant| variant["const"].as_str())
            .collect(),
        _ => None,
    }
}

/// Lists variants as serde does.
fn one_of(variants: &[&str]) -> String {
    let quoted: Vec<String> = variants.iter().map(|name| format!("`{name}`")).collect();
    match &quoted[..] {
        [only] => only.clone(),
        [first, second] => format!("{first} or {second}"),
        several => format!("one of {}", several.join(", ")),
    }
}

fn expected_words(expected: &str, schema: &Value) -> String {
    match expected {
        "integer" if schema["minimum"] == 0 => "a whole number from 0".into(),
        "integer" => "a whole number".into(),
        "number" => "a number".into(),
        "string" => "text".into(),
        "boolean" => "true or false".into(),
        "array" => match schema["maxItems"].as_u64() {
            Some(length) => format!("an array of length {length}"),
            None => "a list".into(),
        },
        other => format!("an {other}"),
    }
}

fn found(value: &Json) -> String {
    match &value.kind {
        Form::Map(_) => "an object".into(),
        Form::List(_) => "a list".into(),
        Form::Leaf(Value::Number(n)) => format!("number `{n}`"),
        Form::Leaf(Value::String(text)) => format!("string {text:?}"),
        Form::Leaf(Value::Bool(flag)) => format!("boolean `{flag}`"),
        Form::Leaf(_) => "null".into(),
    }
}

/// Names an option in a message: ``option `terms[1].weight`: ``; nothing for the node itself.
fn option_prefix(path: &[String]) -> String {
    let mut name = String::new();
    for step in path {
        let step = step.trim_matches(['[', ']']);
        match step.parse::<usize>() {
            Ok(index) => name += &format!("[{index}]"),
            Err(_) if name.is_empty() => name += step,
            Err(_) => name += &format!(".{step}"),
        }
    }
    if name.is_empty() {
        String::new()
    } else {
        format!("option `{name}`: ")
    }
}
