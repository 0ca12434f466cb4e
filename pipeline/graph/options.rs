//! The options of one node: checked against the JSON Schema of its kind, so that all problems are
//! reported at once with their locations, then parsed.
#[cfg(test)]
mod tests;
mod words;

use crate::graph::json::{Content, Json, JsonEntry};
use crate::graph::problem::{Location, Problems};
use nodes::data::suggestion::{option_hint, variant_hint};
use nodes::node::{Config, Kind};
use serde_json::Value;
use std::collections::BTreeSet;
use words::{expected_words, fixed_length, found, one_of, option_prefix};

/// The options of a node as far as they can be parsed.
pub(super) struct ParsedOptions {
    /// `None` if an option that the kind needs is missing or wrong.
    pub(super) config: Option<Box<dyn Config>>,
    /// Whether there are problems. `config` then only serves to find what is wrong with the options
    /// that it has.
    pub(super) partial: bool,
    /// The options that `config` lacks, since they are wrong.
    pub(super) wrong: BTreeSet<String>,
}

/// Parses the options of a node. Those that are wrong are problems and left out.
pub(super) fn parse(
    node: &str,
    options: &Json,
    kind: &Kind,
    problems: &mut Problems,
) -> ParsedOptions {
    let problems_before = problems.len();
    let mut checker = Checker {
        node,
        problems,
        path: vec![],
        wrong: BTreeSet::new(),
    };
    checker.check_object(options, &(kind.schema)());
    let mut wrong = std::mem::take(&mut checker.wrong);
    let config = loop {
        let mut right = options.clone();
        for key in &wrong {
            right.remove(key);
        }
        let error = match (kind.parse)(right.to_value()) {
            Ok(config) => break Some(config),
            Err(error) => error,
        };
        // An index is written `[1]`.
        let steps = error.path.iter().map(|step| step.trim_matches(['[', ']']));
        let path: Vec<String> = steps.map(str::to_owned).collect();
        let option = path.first().filter(|key| right.get(key).is_some());
        if option.is_some() || problems.len() == problems_before {
            let message = format!("{}{}", option_prefix(&path), error.message);
            problems.add_for_node(node, options.location_of(&path), message);
        }
        match option {
            Some(option) => wrong.insert(option.clone()),
            None => break None,
        };
    };
    ParsedOptions {
        config,
        partial: problems.len() > problems_before,
        wrong,
    }
}

/// Walks options and schema side by side.
struct Checker<'a> {
    node: &'a str,
    problems: &'a mut Problems,
    /// Keys and list indices from the node to the checked value.
    path: Vec<String>,
    /// The options of the node in which something is wrong.
    wrong: BTreeSet<String>,
}

impl Checker<'_> {
    /// Adds a problem with the value at `path`.
    fn reject(&mut self, location: &Location, message: String) {
        self.wrong.extend(self.path.first().cloned());
        let message = format!("{}{message}", option_prefix(&self.path));
        self.problems.add_for_node(self.node, location, message);
    }

    fn check_object(&mut self, object: &Json, schema: &Value) {
        let properties = schema["properties"].as_object();
        for entry in object.entries() {
            let property = properties.and_then(|properties| properties.get(&entry.key));
            match (property, &schema["additionalProperties"]) {
                (Some(property), _) => self.check_entry(entry, property),
                (None, Value::Bool(false)) => {
                    let names = properties
                        .into_iter()
                        .flatten()
                        .map(|(name, _)| name.as_str());
                    let hint = option_hint(&entry.key, names);
                    let option = self.path.first().unwrap_or(&entry.key);
                    self.wrong.insert(option.clone());
                    let message = format!("unknown option `{}`{hint}", entry.key);
                    self.problems
                        .add_for_node(self.node, &entry.key_location, message);
                }
                (None, additional) => self.check_entry(entry, additional),
            }
        }
        let required = schema["required"].as_array().into_iter().flatten();
        for name in required.filter_map(Value::as_str) {
            if object.get(name).is_none() {
                self.reject(&object.location, format!("needs the option `{name}`"));
            }
        }
    }

    fn check_entry(&mut self, entry: &JsonEntry, schema: &Value) {
        self.path.push(entry.key.clone());
        self.check(&entry.key_location, &entry.value, schema);
        self.path.pop();
    }

    /// Checks one value; `location` is that of its key, or of the item in a list.
    fn check(&mut self, location: &Location, value: &Json, schema: &Value) {
        if let Some(alternatives) = schema["anyOf"].as_array() {
            self.check_alternatives(location, value, alternatives);
        } else if let Some(variants) = variants(schema) {
            self.check_variant(location, value, &variants);
        } else {
            self.check_type(location, value, schema);
        }
    }

    /// Checks a value that may be null, if there is one other alternative. Among several (an
    /// architecture: a name or an object) it checks lists and objects; of what is neither, the kind's
    /// own parser decides.
    fn check_alternatives(&mut self, location: &Location, value: &Json, alternatives: &[Value]) {
        let (null, others): (Vec<&Value>, Vec<&Value>) = alternatives
            .iter()
            .partition(|schema| schema["type"] == "null");
        if value.is_null() && !null.is_empty() {
            return;
        }
        let alternative = match (&others[..], &value.content) {
            ([only], _) => Some(*only),
            (_, Content::Array(_)) => others.into_iter().find(|o| o["type"] == "array"),
            (_, Content::Object(_)) => others.into_iter().find(|o| o["type"] == "object"),
            (_, Content::Leaf(_)) => None,
        };
        if let Some(alternative) = alternative {
            self.check(location, value, alternative);
        }
    }

    fn check_variant(&mut self, location: &Location, value: &Json, variants: &[&str]) {
        let expected = one_of(variants);
        let message = match value.text() {
            Some(text) if variants.contains(&text) => return,
            Some(text) => {
                let hint = variant_hint(text, variants);
                format!("unknown variant `{text}`, expected {expected}{hint}")
            }
            None => format!("invalid type: {}, expected {expected}", found(value)),
        };
        self.reject(location, message);
    }

    fn check_type(&mut self, location: &Location, value: &Json, schema: &Value) {
        let types: Vec<&str> = match &schema["type"] {
            Value::String(one) => vec![one],
            Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
            _ => return, // any value is valid
        };
        if value.is_null() && types.contains(&"null") {
            return;
        }
        let Some(expected) = types.into_iter().find(|name| *name != "null") else {
            return;
        };
        let words = expected_words(expected, schema);
        match (expected, &value.content) {
            ("object", Content::Object(_)) => self.check_object(value, schema),
            ("array", Content::Array(items)) => self.check_array(location, items, schema),
            ("integer", Content::Leaf(Value::Number(n))) if !n.is_f64() => {
                if schema["minimum"] == 0 && n.as_u64().is_none() {
                    let message = format!("invalid value: number `{n}`, expected {words}");
                    self.reject(location, message);
                }
            }
            ("number", Content::Leaf(Value::Number(_)))
            | ("string", Content::Leaf(Value::String(_)))
            | ("boolean", Content::Leaf(Value::Bool(_))) => {}
            _ => {
                let message = format!("invalid type: {}, expected {words}", found(value));
                self.reject(location, message);
            }
        }
    }

    fn check_array(&mut self, location: &Location, items: &[Json], schema: &Value) {
        if let Some(length) = fixed_length(schema)
            && items.len() as u64 != length
        {
            let message = format!(
                "invalid length {}, expected an array of length {length}",
                items.len()
            );
            return self.reject(location, message);
        }
        for (index, item) in items.iter().enumerate() {
            self.path.push(index.to_string());
            self.check(&item.location, item, &schema["items"]);
            self.path.pop();
        }
    }
}

/// Returns the names of an enum without fields; `None` for other schemas.
fn variants(schema: &Value) -> Option<Vec<&str>> {
    if let Some(names) = schema["enum"].as_array() {
        return names.iter().map(Value::as_str).collect();
    }
    let variants = schema["oneOf"].as_array()?;
    variants
        .iter()
        .map(|variant| variant["const"].as_str())
        .collect()
}
